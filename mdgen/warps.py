"""Borrowed warps: windows of newcomers changed as other people's recordings differ from each other. No network.

Between two recordings of one person, the levels of every Doppler row change: how often it is bright, how bright, how
wide it spreads. That change, as a shift of level quantiles row by row, is laid on a newcomer's windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mdgen import __version__
from mdgen.config import WarpsConfig
from mdgen.data.dataset import START_COLUMN, SpectrogramSet
from mdgen.data.labels import known_users
from mdgen.data.recordings import NATIVE_COLUMNS, NATIVE_START
from mdgen.data.shards import ShardedDataset
from mdgen.errors import MdgenError
from mdgen.figures import MAX_USERS, comparison_sheet

QUANTILES = np.linspace(0.02, 0.98, 25)
#: Recordings with fewer windows say little of their levels.
ENOUGH = 5
#: Columns that say where in the real data a window lies; a warped one lies nowhere.
_PLACE = ("file", "session", "recording", "split", START_COLUMN, NATIVE_START, NATIVE_COLUMNS)
_SHARD = 250


def write_warps(
    data: SpectrogramSet, config: WarpsConfig, out: Path, *, seed: int = 0, users: Sequence[str] | None = None,
    format_name: str = "png16",
) -> int:  # fmt: skip
    """A data set of `config.per_window` warps of each training window of `users` (default: everybody); returns its
    length.

    Changes come from the training recordings of everybody but the person warped. The same call goes on where one was
    killed; one with more for each window leaves those that are there. Raises `MdgenError` for unknown users, and where
    nobody has two recordings to borrow from.
    """
    known = data.training()
    wanted = known_users(users, known.users, f"training windows of {data.name}")
    store, few = ShardedDataset(out, format_name), known.of_users(wanted)
    made = _warps(known, few, np.tile(np.arange(len(few)), config.per_window), seed, config.strength)
    request = {"warps_of": known.fingerprint(), "users": wanted, "seed": seed, "format": format_name}
    store.open({**request, **config.model_dump()}, grows="per_window")
    with store.locked():
        for rows in store.missing(len(made), _SHARD):
            part = made.select(np.array(rows))
            store.write(rows, part.images, part.table)
        store.finish()
        if not store.hugging_face:
            shown = wanted[:MAX_USERS]
            comparison_sheet({"real": few.of_users(shown), "warped": made.of_users(shown)}, out / "beside_real.png")
    return len(made)


def borrowed_warps(
    known: SpectrogramSet, few: SpectrogramSet, per_user: int, seed: int = 0, strength: float = 1.0
) -> SpectrogramSet:
    """`per_user` windows of each user of `few`: real ones, shifted in time with the edge repeated, and warped from one
    recording of another, known person to another. strength: times the warp, above 1 for more than recordings differ.
    Raises `MdgenError` where nobody else known has two recordings of `ENOUGH` windows."""
    users = few.table["user"].to_numpy()
    rows = np.concatenate([np.resize(np.flatnonzero(users == user), per_user) for user in few.users])
    return _warps(known, few, rows, seed, strength)


def recording_levels(data: SpectrogramSet) -> dict[str, dict[str, np.ndarray]]:
    """Of every user, the level quantiles [C, H, quantiles] of each recording of `ENOUGH` windows or more, by name."""
    user, group = data.table["user"].to_numpy(), data.groups.to_numpy()
    name = data.table["session"].str.cat(data.table["recording"], sep="/").to_numpy()
    found: dict[str, dict[str, np.ndarray]] = {person: {} for person in data.users}
    for recording in pd.unique(group):
        rows = group == recording
        if rows.sum() >= ENOUGH:
            levels = np.quantile(data.images[rows], QUANTILES, axis=(0, 3))  # (quantiles, C, H)
            found[user[rows][0]][name[rows][0]] = np.moveaxis(levels, 0, -1)
    return found


def warped(image: np.ndarray, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`image` [C, H, W] with every pixel moved by `change` [C, H, quantiles] at its rank among its row.

    Equal pixels, such as those at the floor, have ranks in random order: in order of time they would get a slope.
    """
    order = np.lexsort((rng.random(image.shape), image), axis=2)
    rank = (order.argsort(axis=2) + 0.5) / image.shape[2]
    moved = image.copy()
    for channel, row in np.ndindex(*image.shape[:2]):
        moved[channel, row] += np.interp(rank[channel, row], QUANTILES, change[channel, row])
    return moved.clip(-1, 1)


def _warps(known: SpectrogramSet, few: SpectrogramSet, rows: np.ndarray, seed: int, strength: float) -> SpectrogramSet:
    """A warp of each of `rows` of `few`, in this order; the table says of which window, and whose change it is."""
    levels = {person: own for person, own in recording_levels(known).items() if len(own) > 1}
    lenders = {user: [person for person in levels if person != user] for user in few.users}
    if not all(lenders.values()):
        alone = next(user for user, others in lenders.items() if not others)
        raise MdgenError(
            f"{known.name}: nobody other than {alone} has two training recordings of {ENOUGH} windows or more to lend "
            "changes; add some"
        )
    rng = np.random.default_rng([seed, 5])
    users, images, changes = few.table["user"].to_numpy(), [], []
    for row in rows:
        others = lenders[users[row]]
        lender = others[rng.integers(len(others))]
        after, before = rng.choice(list(levels[lender]), 2, replace=False)
        change = levels[lender][after] - levels[lender][before]
        images.append(warped(_shifted(few.images[row], rng), strength * change, rng))
        changes.append((lender, before, after))
    table = few.table.iloc[rows].reset_index(drop=True)
    made = table.drop(columns=[*_PLACE], errors="ignore").assign(
        file="", session="synthetic", recording=[str(number) for number in range(len(rows))], split="", synthetic="yes",
        warp_of=table["file"], seed=seed, strength=strength, mdgen_version=__version__,
    )  # fmt: skip
    made[["change_of", "change_from", "change_to"]] = changes
    return SpectrogramSet(np.stack(images), made, f"warped {few.name}")


def _shifted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    width = image.shape[2]
    reach = width // 8
    return image[..., (np.arange(width) + rng.integers(-reach, reach + 1)).clip(0, width - 1)]
