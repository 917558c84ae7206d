"""A run folder in a moment: untrained networks, but everything in its place and of the same kinds."""

from __future__ import annotations

from pathlib import Path

import torch

from mdgen.config import Recipe
from mdgen.models.autoencoder import build_autoencoder
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.denoiser import publish
from tests.conftest import ridges, tiny_recipe


def tiny_run(folder: Path, *overrides: str, seed: int = 0) -> tuple[Run, Recipe]:
    """Three users, 16x16 pictures, 4x4 latents; weights large enough that user and noise show in the pictures."""
    recipe, data, run = tiny_recipe(*overrides), ridges(), Run(folder)
    run.claim(recipe, data)
    torch.manual_seed(seed)
    autoencoder = build_autoencoder(recipe.autoencoder, (1, 16, 16))
    channels = recipe.autoencoder.latent_channels
    autoencoder.register_to_config(latents_mean=[0.0] * channels, latents_std=[1.0] * channels)
    autoencoder.save_pretrained(folder / "autoencoder")
    denoiser = build_denoiser(recipe.denoiser, channels, (4, 4))
    for parameter in denoiser.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    conditioning = UserConditioning(3, denoiser.condition_dim, recipe.diffusion.condition_dropout)
    publish(MicroDopplerPipeline.assemble(autoencoder, denoiser, conditioning, recipe, data.users), run)
    return run, recipe
