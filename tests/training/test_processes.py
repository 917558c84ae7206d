"""Several processes: two that share a batch learn what one learns, only one writes, and their number may change."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from mdgen.config import TrainingConfig
from mdgen.generate import generate
from mdgen.run import Run
from mdgen.training import loop
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.checkpoint import load_newest_checkpoint
from mdgen.training.denoiser import train_denoiser
from mdgen.training.engine import Engine, StepResult
from mdgen.training.schedule import Budget
from mdgen.training.signals import Interrupted
from tests.conftest import ridges, tiny_recipe
from tests.processes import launch
from tests.training.toys import CONFIG, Line, fit


def train(run: Path, batch_size: int = 4, **settings: object) -> None:
    fit(
        run,
        Line(dropout=0),
        TrainingConfig.model_validate({**CONFIG.model_dump(), "batch_size": batch_size, **settings}),
    )


def train_sharded(run: Path, **settings: object) -> None:
    """Without any process ever having a whole optimizer state."""
    train(run, sharded=True, final="best", pictures_every=6, **settings)


class Stopping(Line):
    """Is told to stop in its last process, at the seventh step."""

    def draw(self, indices, generator):
        if len(self.seen) == 6 and os.environ.get("RANK", "1") == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return super().draw(indices, generator)


def train_and_stop(run: Path, **settings: object) -> None:
    fit(run, Stopping(dropout=0), TrainingConfig.model_validate({**CONFIG.model_dump(), **settings}))


def train_sharded_and_stop(run: Path) -> None:
    train_and_stop(run, sharded=True, final="best", pictures_every=6)


class Slowing(Line):
    """Steps take four times as long from visit 40 on, in this process."""

    def forward(self, batch, progress):
        self.pause_s = 0.02 if len(self.seen) < 40 else 0.08
        return super().forward(batch, progress)


def train_in_a_few_seconds(run: Path) -> None:
    config = TrainingConfig.model_validate({**CONFIG.model_dump(), "steps": 10000, "checkpoint_every": 100})
    fit(run, Slowing(dropout=0) if os.environ["RANK"] == "1" else Line(dropout=0), config, Budget.of(4 / 60))


def train_both_stages(folder: Path) -> None:
    """All but the first process may not write any file into the run."""
    if os.environ.get("RANK", "0") != "0":
        sys.addaudithook(_refuse_to_write)
    run, recipe = Run(folder), tiny_recipe()
    assert train_autoencoder(ridges(), run, recipe, device="cpu").images == 36
    train_denoiser(ridges(), run, recipe, device="cpu")


sharding = pytest.mark.skipif(torch.__version__ < "2.9", reason="sharding on a CPU needs torch 2.9 or later")
SHARDED = tiny_recipe("denoiser.training.sharded=true", "denoiser.training.gradient_checkpointing=true")


def train_sharded_denoiser(folder: Path) -> None:
    """Stage 2; no process may keep more than its share of the network."""
    kept = []

    class Watched(Engine):
        def step(self, *arguments: Any) -> StepResult:
            own = sum(p.to_local().numel() for p in self.parameters if isinstance(p, DTensor))
            kept.append(own / sum(p.numel() for p in self.parameters))
            return super().step(*arguments)

    loop.Engine = Watched  # type: ignore[misc]
    train_denoiser(ridges(), Run(folder), SHARDED, device="cpu")
    assert min(kept) > 0.4, kept
    assert max(kept) < 0.6, kept


def train_codes(folder: Path) -> None:
    """Three samples in one process, two in the other, and more codes than there are latents."""
    overrides = ("autoencoder.kind=vq", "autoencoder.latent_channels=4", "autoencoder.codebook.size=512")
    train_autoencoder(ridges(), Run(folder), tiny_recipe(*overrides, "autoencoder.training.batch_size=5"), device="cpu")


def _refuse_to_write(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise AssertionError(f"a process that is not the first one writes {arguments[0]}")


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = load_newest_checkpoint(run / "checkpoints" / "line")
    assert state is not None
    return state["task"]


def close(a: Path, b: Path) -> None:
    for x, y in zip(weights(a).values(), weights(b).values(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-6)


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "logs" / "line" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("batch_size", [4, 5])
def test_two_processes_learn_what_one_learns_from_the_same_batches(tmp_path, batch_size) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(one, batch_size)
    assert launch(train, two, batch_size) == [0, 0]
    close(one, two)
    for a, b in zip(metrics(one), metrics(two), strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    assert len(list((two / "logs" / "line").glob("events*"))) == 1


def test_a_run_goes_on_with_another_number_of_processes(tmp_path) -> None:
    train(tmp_path / "one")
    assert launch(train_and_stop, tmp_path / "fewer") == [143, 143]
    train(tmp_path / "fewer")
    close(tmp_path / "one", tmp_path / "fewer")
    with pytest.raises(Interrupted):
        train_and_stop(tmp_path / "more")
    assert launch(train, tmp_path / "more") == [0, 0]
    close(tmp_path / "one", tmp_path / "more")


def test_processes_of_unequal_speed_agree_where_a_schedule_fitted_to_a_budget_ends(tmp_path) -> None:
    assert launch(train_in_a_few_seconds, tmp_path) == [0, 0]
    state = load_newest_checkpoint(tmp_path / "checkpoints" / "line")
    assert state is not None
    assert 10 < state["position"]["done"] == state["position"]["steps"] < 130


@sharding
def test_sharded_processes_learn_what_one_learns_and_a_run_may_change_between_the_two(tmp_path) -> None:
    best = {"final": "best", "pictures_every": 6}
    train(tmp_path / "one", **best)
    assert launch(train_sharded, tmp_path / "two") == [0, 0]
    close(tmp_path / "one", tmp_path / "two")
    for a, b in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    assert launch(train_sharded_and_stop, tmp_path / "gathered") == [143, 143]
    train(tmp_path / "gathered", **best)
    close(tmp_path / "one", tmp_path / "gathered")
    with pytest.raises(Interrupted):
        train_and_stop(tmp_path / "spread", **best)
    assert launch(train_sharded, tmp_path / "spread") == [0, 0]
    close(tmp_path / "one", tmp_path / "spread")


@sharding
def test_a_sharded_denoiser_is_that_of_one_process_and_nobody_keeps_all_of_it(tmp_path) -> None:
    for folder in (tmp_path / "one", tmp_path / "two"):
        train_autoencoder(ridges(), Run(folder), SHARDED, device="cpu")
    train_denoiser(ridges(), Run(tmp_path / "one"), SHARDED, device="cpu")
    assert launch(train_sharded_denoiser, tmp_path / "two") == [0, 0]
    a, b = (load_file(next((tmp_path / run / "denoiser").glob("*.safetensors"))) for run in ("one", "two"))
    for name, weight in a.items():
        torch.testing.assert_close(weight, b[name], rtol=1e-3, atol=1e-5)


def test_both_stages_train_in_two_processes_and_only_one_writes(tmp_path) -> None:
    run, alone = tmp_path / "run", tmp_path / "alone"
    assert launch(train_both_stages, run) == [0, 0]
    train_autoencoder(ridges(), Run(alone), tiny_recipe(), device="cpu")
    a, b = (load_file(next((folder / "autoencoder").glob("*.safetensors"))) for folder in (run, alone))
    for name, weight in a.items():
        torch.testing.assert_close(weight, b[name], rtol=1e-3, atol=1e-5)
    assert np.isfinite(generate(run, tiny_recipe().generate, device="cpu").images).all()


def test_codes_start_anew_at_the_latents_of_all_processes_however_many_each_has(tmp_path) -> None:
    train_codes(tmp_path / "one")
    assert launch(train_codes, tmp_path / "two") == [0, 0]
    a, b = (load_file(next((tmp_path / run / "autoencoder").glob("*.safetensors"))) for run in ("one", "two"))
    torch.testing.assert_close(a["codebook.codes"], b["codebook.codes"], rtol=1e-3, atol=1e-4)


def test_a_batch_smaller_than_the_processes_is_refused(tmp_path) -> None:
    assert launch(train, tmp_path / "two", 1) == [2, 2]
