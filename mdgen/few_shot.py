"""Windows of newcomers who have few recordings: a model of people with many is taught them, and lends them styles.

How a person differs from recording to recording, one recording cannot show; other people's recordings show how people
do. The model learns recordings as styles, apart from persons; a newcomer is then asked for in styles of others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from mdgen.config import FineTuningConfig, GenerateConfig, Recipe, dump_recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import STYLE
from mdgen.data.simulator import make_scene, simulate
from mdgen.data.simulator.like import fit_likeness
from mdgen.errors import MdgenError
from mdgen.generate import generate
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.fine_tuning import fine_tune
from mdgen.variations import variations
from mdgen.warps import borrowed_warps

#: Styles a newcomer may be asked for: those of others, its own, or none in particular.
WISHES = ("others", "own", "none")


#: (known, few, windows of each user of `few`, seed) -> windows made for the users of `few`.
FewShot = Callable[[SpectrogramSet, SpectrogramSet, int, int], SpectrogramSet]
WARPS = "warps"


def few_shot_generators(
    wishes: Sequence[str], recipe: Recipe, work: Path, device: str = "auto", progress: Progress | None = None,
    simulated: int = 0,
) -> dict[str, FewShot]:  # fmt: skip
    """By name. A wish is a style (`others`, `own`, `none`), `others@0.5` for real windows varied to that strength in
    such a style, or `warps`, which needs no network (`warps@1.5`: of this strength, not the recipe's). simulated:
    walkers among the people known (`FewShotGenerator`). Raises `MdgenError` for another wish."""
    found: dict[str, FewShot] = {}
    for wish in wishes:
        style, _, strength = wish.partition("@")
        if style == WARPS and (not strength or _is_strength(strength, 10)):
            name = f"borrowed warps of {strength}" if strength else "borrowed warps"
            found[name] = partial(borrowed_warps, strength=float(strength or recipe.warps.strength))
        elif style in WISHES and (not strength or _is_strength(strength, 1)):
            name = f"varied by {strength}" if strength else "generated"
            found[f"{name}, styles of {style}" if style != "none" else name] = FewShotGenerator(
                recipe, work, style, float(strength or 1), device, progress, simulated
            )
        else:
            raise MdgenError(
                f"unknown wish {wish!r}; known: {', '.join(WISHES)}, such as {WISHES[0]}@0.5, and {WARPS}, {WARPS}@1.5"
            )
    return found


class FewShotGenerator:
    """Generates newcomers in a style; what it trains lies in `work` and is used again for the same rows and recipe."""

    def __init__(
        self, recipe: Recipe, work: Path, wish: str = "others", strength: float = 1.0, device: str = "auto",
        progress: Progress | None = None, simulated: int = 0,
    ) -> None:  # fmt: skip
        """strength: below 1, real windows of the newcomer are varied so much instead of generated anew. simulated:
        walkers, fitted to the radar of the known ones, that the model learns beside them, without styles."""
        self.recipe, self.work, self.wish, self.strength = recipe, work, wish, strength
        self.simulated = simulated
        self.device, self.progress = device, progress or Progress(quiet=True)

    def __call__(self, known: SpectrogramSet, few: SpectrogramSet, per_user: int, seed: int = 0) -> SpectrogramSet:
        """`per_user` windows of each user of `few`. known: all windows of other people, of several recordings each."""
        run = self.taught(known, few)
        settings = self.recipe.generate.model_copy(update={"per_user": per_user, "labels": {STYLE: self.wish}})
        settings = GenerateConfig.model_validate(settings.model_dump())
        if self.strength < 1:
            return variations(run, few, settings, self.strength, seed=seed, device=self.device)
        return generate(run, settings, seed=seed, users=few.users, device=self.device)

    def taught(self, known: SpectrogramSet, few: SpectrogramSet) -> Path:
        """The run folder of the model that knows both."""
        base = self._base(known)
        run = Run(self.work / f"taught{self._beside}-{_name(self.recipe, known, few)}")
        if not _finished(run):
            replay = None if self.recipe.fine_tuning.learn == "users" else _training(known)
            fine_tune(_training(few), base, run, self.recipe, replay=replay, device=self.device, progress=self.progress)
        return run.path

    @property
    def _beside(self) -> str:
        return f"-{self.simulated}-walkers" if self.simulated else ""

    def _base(self, known: SpectrogramSet) -> Path:
        plain = self.recipe.model_copy(update={"fine_tuning": FineTuningConfig(), "generate": GenerateConfig()})
        run = Run(self.work / f"base{self._beside}-{_name(plain, known)}")
        if not _finished(run):
            rows = _training(with_walkers(known, self.simulated) if self.simulated else known)
            train_autoencoder(rows, run, self.recipe, device=self.device, progress=self.progress)
            train_denoiser(rows, run, self.recipe, device=self.device, progress=self.progress)
        return run.path


def with_walkers(real: SpectrogramSet, count: int, sessions: int = 4, windows: int = 10) -> SpectrogramSet:
    """`real` and `count` simulated walkers seen by the same radar, whose recordings have no names: they teach people,
    not styles."""
    fit = fit_likeness(real)
    scene = make_scene(radar=fit.radar, conditions=fit.conditions)
    made = simulate(count, sessions, windows, real.images.shape[-1], scene=scene)
    unnamed = made.table.assign(user="simulated " + made.table["user"], session="", recording="")
    table = pd.concat([real.table, unnamed.reindex(columns=real.table.columns)], ignore_index=True)
    return SpectrogramSet(np.concatenate([real.images, made.images]), table, real.name)


def _name(recipe: Recipe, *sets: SpectrogramSet) -> str:
    text = hashlib.sha256(dump_recipe(recipe).encode()).hexdigest()
    return "-".join(digest[:8] for digest in (text, *(data.fingerprint() for data in sets)))


def _is_strength(text: str, end: float) -> bool:
    try:
        return 0 < float(text) < end
    except ValueError:
        return False


def _training(data: SpectrogramSet) -> SpectrogramSet:
    """All rows in role `train`."""
    return SpectrogramSet(data.images, data.table.assign(split="train"), data.name)


def _finished(run: Run) -> bool:
    return (run.path / MicroDopplerPipeline.config_name).exists()
