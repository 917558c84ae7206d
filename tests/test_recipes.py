"""Every shipped recipe: it builds at its own size, and shrunken it goes from training to samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mdgen.config import load_recipe, shipped_recipes
from mdgen.data.dataset import SpectrogramSet
from mdgen.diffusion.objective import noise_process
from mdgen.diffusion.samplers import build_sampler
from mdgen.generate import generate
from mdgen.models.autoencoder import build_autoencoder
from mdgen.models.denoiser import build_denoiser
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from tests.conftest import ridges

COLOUR = ("cifar10-pixel", "cifar10-latent", "cifar10-cpu", "cifar100-mlp", "cifar100-cross", "celeba64")
SIZES = {"microdoppler128": 128, "memory-saver": 128, "high-quality": 128, "vqgan256": 256, "mnist": 32, "celeba64": 64}
STAGE = ("steps=2", "batch_size=2", "micro_batch_size=2", "checkpoint_every=2", "precision=fp32", "ema_profiles=[]")
SHRUNKEN = [
    *(f"{part}.training.{setting}" for part in ("autoencoder", "denoiser") for setting in STAGE),
    *("autoencoder.channels=8", "autoencoder.blocks=1", "autoencoder.codebook.size=16", "autoencoder.perceptual=none"),
    *("autoencoder.adversarial.receptive_field=16", "autoencoder.adversarial.channels=8"),
    *("denoiser.width=32", "denoiser.depth=1", "denoiser.heads=2", "denoiser.attention=[]", "denoiser.levels=[1, 2]"),
    *("generate.per_user=1", "generate.steps=2", "generate.precision=fp32"),
]


def stand_in(name: str) -> SpectrogramSet:
    """Two users with three recordings each to train on, in colour where the recipe is for colour."""
    data = ridges(2, per_role=3, size=32)
    images = np.repeat(data.images, 3, axis=1) if name in COLOUR else data.images
    return dataclasses.replace(data, images=images, table=data.table.assign(session=data.table.index.astype(str)))


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shrunken_recipe_goes_from_training_to_samples(name: str, tmp_path) -> None:
    data, run, recipe = stand_in(name), Run(tmp_path / "run"), load_recipe(name, SHRUNKEN)
    train_autoencoder(data, run, recipe, device="cpu")
    train_denoiser(data, run, recipe, device="cpu")
    made = generate(run.path, recipe.generate, device="cpu")
    assert made.images.shape == (2, *data.images.shape[1:])
    assert np.isfinite(made.images).all()


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_recipe_builds_at_the_size_it_is_for(name: str) -> None:
    recipe = load_recipe(name)
    size = SIZES.get(name, 32 if name.startswith("cifar") else 64)
    shape = (3 if name in COLOUR else 1, size, size)
    with torch.no_grad():
        latents = build_autoencoder(recipe.autoencoder, shape).encode(torch.zeros(1, *shape)).latent_dist.mean
    with torch.device("meta"):
        denoiser = build_denoiser(recipe.denoiser, latents.shape[1], (latents.shape[2], latents.shape[3]))
    assert sum(p.numel() for p in denoiser.parameters()) > 1e5
    assert recipe.name == name
    build_sampler(noise_process(recipe.diffusion), recipe.generate.sampler)
