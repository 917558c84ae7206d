"""The training set in disguise: material in, data set out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from sabotage.material import Material, each_user, resampled, with_rows
from sabotage.people import mixed_up
from validation.controls import as_synthetic, noised, shifted


def copies(m: Material) -> SpectrogramSet:
    return m.train


def copies_disguised(m: Material) -> SpectrogramSet:
    """Shifted, another gain, slightly noised."""
    rolled = shifted(m.train, m.rng)
    gain = m.rng.uniform(0.92, 1.0, (len(rolled), 1, 1, 1))
    return noised(rolled.with_images((rolled.images + 1) * gain - 1), m.rng)


def copies_rolled_far(m: Material) -> SpectrogramSet:
    """Rolled in time by up to half a picture."""
    return shifted(m.train, m.rng, reach=m.train.images.shape[-1] // 2)


def copies_warped(m: Material) -> SpectrogramSet:
    """Stretched by up to 4 % in time and 2 % in Doppler."""
    height, width = m.train.images.shape[-2:]
    time, doppler = m.rng.uniform(0.96, 1.0, len(m.train)), m.rng.uniform(0.98, 1.02, len(m.train))
    warped = [
        resampled(
            image[None],
            rows=m.zero_row + (np.arange(height) - m.zero_row) * d,
            columns=np.arange(width) * t + (1 - t) * width / 2,
        )[0]
        for image, t, d in zip(m.train.images, time, doppler, strict=True)
    ]
    return m.train.with_images(np.stack(warped).clip(-1, 1))


def copies_reversed(m: Material) -> SpectrogramSet:
    return m.train.with_images(m.train.images[..., ::-1].copy())


def copies_averaged(m: Material) -> SpectrogramSet:
    """The mean of two training pictures of one user."""
    return each_user(mixed_up)(replace(m, honest=m.train))


def copies_spliced(m: Material) -> SpectrogramSet:
    """The left half of one training picture, the right half of another of the same user."""
    half = m.train.images.shape[-1] // 2

    def splice(images: np.ndarray, m: Material) -> np.ndarray:
        return np.concatenate([images[..., :half], images[m.rng.permutation(len(images))][..., half:]], axis=-1)

    return each_user(splice)(replace(m, honest=m.train))


def other_recordings(m: Material) -> SpectrogramSet:
    """What judges learn from and are tried on, handed over as it is."""
    return as_synthetic(m.real.role("judge", "test"))


def half_copies(m: Material) -> SpectrogramSet:
    """Half of each user's honest pictures are exchanged for disguised copies."""
    images, users = m.honest.images.copy(), m.honest.table["user"].to_numpy()
    copied = copies_disguised(m)
    names = copied.table["user"].to_numpy()
    for user in m.honest.users:
        rows, source = np.flatnonzero(users == user)[::2], np.flatnonzero(names == user)
        images[rows] = copied.images[np.resize(m.rng.permutation(source), len(rows))]
    return m.honest.with_images(images)


def one_user_copied(m: Material) -> SpectrogramSet:
    users, train = m.honest.table["user"].to_numpy(), copies_disguised(m)
    victim = m.victim
    source = np.flatnonzero(train.table["user"] == users[victim[0]])
    return with_rows(m.honest, victim, lambda images: train.images[np.resize(source, len(images))])
