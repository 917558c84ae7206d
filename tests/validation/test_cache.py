"""The cache gives back what was computed, survives damage, and shares out work between processes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import validation.context
from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from tests.processes import launch
from validation import controls, run, sifting, tasks
from validation.cache import Cache, cache_key
from validation.context import Context
from validation.controls import as_synthetic
from validation.networks import encoders
from validation.networks.encoders import Encoder
from validation.networks.judge import Judge
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

ARRAYS = {"a": np.arange(12.0).reshape(3, 4), "b": np.array([1, 2], np.int64)}


def only_file(folder: Path) -> Path:
    (path,) = folder.rglob("*.safetensors")
    return path


def never():
    raise AssertionError("computed again")


def test_arrays_are_made_once_and_come_back_equal(tmp_path):
    Cache(tmp_path).arrays("0ab", lambda: ARRAYS)
    again = Cache(tmp_path).arrays("0ab", never)
    assert set(again) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(again[name], array)
        assert again[name].dtype == array.dtype
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "something else"])
def test_a_damaged_file_is_made_anew_with_a_warning(tmp_path, damage):
    Cache(tmp_path).arrays("0ab", lambda: ARRAYS)
    path = only_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(
        {"truncated": content[:-20], "one bit": content, "empty": b"", "something else": b"\x80\x04pickle" * 9}[damage]
    )
    warnings: list[str] = []
    np.testing.assert_array_equal(Cache(tmp_path, warnings.append).arrays("0ab", lambda: ARRAYS)["a"], ARRAYS["a"])
    assert len(warnings) == 1
    assert str(path) in warnings[0]
    Cache(tmp_path).arrays("0ab", never)


def test_a_folder_that_cannot_be_written_does_not_stop_the_run(tmp_path):
    (tmp_path / "file").write_text("in the way")
    warnings: list[str] = []
    made = Cache(tmp_path / "file", warnings.append).arrays("0ab", lambda: ARRAYS)
    np.testing.assert_array_equal(made["a"], ARRAYS["a"])
    assert "could not be kept" in warnings[0]


def test_without_a_folder_nothing_is_kept():
    assert Cache().arrays("0ab", lambda: ARRAYS).keys() == ARRAYS.keys()


def test_a_key_depends_on_content_type_and_shape():
    image = np.zeros((2, 3), np.float32)
    keys = {
        cache_key("x", image),
        cache_key("y", image),
        cache_key("x", image + 1),
        cache_key("x", image.astype(np.float64)),
        cache_key("x", image.reshape(3, 2)),
        cache_key("x", "y", image),
    }
    assert len(keys) == 6
    assert cache_key("x", image) == cache_key("x", np.asfortranarray(image))


def context(data: SpectrogramSet, folder: Path | None, **changes) -> Context:
    settings = ValidationSettings(judge_seeds=1, judge_steps=8, cache=folder, **changes)
    return Context(prepare_sets(data, data.role("train")), settings)


def test_a_second_run_trains_and_encodes_nothing_and_gives_the_same_numbers(data, tmp_path, monkeypatch):
    first = context(data, tmp_path)
    probabilities = first.judges[0].predict_proba(data.images)
    features = {name: first.features(name, data) for name in ("judge", "pixels_pca64", "gait_profile")}
    monkeypatch.setattr(Judge, "fit", lambda *_: never())
    monkeypatch.setattr(encoders.Encoder, "__call__", lambda *_: never())
    second = context(data, tmp_path)
    np.testing.assert_array_equal(second.judges[0].predict_proba(data.images), probabilities)
    assert second.judges[0].classes_.tolist() == first.judges[0].classes_.tolist()
    for name, values in features.items():
        np.testing.assert_array_equal(second.features(name, data), values)


def test_another_seed_other_steps_or_other_images_are_not_mistaken_for_it(data, tmp_path):
    context(data, tmp_path).judges  # noqa: B018
    trained = []
    for other in (
        context(data, tmp_path, seed=1),
        context(data, tmp_path, batch_size=8),
        context(data.with_images(data.images * 0.9), tmp_path),
    ):
        other.say = trained.append
        other.judges  # noqa: B018
    assert len([text for text in trained if text.startswith("judge 1 of 1")]) == 3


def test_judges_and_features_of_other_code_are_not_read_back(data, tmp_path, monkeypatch):
    context(data, tmp_path).features("judge", data)
    monkeypatch.setattr(validation.context, "_networks_code", lambda: "other code")
    said = []
    other = context(data, tmp_path)
    other.say = said.append
    other.features("judge", data)
    assert said == [
        f"judge 1 of 1 on {len(data.role('judge'))} real images",
        f"{len(data)} images through encoder judge",
    ]


def judge_together(real: SpectrogramSet, folder: Path) -> None:
    """What `accelerate launch --num_processes 2 -m cli validate` does in each process."""
    rows: list[int] = []
    watched = encoders.gait_profile(16, 16)
    shared = Encoder("0ab", lambda images: rows.append(len(images)) or watched.encode(images))
    features = shared(real.images)
    np.testing.assert_allclose(features, watched.encode(real.images), rtol=1e-6)
    assert rows == [len(real) // 2]
    tasks.validate(real, as_synthetic(real.role("test")), folder / "report", few(folder / "cache"), lambda _: None, {})
    assert (folder / "report" / "report.html").exists()


@pytest.mark.slow
def test_two_processes_share_the_rows_and_agree_with_one(data, tmp_path):
    assert launch(judge_together, data, tmp_path) == [0, 0]
    tasks.validate(data, as_synthetic(data.role("test")), tmp_path / "alone", few(None), lambda _: None, {})
    together, alone = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("report", "alone"))
    pd.testing.assert_frame_equal(together, alone, rtol=1e-4)


def test_of_several_processes_only_the_main_one_writes(data, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(controls, "self_check", lambda *_: pd.DataFrame({"control": ["noise"], "ok": [False]}))
    assert tasks.self_check(data, few(None), print, tmp_path / "check") == 1
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "unfiltered").write_text("of the main process")
    judged = SimpleNamespace(context=SimpleNamespace(sets=SimpleNamespace(synthetic=data)), implausible={})
    monkeypatch.setattr(run, "validate", lambda *_: judged)
    monkeypatch.setattr(sifting, "sift", lambda *_: sifting.Sifted(data, data, pd.DataFrame(), []))
    monkeypatch.setattr(tasks, "print_verdict", lambda _: 3)
    assert tasks.validate(data, data, tmp_path / "report", few(None), print, {}, tmp_path / "kept") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def few(cache: Path | None) -> ValidationSettings:
    """The cheapest whole report."""
    return ValidationSettings(cache=cache, judge_steps=2, verification_steps=2, encoders=("gait_profile",)).quick()


def test_what_was_judged_before_is_read_back_the_same_and_other_sets_are_not(data, tmp_path, monkeypatch):
    settings = few(tmp_path / "cache")
    synthetic, said = as_synthetic(data.role("test")), []

    def judged(name: str, real=data) -> dict[str, bytes]:
        said.clear()
        tasks.validate(real, synthetic, tmp_path / name, settings, said.append, {})
        return {p.name: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}

    first = judged("first")
    assert not [text for text in said if "judged before" in text]
    monkeypatch.setattr(run, "assess", None)
    assert "report.html" in first
    assert judged("second") == first
    assert [text for text in said if "judged before" in text]
    with pytest.raises(MdgenError, match="first"):
        judged("first")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    tasks.default_weights().parent.mkdir(parents=True)
    tasks.default_weights().write_bytes(b"weights")
    with pytest.raises(TypeError):
        judged("with inception")
    monkeypatch.delenv("TORCH_HOME")
    renamed = replace(data, table=data.table.assign(session=data.table["session"] + "b"))
    with pytest.raises(TypeError):
        judged("third", renamed)
    assert not (tmp_path / "third").exists()
