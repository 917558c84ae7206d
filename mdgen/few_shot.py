"""Windows of newcomers who have few recordings: a model of people with many is taught them, and lends them styles.

How a person differs from recording to recording, one recording cannot show; other people's recordings show how people
do. The model learns recordings as styles, apart from persons; a newcomer is then asked for in styles of others.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from mdgen.config import GenerateConfig, Recipe, dump_recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import STYLE
from mdgen.generate import generate
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.fine_tuning import fine_tune

#: Styles a newcomer may be asked for: those of others, its own, or none in particular.
WISHES = ("others", "own", "none")


class FewShotGenerator:
    """Generates newcomers in a style; what it trains lies in `work` and is used again for the same rows and recipe."""

    def __init__(
        self, recipe: Recipe, work: Path, wish: str = "others", device: str = "auto", progress: Progress | None = None
    ) -> None:
        self.recipe, self.work, self.wish = recipe, work, wish
        self.device, self.progress = device, progress or Progress(quiet=True)

    def __call__(self, known: SpectrogramSet, few: SpectrogramSet, per_user: int, seed: int = 0) -> SpectrogramSet:
        """`per_user` windows of each user of `few`. known: all windows of other people, of several recordings each."""
        run = self.taught(known, few)
        settings = self.recipe.generate.model_copy(update={"per_user": per_user, "labels": {STYLE: self.wish}})
        return generate(
            run, GenerateConfig.model_validate(settings.model_dump()), seed=seed, users=few.users, device=self.device
        )

    def taught(self, known: SpectrogramSet, few: SpectrogramSet) -> Path:
        """The run folder of the model that knows both."""
        base = self._base(known)
        run = Run(self.work / f"taught-{self._name(known, few)}")
        if not _finished(run):
            fine_tune(_training(few), base, run, self.recipe, device=self.device, progress=self.progress)
        return run.path

    def _base(self, known: SpectrogramSet) -> Path:
        run = Run(self.work / f"base-{self._name(known)}")
        if not _finished(run):
            rows = _training(known)
            train_autoencoder(rows, run, self.recipe, device=self.device, progress=self.progress)
            train_denoiser(rows, run, self.recipe, device=self.device, progress=self.progress)
        return run.path

    def _name(self, *sets: SpectrogramSet) -> str:
        recipe = hashlib.sha256(dump_recipe(self.recipe).encode()).hexdigest()
        return "-".join(digest[:8] for digest in (recipe, *(data.fingerprint() for data in sets)))


def _training(data: SpectrogramSet) -> SpectrogramSet:
    """All rows in role `train`."""
    return SpectrogramSet(data.images, data.table.assign(split="train"), data.name)


def _finished(run: Run) -> bool:
    return (run.path / MicroDopplerPipeline.config_name).exists()
