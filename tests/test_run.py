"""The run folder: one training at a time, a run that goes on elsewhere, doctor."""

import json
import os
import resource
import shutil
import stat
from pathlib import Path

import pytest
from filelock import FileLock

from mdgen.doctor import report_lines
from mdgen.errors import MdgenError
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.checkpoint import checkpoints
from mdgen.training.denoiser import DenoiserTask, train_denoiser
from mdgen.training.signals import Interrupted
from tests.conftest import ridges, tiny_recipe


@pytest.mark.parametrize("last", ["config.yaml", "axes.json", "users.json"])
def test_a_run_folder_that_was_stopped_while_it_was_made_is_made_anew(last, tmp_path, monkeypatch) -> None:
    run = Run(tmp_path / "run")
    replace = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if target.name == last:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("mdgen.data.folders.os.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.claim(tiny_recipe("seed=1"), ridges())
    run.claim(tiny_recipe(), ridges())
    assert run.recipe() == tiny_recipe()
    assert (run.users(), run.axes()) == (ridges().users, ridges().axes())


def test_a_full_disk_leaves_the_recipe_that_was_there(tmp_path) -> None:
    run = Run(tmp_path / "run")
    run.claim(tiny_recipe(), ridges())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with pytest.raises(OSError, match="too large"):
            run.record(tiny_recipe("seed=1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.recipe() == tiny_recipe()


def test_a_folder_of_other_things_is_not_made_a_run(tmp_path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(MdgenError, match="is not a run folder"):
        Run(tmp_path).claim(tiny_recipe(), ridges())
    assert [file.name for file in tmp_path.iterdir()] == ["notes"]


def test_a_second_training_in_a_run_folder_is_refused_and_told_by_whom(tmp_path) -> None:
    run = Run(tmp_path)
    (tmp_path / ".lock.json").write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(MdgenError, match="process 7 on elsewhere is training here"),
        run.locked(),
    ):
        pass


def test_a_lock_left_by_a_dead_process_is_taken_over_and_a_failed_one_leaves_none(tmp_path, capsys) -> None:
    run = Run(tmp_path)
    (tmp_path / ".lock.json").write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
    with run.locked():
        assert json.loads((tmp_path / ".lock.json").read_text())["pid"] == os.getpid()
    assert "process 7 on elsewhere died here" in capsys.readouterr().err
    with pytest.raises(KeyError), run.locked():
        raise KeyError
    with run.locked():
        pass
    assert capsys.readouterr().err == ""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A run whose second stage was stopped half way."""
    folder = tmp_path_factory.mktemp("runs") / "stopped"
    run, recipe = Run(folder), tiny_recipe()
    train_autoencoder(ridges(), run, recipe, device="cpu")
    train_denoiser(ridges(), run, recipe, device="cpu")
    shutil.rmtree(folder / "checkpoints" / "denoiser" / "step-00000006")
    return folder


def test_a_run_goes_on_in_a_new_folder_and_ends_the_same_while_the_old_one_is_only_read(stopped, tmp_path) -> None:
    before = {file: file.stat().st_mtime_ns for file in stopped.rglob("*")}
    for file in (stopped, *stopped.rglob("*")):
        file.chmod(file.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    new = Run(tmp_path / "new")
    new.continue_from(stopped)
    assert [c.name for c in checkpoints(new.path / "checkpoints" / "denoiser")] == ["step-00000004"]
    train_denoiser(ridges(), new, new.recipe(), device="cpu")
    for part in ("denoiser", "conditioning"):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        assert (new.path / name).read_bytes() == (stopped / name).read_bytes()
    assert {file: file.stat().st_mtime_ns for file in stopped.rglob("*")} == before
    assert all(os.stat(f).st_mode & stat.S_IWUSR for f in new.path.rglob("*"))
    new.continue_from(stopped)  # the same command again
    assert (new.path / "model_index.json").exists()


def test_the_best_checkpoint_comes_along_however_old(tmp_path, monkeypatch) -> None:
    losses = iter([0.0, 0.1, 0.5, 0.4, 0.3])  # the first one asks whether there is any
    monkeypatch.setattr(DenoiserTask, "validation_loss", lambda self: next(losses))
    overrides = ("denoiser.training.final=best", "denoiser.training.steps=8", "denoiser.training.checkpoint_every=2")
    old, new, recipe = Run(tmp_path / "old"), Run(tmp_path / "new"), tiny_recipe(*overrides)
    train_autoencoder(ridges(), old, recipe, device="cpu")
    train_denoiser(ridges(), old, recipe, device="cpu")
    new.continue_from(old.path)
    assert checkpoints(new.path / "checkpoints/denoiser")[0].name == "step-00000002"
    train_denoiser(ridges(), new, recipe, device="cpu")
    name = "denoiser/diffusion_pytorch_model.safetensors"
    assert (new.path / name).read_bytes() == (old.path / name).read_bytes()


def test_going_on_from_what_is_no_run_or_into_what_is_not_free_is_an_error(stopped, tmp_path) -> None:
    with pytest.raises(MdgenError, match="not a run folder"):
        Run(tmp_path / "new").continue_from(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(MdgenError, match="not empty"):
        Run(tmp_path / "full").continue_from(stopped)
    with pytest.raises(MdgenError, match="is only read"):
        Run(stopped).continue_from(stopped)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"]


def test_an_altered_autoencoder_is_not_trained_on(stopped, tmp_path) -> None:
    new = Run(tmp_path / "new")
    new.continue_from(stopped)
    file = next((new.path / "autoencoder").glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(MdgenError, match="does not match its sha256"):
        train_denoiser(ridges(), new, new.recipe(), device="cpu")


def test_doctor_names_versions_and_devices() -> None:
    text = "\n".join(report_lines())
    for word in ("mdgen", "torch", "CPU", "GPU", "auto chooses", "memory"):
        assert word in text
    assert Interrupted("x", 15).exit_code == 143
