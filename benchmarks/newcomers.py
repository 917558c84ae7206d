"""A small model of known people, to be taught newcomers, and how many of whose samples are recognised."""

from __future__ import annotations

from pathlib import Path

from mdgen.config import Recipe, load_recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from validation.networks.judge import Judge


def small_recipe(*changes: str, seed: int, steps: int, new_steps: int) -> Recipe:
    """steps: of the denoiser on the known people. new_steps: on the newcomers."""
    return load_recipe(
        "quickstart",
        [
            f"seed={seed}",
            "autoencoder.training.steps=200",
            "denoiser.levels=[1, 2]",
            f"denoiser.training.steps={steps}",
            f"fine_tuning.training.steps={new_steps}",
            *changes,
        ],
    )


def trained(folder: Path, known: SpectrogramSet, recipe: Recipe) -> Path:
    """`folder` with both stages trained on `known`, unless they are there already."""
    if not (folder / "model_index.json").exists():
        train_autoencoder(known, Run(folder), recipe, device="cpu", progress=Progress())
        train_denoiser(known, Run(folder), recipe, device="cpu", progress=Progress())
    return folder


def recognised(judge: Judge, data: SpectrogramSet, column: str = "user") -> float:
    """Share of samples whose user, or other column, is what the judge takes it for."""
    return round(float((judge.predict(data.images) == data.table[column].to_numpy()).mean()), 3)
