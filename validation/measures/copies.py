"""Is this window a copy of that one? Evidence of a copy, on a scale set by how close honest windows come to each other.

A copy may be shifted in time by up to a quarter of its width (half a window by half of it), reversed in time, scaled,
offset, noised, blurred, gently stretched, or hold for half the window only. Used against the training set by
`memorisation`, and within the synthetic set by `diversity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.measures.neighbours import correlation_over_shifts, shares_signal
from validation.measures.recognition import wilson_interval
from validation.measures.smoothing import gaussian
from validation.networks.network import shrink

if TYPE_CHECKING:
    from validation.context import Context

#: Differences of Gaussians (sigmas in pixels): speckle that no two walks share, and what noise and blur leave of it.
DETAIL, SHAPE = (0.7, 2.0), (1.5, 4.0)
#: What is compared. Whole windows: mean of both halves, each with a shift of its own, so that stretching does no harm.
KINDS = ("detail", "shape", "first half", "second half")
#: Closest, second and third closest that share no signal with each other.
_PLACES = 3
#: Fisher's z of 0.99: training windows as alike in detail are one window given twice, and say nothing of honest ones.
_SAME = 2.65
#: A user's own centre needs this many honest windows.
ENOUGH = 5


@dataclass(frozen=True)
class Closest:
    """For each of n queries: its closest reference. score: float [n], evidence of a copy in honest spreads, NaN where
    there is nothing to compare with; index: int [n], row of the references, -1 where there is none."""

    score: np.ndarray
    index: np.ndarray

    def share_above(self, limit: float, rows: np.ndarray | slice = slice(None)) -> float:
        """Share of the compared queries with a score above `limit`; NaN where none was compared."""
        known = self.score[rows][np.isfinite(self.score[rows])]
        return float((known > limit).mean()) if len(known) else float("nan")


@dataclass(frozen=True)
class HonestScale:
    """Evidence among real training windows that share no signal. centre: user -> float [kinds], median; spread: float
    [kinds], from the median to the 84 % quantile over all users (one standard deviation of a normal distribution);
    leave_one_out: the same windows scored on that scale. Medians and quantiles, so a few duplicates do no harm."""

    centre: dict[str, np.ndarray]
    spread: np.ndarray
    leave_one_out: Closest

    def scores(self, user: str, evidence: np.ndarray) -> np.ndarray:
        """float [n, kinds]: `evidence` as deviations from honest windows of the user."""
        return (evidence - self.centre[user]) / self.spread


def honest_scale(train: SpectrogramSet, size: int) -> HonestScale | None:
    """Learn the scale from `train`; None where no user has windows enough that do not overlap."""
    found = {user: (rows, *rest) for user, rows, *rest in _evidence_by_user(train, train, size, leave_out=True)}
    known = {user: part[1][np.isfinite(part[1]).all(axis=1)] for user, part in found.items()}
    enough = [evidence for evidence in known.values() if len(evidence) >= ENOUGH]
    if not enough:
        return None
    typical = np.median(np.concatenate(enough), axis=0)
    centre = {u: np.median(e, axis=0) if len(e) >= ENOUGH else typical for u, e in known.items()}
    deviations = np.concatenate([known[u] - centre[u] for u in known if len(known[u]) >= ENOUGH])
    scale = HonestScale(centre, np.maximum(np.quantile(deviations, 0.84, axis=0), 1e-3), nothing_found(len(train)))
    return HonestScale(centre, scale.spread, _collect(len(train), scale, found))


def closest_copies(
    queries: SpectrogramSet, references: SpectrogramSet, scale: HonestScale, size: int, *, separate: bool = False
) -> Closest:
    """The reference of the same user that each query most likely copies; no window is a copy of itself.

    size: larger images are averaged down to this side. separate: no two references share a recording, whatever their
    table says (a generator's never do).
    """
    found = {
        user: (rows, *rest)
        for user, rows, *rest in _evidence_by_user(queries, references, size, queries is references, separate)
        if user in scale.centre
    }
    return _collect(len(queries), scale, found)


def closeness(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Fisher's z of the best-shift correlation of every pair by kind, the query run forwards or backwards, whichever is
    closer: float32 [kinds, n, m]; images [., C, H, W]."""
    bands = [(_band(queries, *band), _band(references, *band)) for band in (DETAIL, SHAPE)]
    forwards = _kinds([_half_correlations(a, b) for a, b in bands])
    return np.maximum(forwards, _kinds([_half_correlations(a[..., ::-1], b) for a, b in bands]))


def copy_evidence(closeness: np.ndarray, sharing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evidence that each query copies its closest reference: float [n], and which one it is, int [n].

    closeness: [n, m], -inf where a reference is left out. sharing: bool [m, m], references that share signal. Evidence
    is closeness plus the lead over the third closest reference that shares no signal with the closer ones: a window
    that is merely typical is as close to many. NaN where fewer than three references are left.
    """
    left, queries = closeness.astype(np.float64), np.arange(len(closeness))
    nearest = left.argmax(axis=1)
    for _ in range(_PLACES - 1):
        left[sharing[left.argmax(axis=1)]] = -np.inf
    third = left.max(axis=1)
    evidence = 2 * closeness[queries, nearest] - np.maximum(third, 0)
    return np.where(np.isfinite(third), evidence, np.nan), nearest


def scale_of(context: Context) -> HonestScale | None:
    """`honest_scale` of the judged users' training rows, made once."""
    sets, size = context.sets, context.settings.judge_size
    return context.once(("honest scale", *sets.users), lambda: honest_scale(sets.train, size))


def user_shares(found: Closest, data: SpectrogramSet, limit: float) -> pd.DataFrame:
    """One row per user: near_copy_share, ci_low, ci_high (Wilson), and closest_training, the median score."""
    score = pd.Series(found.score).groupby(data.table["user"].to_numpy())
    rows = {}
    for user, mine in score:
        known = mine.dropna()
        share = float((known > limit).mean())
        rows[user] = (share, *wilson_interval(share, len(known)), float(known.median()))
    columns = ["near_copy_share", "ci_low", "ci_high", "closest_training"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float).reindex(data.users)


def not_compared(closest: Closest, data: SpectrogramSet) -> list[str]:
    """Users of `data` with images that have no score: too few training windows share no signal with each other."""
    return data.select(~np.isfinite(closest.score)).users


def failing_users(shares: pd.DataFrame, threshold: float) -> list[str]:
    """Users whose share of near copies lies above `threshold` by its lower bound."""
    return [str(user) for user in shares.index[shares["ci_low"] > threshold]]


def _evidence_by_user(
    queries: SpectrogramSet, references: SpectrogramSet, size: int, leave_out: bool, separate: bool = False
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """(user, rows of the queries, evidence [n, kinds], rows of the references [n, kinds])."""
    query_users, reference_users = queries.table["user"].to_numpy(), references.table["user"].to_numpy()
    for user in references.users:
        rows, candidates = np.flatnonzero(query_users == user), np.flatnonzero(reference_users == user)
        if not len(rows) or not len(candidates):
            continue
        width = references.images.shape[-1]
        table = references.table.iloc[candidates]
        sharing = np.eye(len(candidates), dtype=bool) if separate else shares_signal(table, width)
        asked, known = shrink(queries.images[rows], size), shrink(references.images[candidates], size)
        near = closeness(asked, known)
        if leave_out and not separate:
            sharing |= near[0] > _SAME
        if leave_out:
            near[:, sharing] = -np.inf
        evidence, nearest = zip(*[copy_evidence(kind, sharing) for kind in near], strict=True)
        yield user, rows, np.stack(evidence, 1), candidates[np.stack(nearest, 1)]


def _collect(count: int, scale: HonestScale, found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Closest:
    result = nothing_found(count)
    for user, (rows, evidence, nearest) in found.items():
        scores = scale.scores(user, evidence)
        kind = np.nan_to_num(scores, nan=-np.inf).argmax(axis=1)
        result.score[rows] = scores[np.arange(len(rows)), kind]
        result.index[rows] = nearest[np.arange(len(rows)), kind]
    return result


def nothing_found(count: int) -> Closest:
    """No reference for any of `count` queries."""
    return Closest(np.full(count, np.nan), np.full(count, -1))


def _band(images: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """float32 [n, 1, H, W]: mean over channels, less what is coarser than `outer` and finer than `inner`."""
    gray = images.mean(axis=1, keepdims=True)
    return gaussian(gray, inner) - gaussian(gray, outer)


def _kinds(halves: list[list[np.ndarray]]) -> np.ndarray:
    """`KINDS` of closeness, [kinds, n, m], from the correlations of both halves in both bands."""
    detail, shape = ([np.arctanh(c.clip(-0.999, 0.999)) for c in band] for band in halves)
    return np.stack([sum(detail) / 2, sum(shape) / 2, *detail])


def _half_correlations(queries: np.ndarray, references: np.ndarray) -> list[np.ndarray]:
    """Best correlation of the first and of the second half of each query with any half of each reference, [n, m].

    A half may move inside the reference by its own length, and out of it by a quarter of the window.
    """
    width = queries.shape[-1]
    half, reach = width // 2, width // 4
    first = correlation_over_shifts(queries, references, np.arange(half - width, reach + 1), (0, half))[0]
    second = correlation_over_shifts(queries, references, np.arange(-reach, half + 1), (half, width))[0]
    return [first, second]
