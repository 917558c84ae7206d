"""Generating at scale: a sample is fixed by (seed, user, index), whoever makes it, when, and however it ends."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.data.labels import known_users
from mdgen.errors import MachineError, MdgenError
from mdgen.generate import generate, write_synthetic
from mdgen.models.latent_classifier import LatentClassifier
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.plan_generation import generation_plan_lines
from tests.tiny_run import tiny_run
from tests.training.test_processes import launch


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "tiny")[0].path


def settings(**changes: object) -> GenerateConfig:
    small = {"per_user": 4, "steps": 3, "shard_size": 5, "format": "npz", "precision": "fp32", "batch_size": 4}
    return GenerateConfig.model_validate({**small, **changes})


def samples(data: SpectrogramSet) -> dict[tuple[str, int], np.ndarray]:
    keys = zip(data.table["user"], data.table["index"].astype(int), strict=True)
    found = dict(zip(keys, data.images, strict=True))
    assert len(found) == len(data)
    return found


def require_same(some: dict[tuple[str, int], np.ndarray], more: dict[tuple[str, int], np.ndarray]) -> None:
    """Within 1e-4, and equal after 8-bit rounding for 99.9 % of the pixels."""
    a, b = np.stack(list(some.values())), np.stack([more[key] for key in some])
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert (np.round((a + 1) * 127.5) == np.round((b + 1) * 127.5)).mean() >= 0.999


@pytest.mark.parametrize("sampler", ["dpm++", "ddpm", "lcm", "heun"])
def test_seed_user_and_index_fix_the_picture(run, sampler: str) -> None:
    base = samples(generate(run, settings(sampler=sampler), seed=1))
    others = [
        generate(run, settings(sampler=sampler, batch_size=12), seed=1),
        generate(run, settings(sampler=sampler, batch_size=1, per_user=2), seed=1),
        generate(run, settings(sampler=sampler), seed=1, users=["ID_3", "ID_2"]),
    ]
    for other in others:
        require_same(samples(other), base)
    assert np.abs(base["ID_1", 0] - base["ID_2", 0]).max() > 0.01
    assert np.abs(base["ID_1", 0] - base["ID_1", 1]).max() > 0.01
    different = samples(generate(run, settings(sampler=sampler), seed=2))
    assert np.abs(base["ID_1", 0] - different["ID_1", 0]).max() > 0.01


def test_users_are_taken_once_in_the_order_asked_and_all_where_none_are() -> None:
    known = ["a", "b", "c"]
    assert known_users(["c", "a", "c"], known, "run") == ["c", "a"]
    assert known_users(None, known, "run") == known
    with pytest.raises(MdgenError, match=r"run: no user \['d'\]; there are a, b, c"):
        known_users(["a", "d"], known, "run")


def test_asking_for_more_leaves_the_first_ones_untouched(run, tmp_path) -> None:
    write_synthetic(run, settings(), tmp_path / "set")
    before = {file: file.read_bytes() for file in (tmp_path / "set" / "shards").iterdir()}
    assert write_synthetic(run, settings(per_user=8), tmp_path / "set") == 24
    assert all(file.read_bytes() == content for file, content in before.items())
    grown = samples(read_dataset(tmp_path / "set"))
    require_same(samples(generate(run, settings(per_user=8))), grown)
    with pytest.raises(MdgenError, match="per_user was 8, is 4"):
        write_synthetic(run, settings(), tmp_path / "set")
    with pytest.raises(MdgenError, match="seed was 0, is 1"):
        write_synthetic(run, settings(per_user=8), tmp_path / "set", seed=1)


def test_a_set_that_grows_under_another_kind_of_manifest_keeps_the_new_one_alone(run, tmp_path) -> None:
    for count, manifest in ((1, "csv"), (2, "parquet"), (3, "csv")):
        write_synthetic(run, settings(per_user=count, manifest=manifest), tmp_path / "set")
        assert [file.name for file in (tmp_path / "set").glob("manifest.*")] == [f"manifest.{manifest}"]
        assert len(read_dataset(tmp_path / "set")) == 3 * count


def test_a_set_is_not_extended_under_a_classifier_or_weak_run_trained_anew(tmp_path) -> None:
    run, weak = (tiny_run(tmp_path / name)[0].path for name in ("tiny", "weak"))
    LatentClassifier(3, 4, 16).save_pretrained(run / "classifier")
    guided = settings(per_user=1, classifier_scale=2.0, weak_run=str(weak))
    write_synthetic(run, guided, tmp_path / "set")
    table = read_dataset(tmp_path / "set").table
    assert set(zip(table["classifier_scale"], table["weak_run"], strict=True)) == {("2.0", "weak")}
    write_synthetic(run, guided, tmp_path / "set")
    for part, changed in (("classifier", run / "classifier"), ("weak_run", weak / "denoiser")):
        file = next(changed.glob("*.safetensors"))
        before = file.read_bytes()
        save_file({name: value + 1e-3 for name, value in load_file(file).items()}, file, {"format": "pt"})
        with pytest.raises(MdgenError, match=f"{part}_sha256 was"):
            write_synthetic(run, guided, tmp_path / "set")
        file.write_bytes(before)


@pytest.mark.parametrize("format_name", ["npz", "png16"])
def test_killed_at_any_rename_the_same_command_finishes_the_rest(run, tmp_path, monkeypatch, format_name: str) -> None:
    whole = samples(generate(run, settings()))
    out, replace, made = tmp_path / "set", os.replace, []
    sample = MicroDopplerPipeline.__call__

    def counted(self, user_ids, *arguments, **named):
        made.append(len(user_ids))
        return sample(self, user_ids, *arguments, **named)

    monkeypatch.setattr(MicroDopplerPipeline, "__call__", counted)
    for survived in range(4):

        def dying(*names: object, left: list[int] = [survived + 1]) -> None:  # noqa: B006
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            replace(*names)

        monkeypatch.setattr(os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic(run, settings(format=format_name), out)
    with pytest.raises(MdgenError, match="not finished"):
        read_dataset(out)
    monkeypatch.setattr(os, "replace", replace)
    made.clear()
    missing = len(whole) - sum(len(pd.read_csv(file)) for file in (out / ".index").glob("[0-9]*.csv"))
    write_synthetic(run, settings(format=format_name), out)
    assert sum(made) == missing < len(whole)
    require_same(whole, samples(read_dataset(out)))
    assert not list(out.rglob("*.partial"))


def write_in_process(run: Path, out: Path) -> None:
    write_synthetic(run, settings(shard_size=2), out, device="cpu")


def test_two_processes_write_what_one_writes(run, tmp_path) -> None:
    assert launch(write_in_process, run, tmp_path / "two") == [0, 0]
    require_same(samples(generate(run, settings())), samples(read_dataset(tmp_path / "two")))


def test_memory_that_runs_out_makes_batches_smaller_and_no_sample_different(run, monkeypatch) -> None:
    whole = samples(generate(run, settings()))
    decode, tried = MicroDopplerPipeline.decode, []

    def limited(self, latents):
        tried.append(len(latents))
        if len(latents) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decode(self, latents)

    monkeypatch.setattr(MicroDopplerPipeline, "decode", limited)
    limit = 3
    require_same(whole, samples(generate(run, settings(batch_size=12))))
    assert tried[:3] == [12, 6, 3]
    limit = 0
    with pytest.raises(MachineError, match="one sample a time"):
        generate(run, settings())


def test_guidance_outside_its_interval_costs_nothing(run, monkeypatch) -> None:
    seen: list[int] = []
    predict = MicroDopplerPipeline._predict
    monkeypatch.setattr(
        MicroDopplerPipeline, "_predict", lambda self, x, *rest: seen.append(len(x)) or predict(self, x, *rest)
    )
    generate(run, settings(steps=10, per_user=1, sampler="euler", guidance_interval=(0.2, 0.75)))
    assert seen == [3, 3, 3, 6, 6, 6, 6, 6, 6, 3]  # levels 1.0, 0.9, ..., 0.1


def test_a_million_samples_are_planned_and_nothing_is_written(run, tmp_path) -> None:
    lines = generation_plan_lines(run, settings(per_user=333_334, format="webdataset"), tmp_path / "set")
    assert "1,000,002 samples of 3 users" in lines[0]
    assert "in 200,001 shards" in lines[0]
    assert "samples a second" in lines[2]
    assert "GB free" in lines[3]
    assert not (tmp_path / "set").exists()
