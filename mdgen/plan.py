"""What a training would cost, before it starts: sizes, parameters, steps and a measured time a step."""

from __future__ import annotations

import time

import numpy as np
import torch

from mdgen.config import Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.models.autoencoder import build_autoencoder
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser
from mdgen.run import training_data


def plan_lines(recipe: Recipe, data: SpectrogramSet) -> list[str]:
    """Lines for people: windows, latent shape, parameters, and the time that one timed step a stage foretells."""
    train = training_data(data)
    windows = WindowCutter.of(train, recipe.data.augment)
    image = torch.from_numpy(train.images[:1])
    autoencoder = build_autoencoder(recipe.autoencoder, image.shape[1])
    with torch.no_grad():
        latent = autoencoder.encode(image).latent_dist.mean[0]
    denoiser = build_denoiser(recipe.denoiser, latent.shape[0], (latent.shape[1], latent.shape[2]))
    conditioning = UserConditioning(len(train.users), denoiser.condition_dim, recipe.diffusion.condition_dropout)
    stage1, stage2 = recipe.autoencoder.training, recipe.denoiser.training

    def autoencoder_step() -> torch.Tensor:
        batch = windows.draw(np.arange(stage1.batch_size) % len(windows), torch.Generator())
        return autoencoder.decode(autoencoder.encode(batch).latent_dist.mean).sample.square().mean()

    def denoiser_step() -> torch.Tensor:
        noisy = torch.randn(stage2.batch_size, *latent.shape)
        users = torch.zeros(stage2.batch_size, dtype=torch.long)
        return (
            denoiser(noisy, torch.rand(stage2.batch_size) * 1000, class_labels=conditioning(users))
            .sample.square()
            .mean()
        )

    return [
        f"{len(train)} training spectrograms of {len(train.users)} users in {len(windows.recordings)} recordings",
        f"latents {tuple(latent.shape)} of pictures {tuple(image.shape[1:])}",
        f"autoencoder: {_millions(autoencoder)}, {stage1.steps} steps, {_minutes(autoencoder_step, stage1.steps)}",
        f"denoiser: {_millions(denoiser)}, {stage2.steps} steps, {_minutes(denoiser_step, stage2.steps)}",
    ]


def _millions(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.2f} M parameters"


def _minutes(step, steps: int) -> str:  # type: ignore[no-untyped-def]
    step().backward()
    started = time.monotonic()
    step().backward()
    return f"about {(time.monotonic() - started) * steps / 60:.1f} minutes on this CPU in fp32"
