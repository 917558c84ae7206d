"""Real data sets with people and recordings nobody has trained on: the honest side of `benchmarks/fooling.py`.

A case is a real data set with roles, and fresh real rows of the same users from recordings that are not in it. A
perfect generator would write such rows: a judge that fails them is wrong, and a judge that lets pass what `sabotage`
does to them is fooled.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.data.importing.importer import import_dataset
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.simulator import RadarSettings, simulate
from mdgen.data.splits import assign_roles
from validation.controls import as_synthetic

SIZE = 64
#: Share of each user's recordings that becomes the fresh set, where the data are recorded and not simulated.
FRESH_SHARE = 0.25
ROLE_SHARES = {"train": 0.3, "judge": 0.4, "val": 0.1, "test": 0.2}


@dataclass(frozen=True)
class Case:
    """real: rows with roles. fresh: rows of recordings outside `real`, as a generator would hand them over, with their
    true session. zero_row: the row of zero velocity. seed: of the simulator where `fresh` is simulated, else None."""

    name: str
    real: SpectrogramSet
    fresh: SpectrogramSet
    zero_row: float
    seed: int | None = None


@dataclass(frozen=True)
class Honest:
    """How much of the fresh rows of a case is handed over: `per_user` rows each (0: all), of `sessions` if given."""

    name: str
    per_user: int = 0
    sessions: tuple[str, ...] = ()
    seed: int = 0

    def draw(self, fresh: SpectrogramSet) -> SpectrogramSet:
        """The honest synthetic set."""
        table = fresh.table
        allowed = table["session"].isin(self.sessions).to_numpy() if self.sessions else np.ones(len(table), bool)
        rng = np.random.default_rng([self.seed, 77])
        rows = [
            np.sort(rng.permutation(np.flatnonzero(allowed & (table["user"] == user)))[: self.per_user or None])
            for user in fresh.users
        ]
        return as_synthetic(fresh.select(np.concatenate(rows)))


def walkers(seed: int = 0, users: int = 12, sessions: int = 6, windows: int = 20) -> Case:
    """Simulated walkers: `sessions` visits are the real data, as many later visits of the same people are fresh."""
    everything = simulate(users, 2 * sessions, windows, SIZE, seed)
    early = everything.table["session"].str[1:].astype(int) <= sessions
    radar = RadarSettings()
    zero_row = SIZE * radar.velocity_max_mps / (radar.velocity_max_mps - radar.velocity_min_mps) - 0.5
    real = everything.select(early.to_numpy())
    real = replace(real, table=real.table.assign(split=assign_roles(real.table, seed=seed)))
    return Case(f"walkers, seed {seed}", real, everything.select(~early.to_numpy()), zero_row, seed)


def gait(folder: Path, seed: int = 0) -> Case:
    """Real people, one session each: whole recordings held back. The zero line is read off the pictures."""
    return _held_back(f"gait, split {seed}", _opened(folder), seed, zero_row=51.0)


def gestures(folder: Path, seed: int = 0) -> Case:
    """Hand gestures (the class stands for the user): whole recordings held back."""
    data = _opened(folder, session_length=100, recording_length=25)
    return _held_back(f"gestures, split {seed}", data, seed, zero_row=30.5)


def _opened(folder: Path, **lengths: Any) -> SpectrogramSet:
    """A data set, or else a folder of pictures to import."""
    if (folder / "manifest.csv").exists():
        return read_dataset(folder)
    with tempfile.TemporaryDirectory() as work:
        import_dataset(folder, Path(work) / "data", ImportSettings(size=SIZE, **lengths))
        return read_dataset(Path(work) / "data")


def _held_back(name: str, data: SpectrogramSet, seed: int, zero_row: float) -> Case:
    table = data.table.assign(session="")  # recordings are dealt one by one, not by session
    held = assign_roles(table, {"train": 1 - FRESH_SHARE, "test": FRESH_SHARE}, seed)
    real = data.select((held == "train").to_numpy())
    roles = assign_roles(real.table.assign(session=""), ROLE_SHARES, seed)
    real = replace(real, table=real.table.assign(split=roles.to_numpy()))
    return Case(name, real, data.select((held == "test").to_numpy()), zero_row)


def gestures_by_day(folder: Path) -> Case:
    """Hand gestures with every role in a session of its own; the fourth session is fresh. Val is a part of judge's."""
    data = _opened(folder, session_length=100, recording_length=25)
    order = data.table.groupby("user")["session"].transform(lambda s: s.map({v: i for i, v in enumerate(s.unique())}))
    roles = order.map({0: "train", 1: "judge", 2: "test"}).fillna("")
    last = data.table.groupby(["user", "session"])["recording"].transform("last")
    roles = roles.where((roles != "judge") | (data.table["recording"] != last), "val")
    fresh = (order == 3).to_numpy()
    real = replace(data, table=data.table.assign(split=roles)).select(~fresh)
    return Case("gestures, by day", real, data.select(fresh), 30.5)
