"""The wrong people, too few kinds of pictures, or identity where it does not belong: material in, data set out."""

from __future__ import annotations

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from sabotage.material import Material, with_rows
from validation.controls import relabelled


def one_user_mislabelled(m: Material) -> SpectrogramSet:
    """One user's images are anybody's but hers."""
    victim, users = m.victim, m.honest.table["user"].to_numpy()
    others = np.flatnonzero(users != users[victim[0]])
    return with_rows(m.honest, victim, lambda images: m.honest.images[m.rng.choice(others, len(images), False)])


def two_users_swapped(m: Material) -> SpectrogramSet:
    first, second = m.rng.choice(m.honest.users, 2, replace=False)
    users = m.honest.table["user"]
    return relabelled(m.honest, users.map({u: u for u in m.honest.users} | {first: second, second: first}).to_numpy())


def a_fifth_mislabelled(m: Material) -> SpectrogramSet:
    users = m.honest.table["user"].to_numpy().copy()
    rows = np.flatnonzero(m.rng.random(len(users)) < 0.2)
    users[rows] = m.rng.permutation(users[rows])
    return relabelled(m.honest, users)


def one_user_missing(m: Material) -> SpectrogramSet:
    gone = m.rng.choice(m.honest.users)
    return m.honest.select((m.honest.table["user"] != gone).to_numpy())


def collapsed(images: np.ndarray, m: Material, kinds: int = 1) -> np.ndarray:
    """`kinds` pictures again and again, each time shifted a little in time and slightly noised."""
    chosen = images[m.rng.choice(len(images), kinds, replace=False)][m.rng.integers(kinds, size=len(images))]
    rolled = [np.roll(image, s, axis=-1) for image, s in zip(chosen, m.rng.integers(-4, 5, len(images)), strict=True)]
    return np.stack(rolled) + m.rng.normal(0, 0.02, images.shape)


def one_picture_in_three(images: np.ndarray, m: Material) -> np.ndarray:
    """A third are the first picture, pixel by pixel."""
    return np.where(m.rng.random((len(images), 1, 1, 1)) < 1 / 3, images[:1], images)


def mixed_up(images: np.ndarray, m: Material) -> np.ndarray:
    """The mean of two pictures of one user."""
    return (images + images[m.rng.permutation(len(images))]) / 2


def identity_code(m: Material) -> SpectrogramSet:
    """The user's number, written as the level of a small patch of floor."""
    images = m.honest.images.copy()
    levels = np.linspace(0.05, 0.6, len(m.honest.users))
    images[..., :4, -4:] += levels[m.honest.labels(m.honest.users)][:, None, None, None]
    return m.honest.with_images(images.clip(-1, 1))


def session_planted(m: Material) -> SpectrogramSet:
    """Every picture gets the mean level per row of one of the user's training recordings."""
    images, users, train = m.honest.images.copy(), m.honest.table["user"].to_numpy(), m.real.role("train")
    for user in m.honest.users:
        own = train.select((train.table["user"] == user).to_numpy())
        first = own.images[(own.groups == own.groups.iloc[0]).to_numpy()]
        mine = images[users == user]
        level = first.mean(axis=(0, 3))[None, ..., None]
        images[users == user] = mine - mine.mean(axis=3, keepdims=True) + level
    return m.honest.with_images(images.clip(-1, 1))
