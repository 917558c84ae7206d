"""Borrowed warps: windows of newcomers changed as other people's recordings differ from each other. No network.

Between two recordings of one person, the levels of every Doppler row change: how often it is bright, how bright, how
wide it spreads. That change, as a shift of level quantiles row by row, is laid on a newcomer's windows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.errors import MdgenError

QUANTILES = np.linspace(0.02, 0.98, 25)
#: Recordings with fewer windows say little of their levels.
ENOUGH = 5


def borrowed_warps(
    known: SpectrogramSet, few: SpectrogramSet, per_user: int, seed: int = 0, strength: float = 1.0
) -> SpectrogramSet:
    """`per_user` windows of each user of `few`: real ones, shifted in time with the edge repeated, and warped from one
    recording of a known person to another. strength: times the warp, above 1 for more than recordings differ. Raises
    `MdgenError` where nobody known has two recordings of `ENOUGH` windows."""
    levels = recording_levels(known)
    lenders = [person for person, own in levels.items() if len(own) > 1]
    if not lenders:
        raise MdgenError(f"{known.name}: nobody has two recordings of {ENOUGH} windows or more to borrow changes from")
    rng = np.random.default_rng([seed, 5])
    users, made = few.table["user"].to_numpy(), []
    rows = np.concatenate([np.resize(np.flatnonzero(users == user), per_user) for user in few.users])
    for row in rows:
        own = levels[lenders[rng.integers(len(lenders))]]
        after, before = rng.choice(len(own), 2, replace=False)
        made.append(warped(_shifted(few.images[row], rng), strength * (own[after] - own[before])))
    table = make_table(user=users[rows], session="synthetic", recording=[str(n) for n in range(len(rows))])
    return SpectrogramSet(np.stack(made), table.assign(synthetic="yes"), f"warped {few.name}")


def recording_levels(data: SpectrogramSet) -> dict[str, list[np.ndarray]]:
    """Of every user, the level quantiles [C, H, quantiles] of each recording of `ENOUGH` windows or more."""
    group, user = data.groups.to_numpy(), data.table["user"].to_numpy()
    found: dict[str, list[np.ndarray]] = {name: [] for name in data.users}
    for name in pd.unique(group):
        rows = group == name
        if rows.sum() >= ENOUGH:
            levels = np.quantile(data.images[rows], QUANTILES, axis=(0, 3))  # (quantiles, C, H)
            found[user[rows][0]].append(np.moveaxis(levels, 0, -1))
    return found


def warped(image: np.ndarray, change: np.ndarray) -> np.ndarray:
    """`image` [C, H, W] with every pixel moved by `change` [C, H, quantiles] at its rank among its row."""
    rank = (image.argsort(axis=2).argsort(axis=2) + 0.5) / image.shape[2]
    moved = image.copy()
    for channel, row in np.ndindex(*image.shape[:2]):
        moved[channel, row] += np.interp(rank[channel, row], QUANTILES, change[channel, row])
    return moved.clip(-1, 1)


def _shifted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    width = image.shape[2]
    reach = width // 8
    return image[..., (np.arange(width) + rng.integers(-reach, reach + 1)).clip(0, width - 1)]
