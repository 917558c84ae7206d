"""What a forger works with, and how a change of images becomes a change of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from mdgen.data.dataset import SpectrogramSet
from validation.controls import as_synthetic
from validation.networks.judge import Judge


@dataclass(frozen=True)
class Material:
    """What a forger has. real: rows with roles. honest: fresh rows as a perfect generator would write them. zero_row:
    row of zero velocity. judges: the very classifiers of the report. seed: of the simulator, where there is one."""

    real: SpectrogramSet
    honest: SpectrogramSet
    zero_row: float
    judges: Sequence[Judge]
    rng: np.random.Generator
    seed: int | None = None

    @property
    def train(self) -> SpectrogramSet:
        """The generator's own data, as a copying generator would hand them over."""
        return as_synthetic(self.real.role("train"))

    @property
    def victim(self) -> np.ndarray:
        """The rows of one user, drawn by chance."""
        return np.flatnonzero(self.honest.table["user"] == self.rng.choice(self.honest.users))


Builder = Callable[[Material], SpectrogramSet]
Change = Callable[[np.ndarray, Material], np.ndarray]


def everywhere(change: Change) -> Builder:
    """`change` done to every image."""
    return lambda m: m.honest.with_images(change(m.honest.images, m).clip(-1, 1))


def for_one_user(change: Change) -> Builder:
    """`change` done to the images of one user."""
    return lambda m: with_rows(m.honest, m.victim, lambda images: change(images, m))


def for_a_share(change: Change, share: float) -> Builder:
    """`change` done to a random share of the images."""

    def build(m: Material) -> SpectrogramSet:
        rows = np.flatnonzero(m.rng.random(len(m.honest)) < share)
        return with_rows(m.honest, rows, lambda images: change(images, m))

    return build


def each_user(change: Change) -> Builder:
    """`change` done to the images of each user by itself."""

    def build(m: Material) -> SpectrogramSet:
        images, users = m.honest.images.copy(), m.honest.table["user"].to_numpy()
        for user in m.honest.users:
            images[users == user] = change(images[users == user], m)
        return m.honest.with_images(images.clip(-1, 1))

    return build


def with_rows(data: SpectrogramSet, rows: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> SpectrogramSet:
    """`data` with `change` done to the images of `rows` (integer positions)."""
    images = data.images.copy()
    images[rows] = change(images[rows]).clip(-1, 1)
    return data.with_images(images)


def resampled(images: np.ndarray, rows: np.ndarray | None = None, columns: np.ndarray | None = None) -> np.ndarray:
    """Images [N, C, H, W] read at fractional `rows` and `columns` by cubic interpolation; outside is their floor."""
    height, width = images.shape[-2:]
    grid = np.meshgrid(
        np.arange(height) if rows is None else rows, np.arange(width) if columns is None else columns, indexing="ij"
    )
    beyond = (grid[0] < -0.5) | (grid[0] > height - 0.5)
    made = np.stack([[map_coordinates(c, grid, order=3, mode="mirror") for c in image] for image in images])
    floor = np.quantile(images, 0.05, axis=(1, 2, 3), keepdims=True)
    return np.where(beyond, floor, made).clip(-1, 1).astype(np.float32)
