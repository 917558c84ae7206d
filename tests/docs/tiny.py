"""Settings and data so small that every command of the documentation takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdgen.data.images import write_png16
from tests.conftest import ridges

TINY_SETTINGS = [
    *("autoencoder.training.steps=2", "autoencoder.training.batch_size=4", "autoencoder.channels=16"),
    *("autoencoder.codebook.size=16", "autoencoder.blocks=1", "autoencoder.perceptual=none"),
    *("autoencoder.adversarial.receptive_field=16", "autoencoder.adversarial.channels=8"),
    *("denoiser.training.steps=2", "denoiser.training.batch_size=4", "denoiser.training.precision=fp32"),
    *("denoiser.width=32", "denoiser.levels=[1, 2]", "denoiser.depth=1", "denoiser.heads=2"),
    *("prior.training.steps=2", "prior.width=32", "prior.depth=1", "prior.heads=2"),
    *("joint.training.steps=2", "fine_tuning.training.steps=2", "classifier.training.steps=2"),
    *("distill.training.steps=2", "generate.per_user=2", "generate.steps=2", "generate.precision=fp32"),
]

#: Section `validate` of a recipe.
TINY_JUDGE: dict[str, Any] = {
    **{"judge_seeds": 1, "judge_steps": 5, "verification_steps": 5, "encoders": ["judge"]},
    **{"learning_draws": 2, "learning_budgets": [1], "bootstrap_draws": 20, "null_draws": 10},
}


def write_pictures(folder: Path) -> None:
    """A folder of PNGs for each of four people, as somebody has them on disk."""
    data = ridges(4, per_role=6, size=32)
    for number, (image, user) in enumerate(zip(data.images, data.table["user"], strict=True)):
        (folder / str(user)).mkdir(parents=True, exist_ok=True)
        write_png16(folder / str(user) / f"{number}.png", image[0])
