"""What every training in a run folder needs around its loop: where it runs, who is told, how long it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdgen.config import Recipe, TrainingConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.device import computing_on
from mdgen.errors import MdgenError
from mdgen.progress import Progress
from mdgen.run import Run, training_data
from mdgen.training.averages import Averages
from mdgen.training.loop import train
from mdgen.training.schedule import Budget
from mdgen.training.task import Task


@dataclass(frozen=True)
class Stage:
    """One training in the folder of `run`. Made first of all: it settles on the device."""

    run: Run
    recipe: Recipe
    device: str = "auto"
    progress: Progress | None = None
    budget: Budget | None = None

    def __post_init__(self) -> None:
        computing_on(self.device)

    def rows(self, data: SpectrogramSet) -> SpectrogramSet:
        """Role `train` of the data set that the run was made for, to learn in the latents of its autoencoder.

        Raises `MdgenError` for other users, another `autoencoder` section, a run without an autoencoder, or pictures of
        another size than it was trained on.
        """
        rows, path = training_data(data), self.run.path
        self.run.require_users(rows.users)
        if self.run.recipe().autoencoder != self.recipe.autoencoder:
            raise MdgenError(
                f"{path}: its autoencoder was trained with other settings; leave section `autoencoder` as it is"
            )
        if not (path / "autoencoder" / "config.json").exists():
            raise MdgenError(f"{path}: has no trained autoencoder; run `mdgen train-vae` first")
        self.run.require_pictures(rows)
        return rows

    def train(self, task: Task, config: TrainingConfig, name: str, settings: dict[str, Any]) -> Averages:
        """`training.loop.train` here; settings: whatever else decides the result."""
        return train(
            task, config, name=name, seed=self.recipe.seed, run=self.run.path, settings=settings, device=self.device,
            progress=self.progress or Progress(quiet=True), budget=self.budget,
        )  # fmt: skip
