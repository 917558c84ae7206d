"""Image to image: real windows noised part of the way and denoised as the same person in another recording's style."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.device import resolve_device
from mdgen.generate import Maker
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.training.latents import encode


@dataclass
class Varier(Maker):
    """A maker whose samples begin from real ones.

    starts: by user, the normalised latents [N, c, h, w] of their windows.

    strength: how much of the way from noise is to go anew, 0 (nothing changes) to 1 (nothing is left; SDEdit, Meng et
    al. 2022).
    """

    starts: dict[str, Tensor] = field(default_factory=dict)
    strength: float = 0.5

    def _sample(self, rows: range) -> np.ndarray:
        pipeline = self.pipeline
        assert isinstance(pipeline, MicroDopplerPipeline)
        own = [self.starts[self._user(n)] for n in rows]
        start = torch.stack([mine[self._index(n) % len(mine)] for mine, n in zip(own, rows, strict=True)])
        states = pipeline.trajectory(**self._wishes(rows), start=start, strength=self.strength)
        return pipeline.decode(deque(states, maxlen=1)[0]).cpu().numpy()


def variations(
    run: Path,
    real: SpectrogramSet,
    settings: GenerateConfig,
    strength: float,
    *,
    seed: int = 0,
    device: str = "auto",
) -> SpectrogramSet:
    """`settings.per_user` variations of the windows of each user of `real`, which in turn serve as beginnings."""
    maker = Varier.of(run, settings, seed, real.users, resolve_device(device))
    assert isinstance(maker, Varier)
    maker.strength = strength
    latents = encode(maker.pipeline.autoencoder, real.images)[0].to(maker.pipeline.device)
    users = real.table["user"].to_numpy()
    maker.starts = {user: latents[np.flatnonzero(users == user)] for user in real.users}
    rows = range(len(maker))
    return SpectrogramSet(maker.images(rows), maker.table(rows), f"variations by {run.name}")
