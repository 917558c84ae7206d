"""Which real rows are enrolled and which probe: other sessions where there are any, never one recording for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError


@dataclass(frozen=True)
class Enrolment:
    """Rows of real data for enrolment and for probing, never of one recording. notes: what had to be given up."""

    enrolment: SpectrogramSet
    probes: SpectrogramSet
    notes: list[str]


def split_enrolment(real: SpectrogramSet, users: Sequence[str], per_user: int, seed: int = 0) -> Enrolment:
    """Enrolment and probe rows of every user from the roles `test` and, where test has one recording, `val` or `judge`.

    Different sessions where test holds several, else different recordings. A user for whom no second recording is
    known outside the generator's data is left out and named in the notes. At most `per_user` rows of each kind.
    """
    rng = np.random.default_rng(seed)
    enrolled: list[np.ndarray] = []
    probing: list[np.ndarray] = []
    notes: list[str] = []
    for user in users:
        found = _user_sides(real.table, real.groups, user)
        if found is None:
            notes.append(f"{user}: no two recordings for verification, left out")
            continue
        sides, note = found
        notes += [f"{user}: {note}"] if note else []
        for chosen, rows in zip((enrolled, probing), sides, strict=True):
            chosen.append(np.sort(rng.permutation(rows)[:per_user]))
    if len(enrolled) < 2:
        raise MdgenError(f"{real.name}: fewer than two users have two recordings held out; verification needs them")
    return Enrolment(real.select(np.concatenate(enrolled)), real.select(np.concatenate(probing)), notes)


def _user_sides(table: pd.DataFrame, groups: pd.Series, user: str) -> tuple[tuple[np.ndarray, np.ndarray], str] | None:
    """(enrolment rows, probe rows) of one user, and what was given up; None where there are no two groups."""
    mine = (table["user"] == user).to_numpy()
    test = mine & (table["split"] == "test").to_numpy()
    for key in (groups.where(table["session"] == "", table["session"]), groups):
        parts = pd.unique(key[test])
        if len(parts) >= 2:
            enrol = key.isin(parts[: len(parts) // 2]).to_numpy()
            return (np.flatnonzero(test & enrol), np.flatnonzero(test & ~enrol)), ""
    for role, note in (("val", ""), ("judge", "enrolled with data that trained the embedding")):
        other = mine & (table["split"] == role).to_numpy() & ~groups.isin(groups[test]).to_numpy()
        if test.any() and other.any():
            return (np.flatnonzero(other), np.flatnonzero(test)), note
    return None


def equal_per_user(data: SpectrogramSet, like: SpectrogramSet, rng: np.random.Generator) -> SpectrogramSet:
    """At most as many random rows of each user as `like` has; users that `like` lacks are dropped."""
    wanted, users = like.table["user"].value_counts(), data.table["user"].to_numpy()
    rows = [rng.permutation(np.flatnonzero(users == user))[: wanted[user]] for user in like.users]
    return data.select(np.sort(np.concatenate(rows)))
