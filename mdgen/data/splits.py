"""Who may see which window: roles that never share a recording, and a measure of how much any split leaks.

Overlapping windows of one recording are one sample seen several times, so roles are given to whole sessions, else to
whole recordings, else to parts of one recording with a guard between them. Pure functions on tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.dataset import ROLES, START_COLUMN
from mdgen.errors import MdgenError

DEFAULT_FRACTIONS = {"train": 0.4, "judge": 0.3, "val": 0.1, "test": 0.2}
#: Windows left out between two parts of one recording: at 75 % overlap, the first that share nothing are 4 apart.
GUARD = 3
UNUSED = "unused"
_TRIALS = 64


def assign_roles(
    table: pd.DataFrame, fractions: dict[str, float] | None = None, seed: int = 0, *, guard: int = GUARD
) -> pd.Series:
    """The role of every row ("train", "judge", "val", "test" or "unused"), for each user by itself.

    Whole sessions where every user has at least as many known sessions as there are roles; else whole recordings; a
    user with fewer recordings than roles has the longest one cut into consecutive parts, `guard` windows apart
    (unknown session and recording: all rows of the user are one recording). Equal input and seed give an equal split.

    fractions: share of each user's windows per role, summing to 1; a role left out or at 0 is not given.
    Raises `MdgenError` where a user has too few windows to get every role.
    """
    shares = _checked_fractions(DEFAULT_FRACTIONS if fractions is None else fractions)
    by_session = _every_user_has_sessions(table, len(shares))
    roles = pd.Series(UNUSED, index=table.index, name="split", dtype=object)
    for number, user in enumerate(natsorted(table["user"].unique())):
        rows = table[table["user"] == user]
        units = ordered_units(rows, ["session"] if by_session else ["session", "recording"])
        rng = np.random.default_rng([seed, number])
        for role, labels in _roles_of_units(units, shares, rng, guard, user).items():
            roles.loc[labels] = role
    return roles


def random_roles(table: pd.DataFrame, fractions: dict[str, float] | None = None, seed: int = 0) -> pd.Series:
    """Roles drawn window by window, as is often done: only to show, by `leak_share`, what that would leak."""
    shares = _checked_fractions(DEFAULT_FRACTIONS if fractions is None else fractions)
    drawn = np.random.default_rng(seed).choice(list(shares), len(table), p=list(shares.values()))
    return pd.Series(drawn, index=table.index, name="split", dtype=object)


def leak_share(table: pd.DataFrame, guard: int = GUARD, width: int | None = None) -> float:
    """Share (0..1) of judge, val and test windows that share signal with a train window of the same recording.

    Two windows share signal when, by `start_column`, they overlap by more than a twentieth of `width` columns; where
    `width` or a start is unknown, when they are at most `guard` positions apart in the order of the recording.
    """
    seen = leaking = 0
    for _, rows in table.groupby(["user", "session", "recording"], sort=False):
        known = width is not None and START_COLUMN in rows and rows[START_COLUMN].notna().all()
        rows = rows.loc[_ordered(rows)]
        place = rows[START_COLUMN].to_numpy(float) if known else np.arange(len(rows), dtype=float)
        reach = 0.95 * float(width or 0) if known else guard + 0.5
        train = place[(rows["split"] == "train").to_numpy()]
        held_out = place[rows["split"].isin(ROLES[1:]).to_numpy()]
        seen += len(held_out)
        leaking += int((_distance_to_nearest(held_out, train) < reach).sum())
    return leaking / seen if seen else 0.0


def ordered_units(rows: pd.DataFrame, columns: Sequence[str]) -> list[pd.Index]:
    """The row labels of each group of equal `columns`, groups as they first appear, rows in the order of time."""
    return [_ordered(group) for _, group in rows.groupby(list(columns), sort=False)]


def _checked_fractions(fractions: dict[str, float]) -> dict[str, float]:
    unknown = sorted(set(fractions) - set(ROLES))
    if unknown:
        raise MdgenError(f"fractions: unknown role {unknown[0]!r}; use {', '.join(ROLES)}")
    shares = {role: float(fractions.get(role, 0)) for role in ROLES if fractions.get(role, 0) != 0}
    if not shares or min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise MdgenError(f"fractions: {fractions} must be positive and sum to 1, as train=.7,test=.3 do")
    return shares


def _every_user_has_sessions(table: pd.DataFrame, needed: int) -> bool:
    known = table[table["session"] != ""].groupby("user")["session"].nunique()
    unknown = set(table.loc[table["session"] == "", "user"])
    return not unknown and bool((known.reindex(table["user"].unique(), fill_value=0) >= needed).all())


def _ordered(rows: pd.DataFrame) -> pd.Index:
    """Row labels in the order of time: by start column where every row has one, else as they stand."""
    if START_COLUMN in rows and rows[START_COLUMN].notna().all():
        return rows[START_COLUMN].sort_values(kind="stable").index
    return rows.index


def _roles_of_units(
    units: list[pd.Index], shares: dict[str, float], rng: np.random.Generator, guard: int, user: str
) -> dict[str, pd.Index]:
    if len(units) >= len(shares):
        given = _best_deal([len(u) for u in units], shares, rng)
        return {
            role: units[0][:0].append([u for u, r in zip(units, given, strict=True) if r == role]) for role in shares
        }
    return _cut_longest(units, shares, guard, user)


def _best_deal(sizes: list[int], shares: dict[str, float], rng: np.random.Generator) -> list[str]:
    """The role of each unit: the best of several greedy deals in random order, by distance from the shares."""
    targets = np.array(list(shares.values())) * sum(sizes)
    deals = [_greedy_deal(sizes, targets, rng.permutation(len(sizes))) for _ in range(_TRIALS)]
    misses = [np.abs(np.bincount(deal, sizes, len(targets)) - targets).sum() for deal in deals]
    names = list(shares)
    return [names[i] for i in deals[int(np.argmin(misses))]]


def _greedy_deal(sizes: list[int], targets: np.ndarray, order: np.ndarray) -> np.ndarray:
    """int [units]: each unit in turn goes to the role that lacks most, keeping one back for each empty role."""
    lacking, deal = targets.astype(float).copy(), np.full(len(sizes), -1)
    for position, unit in enumerate(order):
        empty = [r for r in range(len(targets)) if r not in deal]
        only_empty = len(order) - position <= len(empty)
        candidates = empty if only_empty else range(len(targets))
        role = max(candidates, key=lambda r: lacking[r])
        deal[unit] = role
        lacking[role] -= sizes[unit]
    return deal


def _cut_longest(units: list[pd.Index], shares: dict[str, float], guard: int, user: str) -> dict[str, pd.Index]:
    """The shorter units go whole to the role nearest in size; the longest is cut among the roles that are left."""
    total = sum(map(len, units))
    *whole, longest = sorted(units, key=len)
    left, given = dict(shares), {}
    for unit in reversed(whole):
        role = min(left, key=lambda r: abs(left[r] * total - len(unit)))
        given[role] = unit
        del left[role]
    usable = len(longest) - guard * (len(left) - 1)
    if usable < len(left):
        raise MdgenError(
            f"user {user!r}: {len(units)} recording(s), the longest of {len(longest)} windows, are too few for "
            f"{', '.join(shares)}; needs {len(shares)} recordings or {len(left) + guard * (len(left) - 1)} windows in "
            f"one, so {' and '.join(list(left)[1:])} would lack: add recordings or windows, or "
            "name fewer roles (import --fractions train=.7,test=.3)"
        )
    lengths = _proportional(usable, np.array(list(left.values())))
    starts = np.concatenate([[0], np.cumsum(lengths + guard)[:-1]])
    parts = {role: longest[s : s + n] for role, s, n in zip(left, starts, lengths, strict=True)}
    return given | parts


def _proportional(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers >= 1 in proportion to `weights` that sum to `total` (largest remainders)."""
    exact = (total - len(weights)) * weights / weights.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - len(weights) - counts.sum()]] += 1
    return counts + 1


def _distance_to_nearest(points: np.ndarray, sorted_others: np.ndarray) -> np.ndarray:
    """float [points]: distance of each to the nearest of `sorted_others` (infinite when there are none)."""
    padded = np.concatenate([[-np.inf], sorted_others, [np.inf]])
    after = np.searchsorted(padded, points)
    return np.minimum(padded[after] - points, points - padded[after - 1])


def parse_fractions(text: str) -> dict[str, float]:
    """`train=.5,judge=.25,val=.1,test=.15` as shares of the roles."""
    try:
        fractions = {role.strip(): float(share) for role, share in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise MdgenError(f"fractions {text!r}: need the form train=.5,judge=.25,val=.1,test=.15") from None
    return _checked_fractions(fractions)
