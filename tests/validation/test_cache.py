"""The cache gives back what was computed, survives damage, and shares out work between processes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdgen.data.dataset import SpectrogramSet
from validation.cache import Cache, cache_key
from validation.context import Context
from validation.networks import encoders
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


SCRIPT = """
import sys
import numpy as np
import torch
torch.set_num_threads(1)
from pathlib import Path
from validation.cache import Cache
from validation.networks.encoders import gait_profile
from validation.processes import is_main
images = np.load(sys.argv[1])
encode = gait_profile(16, 16)
made = Cache(Path(sys.argv[2])).arrays("0ab", lambda: {"features": encode(images), "few": encode(images[:1])})
if is_main():
    np.savez(sys.argv[3], **made)
"""


@pytest.mark.slow
def test_two_processes_share_the_rows_and_agree_with_one(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (11, 1, 16, 16)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "script.py").write_text(SCRIPT)
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
    ]
    names = (str(tmp_path / n) for n in ("script.py", "images.npy", "cache", "made.npz"))
    done = subprocess.run(
        [*launch, "--mixed_precision", "no", "--dynamo_backend", "no", *names],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    made, encode = np.load(tmp_path / "made.npz"), encoders.gait_profile(16, 16)
    np.testing.assert_allclose(made["features"], encode(images), rtol=1e-6)
    np.testing.assert_allclose(made["few"], encode(images[:1]), rtol=1e-6)
    assert only_file(tmp_path / "cache")
