"""Shared by all tests: one thread (tiny tensors gain nothing from two), no GPU but in test_gpu.py (its digits vary,
and processes cannot share one), and tiny data sets with known answers."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from mdgen.config import Recipe, load_recipe
from mdgen.data.dataset import ROLES, SpectrogramSet, make_table

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of commands that tests start, beside other tests
#: GPUs as they were named before they were hidden, also for processes started from here.
VISIBLE_GPUS = os.environ.setdefault("MDGEN_TEST_GPUS", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Judges and features of the tests are kept apart from those of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def ridges(users: int = 3, per_role: int = 6, size: int = 16, seed: int = 0) -> SpectrogramSet:
    """Users who differ in the row of one bright ridge, in a little noise; every role has a recording of its own."""
    rng = np.random.default_rng(seed)
    names = [f"ID_{u}" for u in range(1, users + 1)]
    rows = [(u, role) for u in range(users) for role in ROLES for _ in range(per_role)]
    images = -0.9 + 0.05 * rng.standard_normal((len(rows), 1, size, size))
    for i, (user, _) in enumerate(rows):
        images[i, 0, 2 + user * (size - 4) // users] = 0.8
    table = make_table(
        user=[names[u] for u, _ in rows], recording=[role for _, role in rows], split=[role for _, role in rows]
    )
    return SpectrogramSet(np.clip(images, -1, 1).astype(np.float32), table, "ridges")


@pytest.fixture
def data() -> SpectrogramSet:
    return ridges()


@pytest.fixture
def recipe() -> Recipe:
    return tiny_recipe()


def tiny_recipe(*overrides: str) -> Recipe:
    """A recipe that trains in a second: 4x4 latents of 16x16 pictures."""
    return load_recipe(
        None,
        [
            "autoencoder.latent_channels=4",
            "autoencoder.channels=16",
            "autoencoder.blocks=1",
            "autoencoder.training.steps=6",
            "autoencoder.training.batch_size=4",
            "autoencoder.training.checkpoint_every=2",
            "denoiser.width=32",
            "denoiser.depth=1",
            "denoiser.heads=2",
            "denoiser.training.steps=6",
            "denoiser.training.batch_size=4",
            "denoiser.training.checkpoint_every=2",
            "generate.per_user=3",
            "generate.steps=3",
            "generate.precision=fp32",
            *overrides,
        ],
    )


def walks(phases: list[float], hop: int = 16) -> SpectrogramSet:
    """Four overlapping windows of 64 columns of each recording; levels swing every 32 columns from a phase on."""
    rng, starts = np.random.default_rng(0), np.arange(4) * hop
    length = 64 + 3 * hop
    turns = np.arange(length) / 32
    recordings = [np.sin(2 * np.pi * (turns + p)) / 2 + rng.normal(0, 0.1, (1, 8, length)) for p in phases]
    images = np.stack([r[..., s : s + 64] for r in recordings for s in starts]).clip(-1, 1)
    names = [str(number) for number in range(len(phases)) for _ in starts]
    table = make_table(user="a", recording=names, split="train").assign(start_column=np.tile(starts, len(phases)))
    return SpectrogramSet(images.astype(np.float32), table)
