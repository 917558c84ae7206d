"""What a classifier may learn from besides few real windows: nothing, classical augmentations, generated windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch

from mdgen.data.dataset import SpectrogramSet
from validation.networks.network import MAX_SHIFT, Augment, seeded_thread
from validation.study.classifiers import linear
from validation.study.trials import Trial

REAL, SHIFTED, CLASSICAL = "real", "real + time shift", "real + classical"
#: Without a generator; the best of them is what generated windows have to beat.
BASELINES = (REAL, SHIFTED, CLASSICAL)
#: Augmented copies of every real window, beside which windows are made.
COPIES = 10

#: Generated windows of the newcomers of a trial, so many of each.
Generator = Callable[[Trial, int], SpectrogramSet]
Labelled = tuple[np.ndarray, np.ndarray]


def training_sets(trial: Trial, made: Mapping[str, SpectrogramSet], ratios: tuple[int, ...]) -> dict[str, Labelled]:
    """Images [N, C, H, W] and users [N] of every arm. Windows made come on top of time shifts, `ratio` of them for each
    real one, so that what they add is not what shifting adds. Arms without them get as many more copies: no arm has
    more windows than these."""
    few, users = trial.few.images, trial.few.table["user"].to_numpy()
    seeds = np.random.default_rng([trial.seed, 4]).integers(2**31, size=COPIES + max(ratios)).tolist()
    shifts = [_augmented(few, seed, 0, 0) for seed in seeds]
    shifted = _with(few, users, shifts[:COPIES])
    arms = {
        REAL: (few, users),
        SHIFTED: _with(few, users, shifts),
        CLASSICAL: _with(few, users, [_classical(few, users, seed) for seed in seeds]),
    }
    for name, windows in made.items():
        place = windows.table.groupby("user").cumcount().to_numpy()
        for ratio in ratios:
            rows = place < ratio * trial.windows
            more = windows.images[rows], windows.table["user"].to_numpy()[rows]
            arms[f"{name} x{ratio}"] = tuple(np.concatenate(pair) for pair in zip(shifted, more, strict=True))
    return arms


def sifted(trial: Trial, windows: SpectrogramSet) -> SpectrogramSet:
    """The half of each newcomer's windows that a discriminant is surest of; it learned the few real ones alone."""
    users = windows.table["user"].to_numpy()
    model = linear(trial).fit(trial.few.images, trial.few.table["user"].to_numpy())
    own = model.predict_log_proba(windows.images)[np.arange(len(users)), np.searchsorted(model.classes_, users)]
    place = pd.Series(-own).groupby(users).rank(method="first").to_numpy()
    return windows.select(place <= windows.table.groupby("user")["user"].transform("size").to_numpy() / 2)


def level_free(images: np.ndarray) -> np.ndarray:
    """Images with level and noise floor taken away: the median of each becomes 0, its 99 % quantile 1, and what lies
    below the median is cut off."""
    low, high = (np.quantile(images, q, axis=(1, 2, 3), keepdims=True) for q in (0.5, 0.99))
    return ((images - low) / np.maximum(high - low, 1e-3)).clip(0, 1).astype(np.float32)


def _classical(images: np.ndarray, users: np.ndarray, seed: int) -> np.ndarray:
    """Every sound augmentation at once: shift in time, gain, noise floor, a row of Doppler, mixing of two windows of
    one person."""
    rng = np.random.default_rng([seed, 3])
    made = _augmented(images, seed, gain=0.05, noise=0.03)
    for user in np.unique(users):
        rows = np.flatnonzero(users == user)
        share = rng.uniform(0.6, 1, (len(rows), 1, 1, 1)).astype(np.float32)
        made[rows] = share * made[rows] + (1 - share) * made[rng.permutation(rows)]
    step = rng.integers(-1, 2, len(made))
    return np.stack([np.roll(image, s, axis=-2) for image, s in zip(made, step, strict=True)])


def _augmented(images: np.ndarray, seed: int, gain: float, noise: float) -> np.ndarray:
    augment = Augment(MAX_SHIFT, gain, noise).train()
    with seeded_thread(seed):
        return augment(torch.from_numpy(np.ascontiguousarray(images, np.float32))).numpy()


def _with(images: np.ndarray, users: np.ndarray, more: list[np.ndarray]) -> Labelled:
    return np.concatenate([images, *more]), np.tile(users, 1 + len(more))
