"""Recordings found again in folders of windows: runs of file numbers, chains of overlapping pictures.

Windows cut from one recording with an overlap are one sample seen several times. Here they are found: which windows
belong together, and at which column each starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
from natsort import natsorted
from scipy.fft import irfft, rfft

from mdgen.data.dataset import START_COLUMN
from mdgen.data.recordings import NATIVE_START, native_columns

#: Pairs of windows of a user drawn from far apart, to learn how alike windows are that do not overlap.
_NULL_PAIRS = 200
_FAR_APART = 8
#: Pairs of windows compared at a time, and windows of one user whose transforms are kept.
_BLOCK, _KEPT = 128, 512
#: What is compared is best as fine in time as the source; few rows show overlap as well as many, and cost less.
STRIP_ROWS, STRIP_COLUMNS = 16, 128
#: Where a chain breaks, from the most alike unrelated pair (0) to typical neighbours (1), in Fisher's z.
_BREAK = 0.1
#: Typical neighbours must beat every unrelated pair by this, in Fisher's z, to count as overlapping.
_MIN_EVIDENCE = 0.5


@dataclass(frozen=True)
class RecordingPlan:
    """Which recording each window belongs to. table: columns recording (text), start_column (float, NaN = unknown).

    overlap: share of a window that its successor repeats, per user (0 where none was found). lines: summary, as text.
    """

    table: pd.DataFrame
    overlap: dict[str, float]
    lines: list[str]


class Windows(Protocol):
    """Spectrograms [N, 1, H, W] in memory or on a disk: `windows[rows]` gives float32 [len(rows), 1, H, W]."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...

    def __len__(self) -> int: ...


def find_recordings(
    images: Windows, users: Sequence[str], numbers: Sequence[int], spans: Sequence[float] | None = None
) -> RecordingPlan:
    """Recordings of `images` [N, 1, H, W], given whose they are and the number in each file name (-1 = none).

    Images are read a few at a time.

    A recording ends where the next window no longer looks like a shifted copy (after missing numbers: shifted as many
    times farther). The threshold is learnt per user from windows far apart and leans to joining, because a recording
    cut in two would leak. Where neighbours are no more alike than those, the pictures do not overlap: runs of numbers
    decide alone and start columns stay unknown.

    spans: time cells in each window where windows of different duration were stretched to one width (default: W).
    The table then also has `native_start`, in cells, which stays exact where `start_column` can only be near.
    """
    width = images.shape[-1]
    names, starts = np.full(len(images), "", dtype=object), np.full((len(images), 2), np.nan)
    cells = np.full(len(images), width) if spans is None else np.asarray(spans).round().astype(int)
    overlap, lines = {}, []
    owner, number = np.asarray(users, dtype=object), np.asarray(numbers)
    for user in natsorted(set(users)):
        rows = np.flatnonzero(owner == user)
        rows = rows[np.argsort(number[rows], kind="stable")]
        steps = _chain_steps(_Signals(images, rows, cells[rows]), number[rows])
        first = np.flatnonzero(np.concatenate([[True], steps.breaks]))
        sizes = np.diff([*first, len(rows)])
        names[rows] = np.repeat([f"r{i + 1:03d}" for i in range(len(first))], sizes)
        if steps.shift:
            along = np.stack([steps.shifts * (width / cells[rows[:-1]]), steps.shifts], 1)
            along = np.concatenate([[[0, 0]], np.cumsum(np.where(steps.breaks[:, None], 0, along), 0)])
            starts[rows] = along - np.repeat(along[first], sizes, axis=0)
        overlap[user] = 1 - steps.shift if steps.shift else 0.0
        lines.append(_summary(user, sizes, steps))
    table = pd.DataFrame({"recording": names, START_COLUMN: starts[:, 0]})
    return RecordingPlan(table if spans is None else table.assign(**{NATIVE_START: starts[:, 1]}), overlap, lines)


def block_names(numbers: Sequence[int], length: int, prefix: str) -> list[str]:
    """Names of blocks of `length` consecutive numbers, counted from the lowest number given."""
    lowest = min(numbers)
    return [f"{prefix}{(n - lowest) // length + 1:03d}" for n in numbers]


@dataclass(frozen=True)
class _Steps:
    """Between neighbours in number order: bool [n-1] breaks, int [n-1] shifts in cells; the usual shift as a share of
    the window (0 = no overlap); the usual correlation of neighbours and the highest of unrelated windows."""

    breaks: np.ndarray
    shifts: np.ndarray
    shift: float
    alike: float
    unrelated: float


def _chain_steps(signals: _Signals, numbers: np.ndarray) -> _Steps:
    distance, usual = np.diff(numbers), int(np.median(signals.spans))
    near = np.flatnonzero(distance == 1)
    apart = _Steps(distance != 1, np.zeros(len(distance), int), 0.0, 0.0, 0.0)
    if len(near) < 3:
        return apart
    some = near[:: max(1, len(near) // _NULL_PAIRS)]
    every = np.arange(1, max(2, usual - 3))
    tried, unrelated = signals.compare(some, some + 1, every), signals.compare(*_far_pairs(len(numbers)), every)
    likely = (every >= usual // 16) & (every < int(0.8 * usual))
    shift = float(np.median(every[likely][tried[:, likely].argmax(1)]))
    shifts, breaks = apart.shifts.copy(), apart.breaks.copy()
    first = None
    for times in range(1, int(0.9 * usual / shift) + 1):
        around = _around(every, shift, times)
        chance = float(unrelated[:, around].max())
        if first is None:
            first = replace(apart, alike=float(np.median(tried[:, around].max(1))), unrelated=chance)
            if _evidence(first.alike) - _evidence(chance) < _MIN_EVIDENCE:
                return first
        pairs = np.flatnonzero(distance == times)
        if len(pairs):
            scores = signals.compare(pairs, pairs + 1, every[around])
            shifts[pairs] = every[around][scores.argmax(1)]
            limit = (1 - _BREAK) * _evidence(chance) + _BREAK * _evidence(first.alike)
            breaks[pairs] = _evidence(scores.max(1)) < limit
    return apart if first is None else replace(first, breaks=breaks, shifts=shifts, shift=shift / usual)


def _around(shifts: np.ndarray, usual: float, times: int) -> slice:
    """Of `shifts` (1, 2, ...) those within 0.7 of `usual` of so many times `usual`; at least one."""
    low = max(1, int(usual * (times - 0.7)))
    return slice(min(low, len(shifts)) - 1, max(min(round(usual * (times + 0.7)), len(shifts)), min(low, len(shifts))))


def _evidence(correlation: np.ndarray | float) -> np.ndarray:
    """Fisher's z: the scale on which correlations near 1 can be told apart."""
    return np.arctanh(np.clip(correlation, -0.9999, 0.9999))


def _far_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of windows too far apart to overlap: what they share is chance (a common gait, a common floor)."""
    rng = np.random.default_rng(0)
    apart = min(_FAR_APART, max(1, n // 3))
    first = rng.integers(0, n, _NULL_PAIRS)
    return first, (first + rng.integers(apart, max(apart + 1, n - apart + 1), _NULL_PAIRS)) % n


class _Signals:
    """A user's windows in the order of their numbers; rows: where each is among `images`, spans: its time cells."""

    def __init__(self, images: Windows, rows: np.ndarray, spans: np.ndarray) -> None:
        self.images, self.rows, self.spans = images, rows, spans
        self._all = self._transformed(np.arange(len(rows))) if len(rows) <= _KEPT else None

    def compare(self, first: np.ndarray, second: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """float [pairs, shifts]: see `_overlap_correlations`, of windows `first` and `second`."""
        scores = []
        for block in np.array_split(np.arange(len(first)), -(-len(first) // _BLOCK)):
            rows, places = np.unique([first[block], second[block]], return_inverse=True)
            native = self._transformed(rows) if self._all is None else self._all
            a, b = places if self._all is None else (first[block], second[block])
            scores.append(_overlap_correlations(native.take(a), native.take(b), shifts))
        return np.concatenate(scores)

    def _transformed(self, rows: np.ndarray) -> _Native:
        return _Native.of(self.images[self.rows[rows]], self.spans[rows], int(self.spans.max()))


@dataclass(frozen=True)
class _Native:
    """Windows at their native columns, ready for correlation. spectra: complex64 [n, rows, F], along time, zero-padded.
    sums, squares: float [n, columns + 1], cumulative over columns. spans: int [n] columns of each."""

    spectra: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    spans: np.ndarray

    @classmethod
    def of(cls, windows: np.ndarray, spans: np.ndarray, most: int) -> _Native:
        windows = windows.reshape(len(windows), -1, windows.shape[-1])
        if (spans == windows.shape[-1]).all() and most == windows.shape[-1]:
            padded = windows
        else:
            padded = np.zeros((*windows.shape[:2], most), np.float32)
            for place, window, span in zip(padded, windows, spans, strict=True):
                place[:, :span] = native_columns(window, span)
        columns, squares = (np.cumsum(v.sum(1, dtype=float), axis=1) for v in (padded, padded**2))
        start = np.zeros((len(windows), 1))
        return cls(rfft(padded, 2 * most), np.hstack([start, columns]), np.hstack([start, squares]), spans)

    def take(self, rows: np.ndarray) -> _Native:
        return _Native(self.spectra[rows], self.sums[rows], self.squares[rows], self.spans[rows])


def _overlap_correlations(a: _Native, b: _Native, shifts: np.ndarray) -> np.ndarray:
    """float [pairs, shifts]: correlation of the columns of each of `a` from each shift on with the first columns of its
    partner in `b`; -1 where fewer than four overlap. Products by the Fourier transform, sums by cumulative sums."""
    rows = a.spectra.shape[1]
    length = 2 * (a.sums.shape[1] - 1)
    products = irfft(np.einsum("nrf,nrf->nf", a.spectra, b.spectra.conj()), length)[:, shifts % length]
    lengths = np.clip(a.spans[:, None] - shifts, 0, b.spans[:, None])
    start = np.minimum(np.broadcast_to(shifts, lengths.shape), a.spans[:, None])
    n, pair = np.maximum(lengths, 1) * rows, np.arange(len(lengths))[:, None]
    mean_a = (a.sums[pair, start + lengths] - a.sums[pair, start]) / n
    mean_b = b.sums[pair, lengths] / n
    spread_a = a.squares[pair, start + lengths] - a.squares[pair, start] - n * mean_a**2
    spread_b = b.squares[pair, lengths] - n * mean_b**2
    scale = np.sqrt(np.maximum(spread_a, 0) * np.maximum(spread_b, 0))
    return np.where(lengths < 4, -1.0, (products - n * mean_a * mean_b) / np.maximum(scale, 1e-6))


def _summary(user: str, sizes: np.ndarray, steps: _Steps) -> str:
    windows, number = sizes.sum(), len(sizes)
    if not steps.shift:
        seen = f" (neighbours correlate {steps.alike:.2f}, others up to {steps.unrelated:.2f})" if steps.alike else ""
        return (
            f"{user}: {windows} windows, no overlap{seen}; {number} run(s) of consecutive numbers, each taken for one "
            "recording (--recording-length N where it holds several)"
        )
    independent = sum(1 + (size - 1) * steps.shift for size in sizes)
    return (
        f"{user}: {windows} windows in {number} recordings of {sizes.min()}-{sizes.max()}, shifted by "
        f"{steps.shift:.0%} of their width (correlation {steps.alike:.2f}; unrelated windows up to "
        f"{steps.unrelated:.2f}): about {independent:.0f} independent windows"
    )
