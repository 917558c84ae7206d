"""What both stages add to the loop: pictures, validation on held-out rows, the average chosen last, file names."""

import json
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mdgen.check.run import check_run
from mdgen.config import Recipe
from mdgen.data.dataset import read_dataset, write_dataset
from mdgen.errors import MachineError, MdgenError
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.autoencoder_task import AutoencoderTask
from mdgen.training.denoiser import train_denoiser
from mdgen.training.journal import read_metrics
from mdgen.training.prior import train_prior
from tests.conftest import ridges, tiny_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Run, Recipe]:
    recipe = tiny_recipe(
        "autoencoder.training.pictures_every=3",
        "denoiser.training.pictures_every=3",
        "denoiser.training.ema_profiles=[0.05, 0.1]",
        "autoencoder.training.final=best",
    )
    run = Run(tmp_path_factory.mktemp("runs") / "stages")
    train_autoencoder(ridges(), run, recipe, device="cpu")
    train_denoiser(ridges(), run, recipe, device="cpu")
    return run, recipe


def board(run: Run, stage: str) -> dict:
    file = next((run.path / "logs" / stage).glob("events*"))
    accumulator = EventAccumulator(str(file))
    accumulator.Reload()
    return accumulator.Tags()


def test_pictures_come_from_averaged_weights_at_intervals(trained) -> None:
    run, _ = trained
    assert set(board(run, "autoencoder")["images"]) == {"originals", "reconstructions"}
    assert board(run, "denoiser")["images"] == ["samples"]
    assert {"latent_std", "kl", "validation_loss"} <= set(board(run, "autoencoder")["scalars"])


def test_both_stages_are_validated_on_held_out_rows_at_every_checkpoint(trained) -> None:
    run, _ = trained
    for stage in ("autoencoder", "denoiser"):
        rows = read_metrics(run.path / "logs" / stage / "metrics.jsonl")
        assert [row["step"] for row in rows if "validation_loss" in row] == [2, 4, 6]


def test_the_average_of_the_lowest_validation_loss_is_what_is_saved(trained) -> None:
    run, _ = trained
    scores = json.loads((run.path / "logs" / "denoiser" / "averages.json").read_text())
    assert {"in place", "0.05", "0.1", "0.2"} <= set(scores)
    assert len(set(scores.values())) > 3
    assert MicroDopplerPipeline.load(run.path).config.users == ["ID_1", "ID_2", "ID_3"]


def test_pictures_and_validation_change_nothing_of_what_is_learned(trained, tmp_path) -> None:
    _, recipe = trained
    silent = tiny_recipe("autoencoder.training.pictures_every=0", "autoencoder.training.checkpoint_every=100")
    data = ridges()
    unseen = data.select((data.table["split"] != "val").to_numpy())
    with_pictures, without = Run(tmp_path / "a"), Run(tmp_path / "b")
    train_autoencoder(data, with_pictures, tiny_recipe("autoencoder.training.pictures_every=1"), device="cpu")
    train_autoencoder(unseen, without, silent, device="cpu")
    a, b = (next((r.path / "autoencoder").glob("*.safetensors")).read_bytes() for r in (with_pictures, without))
    assert a == b
    assert recipe.autoencoder.training.pictures_every == 3


def test_the_best_checkpoint_needs_rows_to_tell(tmp_path) -> None:
    data = ridges()
    unseen = data.select((data.table["split"] != "val").to_numpy())
    with pytest.raises(MdgenError, match="role val"):
        train_autoencoder(unseen, Run(tmp_path), tiny_recipe("autoencoder.training.final=best"), device="cpu")


@pytest.mark.parametrize("kind", ["patch", "kl", "vq", "vector", "none"])
def test_pictures_of_another_size_than_the_autoencoders_are_refused(tmp_path, kind: str) -> None:
    run, recipe = Run(tmp_path / "run"), tiny_recipe(f"autoencoder.kind={kind}", "prior.width=32", "prior.depth=1")
    train_autoencoder(ridges(), run, recipe, device="cpu")
    colours = ridges().with_images(ridges().images.repeat(3, axis=1))
    for train in (train_denoiser, *([train_prior] if kind == "vq" else [])):
        with pytest.raises(MdgenError, match=r"are 24x24 with 1 channel.*is for 16x16 with 1 channel.*--size 16"):
            train(ridges(size=24), run, recipe, device="cpu")
        with pytest.raises(MdgenError, match=r"are 16x16 with 3 channel.*is for 16x16 with 1 channel"):
            train(colours, run, recipe, device="cpu")
    remarks = check_run(run, colours)
    assert [remark.what for remark in remarks if remark.level == "fail"] == ["ridges has other pictures than the run"]


def test_bad_numbers_are_reported_with_the_files_they_came_from(tmp_path, monkeypatch) -> None:
    data = read_dataset(write_dataset(ridges(), tmp_path / "data"))
    forward = AutoencoderTask.forward

    def poisoned(self, batch, progress):
        return {key: value * torch.tensor(float("nan")) for key, value in forward(self, batch, progress).items()}

    monkeypatch.setattr(AutoencoderTask, "forward", poisoned)
    recipe = tiny_recipe("autoencoder.training.steps=40", "autoencoder.training.checkpoint_every=40")
    with pytest.raises(MachineError, match="look at them"):
        train_autoencoder(data, Run(tmp_path / "run"), recipe, device="cpu")
    lines = (tmp_path / "run" / "logs" / "autoencoder" / "metrics.jsonl").read_text().splitlines()
    named = json.loads(lines[-1])["event"].split("its samples: ")[1].split(", ")
    train = data.table[data.table["split"] == "train"]
    assert len(named) == 4
    assert set(named) <= set(train["file"])
    assert Path(tmp_path / "data" / named[0]).exists()
