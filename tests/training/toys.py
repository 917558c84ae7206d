"""Something small to train that uses every kind of randomness, in this process or in others that are killed."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mdgen.config import TrainingConfig
from mdgen.progress import Progress
from mdgen.training.averages import Averages
from mdgen.training.loop import train
from mdgen.training.schedule import Budget
from mdgen.training.task import Batch, Task

#: Starts processes from a clean one that has everything imported: forking this one, with its threads, might hang.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.training.toys", "tests.conftest", "mdgen.training.denoiser"])

CONFIG = TrainingConfig(
    steps=12, batch_size=4, learning_rate=0.01, checkpoint_every=3, ema_half_life=0.2, ema_profiles=(0.1,)
)


class Line(Task):
    """Fits noisy numbers. poison: which (step, visit) pairs get a loss that is not a number."""

    def __init__(self, dropout: float = 0.2, poison: Any = None, pause_s: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(nn.Linear(1, 8), nn.Dropout(dropout), nn.Linear(8, 1))
        self.poison, self.pause_s = poison, pause_s
        self.seen: list[np.ndarray] = []

    def __len__(self) -> int:
        return 7

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        return {"line": (list(self.parameters()), 0.01)}

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        self.seen.append(indices)
        x = torch.from_numpy(indices).float()[:, None] + torch.randn(len(indices), 1, generator=generator)
        return {"x": x}

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        time.sleep(self.pause_s)
        loss = (self.layer(batch["x"]).float() - batch["x"]).square().mean()
        return {"total": loss * (float("nan") if self.poison and self.poison(progress) else 1)}

    def validation_loss(self) -> float:
        x = torch.arange(7.0)[:, None]
        return float((self.layer(x) - x).square().mean())


def fit(
    run: Path, task: Line | None = None, config: TrainingConfig = CONFIG, budget: Budget | None = None, **settings: Any
) -> Line:
    """`task` after its training."""
    task = task or Line()
    fit_averages(run, task, config, budget, **settings)
    return task


def fit_averages(
    run: Path, task: Line, config: TrainingConfig = CONFIG, budget: Budget | None = None, **settings: Any
) -> Averages:
    """The averages of the training of `task`."""
    quiet = Progress(quiet=True)
    return train(
        task, config, name="line", seed=1, run=run, settings=settings, device="cpu", progress=quiet, budget=budget
    )


def same(a: nn.Module, b: nn.Module) -> bool:
    """Whether all weights are equal, bit for bit."""
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def fit_slowly(run: Path, pause_s: float, started: Any) -> None:
    """For a process of its own; sets the event `started` when it begins."""
    started.set()
    torch.set_num_threads(1)
    fit(run, Line(pause_s=pause_s))
