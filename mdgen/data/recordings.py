"""Recordings found again in folders of windows: runs of file numbers, chains of overlapping pictures, stitching.

Windows cut from one recording with an overlap are one sample seen several times. Here they are found (which windows
belong together, and at which column each starts) and put back together; who may see them is `splits`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from natsort import natsorted
from scipy.fft import irfft, rfft

from mdgen.data.dataset import START_COLUMN, SpectrogramSet

#: Time cells of a window before it was stretched to the common width, and the cell at which it starts.
NATIVE_COLUMNS, NATIVE_START = "native_columns", "native_start"
#: Pairs of windows of a user drawn from far apart, to learn how alike windows are that do not overlap.
_NULL_PAIRS = 200
_FAR_APART = 8
#: Pairs of windows compared at a time.
_BLOCK = 128
#: Where a chain breaks, from the most alike unrelated pair (0) to typical neighbours (1), in Fisher's z.
_BREAK = 0.1
#: Typical neighbours must beat every unrelated pair by this, in Fisher's z, to count as overlapping.
_MIN_EVIDENCE = 0.5
#: A gain below this is JPEG and rounding, not another scale; leaving it alone keeps exact data exact.
_MIN_GAIN_CHANGE = 0.005


@dataclass(frozen=True)
class RecordingPlan:
    """Which recording each window belongs to. table: columns recording (text), start_column (float, NaN = unknown).

    overlap: share of a window that its successor repeats, per user (0 where none was found). lines: summary, as text.
    """

    table: pd.DataFrame
    overlap: dict[str, float]
    lines: list[str]


@dataclass(frozen=True)
class Recording:
    """A continuous piece of signal. image: float32 [C, H, L] in [-1, 1]. windows: int [n, 2], first column and number
    of columns of each window it was stitched from. gains: float [n], what each was multiplied by above the floor (-1)
    to bring all to one scale. The rest is as in the data set's table."""

    image: np.ndarray
    windows: np.ndarray
    gains: np.ndarray
    rows: np.ndarray
    user: str
    session: str
    recording: str
    split: str


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
        steps = _chain_steps(images, rows, number[rows], cells[rows])
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


def stitch(data: SpectrogramSet) -> list[Recording]:
    """The continuous recordings behind overlapping windows; windows without a start column are recordings of their own.

    Each column comes from the window in which it lies most centrally. Windows scaled each to its own peak are brought
    to one scale by their overlaps. Where native columns are known, windows are first brought back to equal time a
    column. A gap or a change of split starts a new piece, so nothing is joined across roles.
    """
    native = {NATIVE_COLUMNS, NATIVE_START} <= set(data.table.columns)
    starts = _numbers(data.table, NATIVE_START if native else START_COLUMN)
    spans = _numbers(data.table, NATIVE_COLUMNS) if native else np.full(len(data), float(data.images.shape[-1]))
    pieces = []
    keys = data.table[["user", "session", "recording", "split"]].reset_index(drop=True)
    for rows in keys.groupby(list(keys), sort=False).indices.values():
        for piece in _pieces(rows, starts, spans):
            windows = [_native(data.images[i], int(spans[i])) for i in piece]
            offsets = np.nan_to_num(starts[piece] - starts[piece[0]]).round().astype(int)
            places = np.stack([offsets, [w.shape[-1] for w in windows]], axis=1)
            gains = _common_gains(windows, offsets)
            pieces.append(
                Recording(_join(windows, offsets, gains), places, gains, np.asarray(piece), *keys.iloc[piece[0]])
            )
    return pieces


def _numbers(table: pd.DataFrame, column: str) -> np.ndarray:
    """float [N]: a column of numbers, NaN where it is unknown or missing."""
    return (
        pd.to_numeric(table[column], errors="coerce").to_numpy(float)
        if column in table
        else np.full(len(table), np.nan)
    )


@dataclass(frozen=True)
class _Steps:
    """Between neighbours in number order: bool [n-1] breaks, int [n-1] shifts in cells; the usual shift as a share of
    the window (0 = no overlap); the usual correlation of neighbours and the highest of unrelated windows."""

    breaks: np.ndarray
    shifts: np.ndarray
    shift: float
    alike: float
    unrelated: float


def _chain_steps(images: Windows, rows: np.ndarray, numbers: np.ndarray, spans: np.ndarray) -> _Steps:
    def best_shifts(first: np.ndarray, second: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _best_shifts(images, rows[first], rows[second], spans[first], spans[second], shifts)

    distance = np.diff(numbers)
    shifts, breaks = np.zeros(len(distance), int), distance != 1
    near, usual = np.flatnonzero(distance == 1), int(np.median(spans))
    if len(near) < 3:
        return _Steps(breaks, shifts, 0.0, 0.0, 0.0)
    every = np.arange(max(1, usual // 16), int(0.8 * usual))
    some = near[:: max(1, len(near) // _NULL_PAIRS)]
    shift = float(np.median(best_shifts(some, some + 1, every)[0]))
    typical = unrelated = 0.0
    for times in range(1, int(0.9 * usual / shift) + 1):
        pairs = np.flatnonzero(distance == times)
        around = np.arange(max(1, int(shift * (times - 0.7))), min(round(shift * (times + 0.7)), usual - 4) + 1)
        chance = float(best_shifts(*_far_pairs(len(rows)), around)[1].max())
        if len(pairs):
            shifts[pairs], alike = best_shifts(pairs, pairs + 1, around)
            if times == 1:
                typical, unrelated = float(np.median(alike)), chance
                if _evidence(typical) - _evidence(unrelated) < _MIN_EVIDENCE:
                    return _Steps(distance != 1, np.zeros_like(shifts), 0.0, typical, unrelated)
            limit = (1 - _BREAK) * _evidence(chance) + _BREAK * _evidence(typical)
            breaks[pairs] = _evidence(alike) < limit
    return _Steps(breaks, shifts, shift / usual, typical, unrelated)


def _evidence(correlation: np.ndarray | float) -> np.ndarray:
    """Fisher's z: the scale on which correlations near 1 can be told apart."""
    return np.arctanh(np.clip(correlation, -0.9999, 0.9999))


def _far_pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of windows too far apart to overlap: what they share is chance (a common gait, a common floor)."""
    rng = np.random.default_rng(0)
    apart = min(_FAR_APART, max(1, n // 3))
    first = rng.integers(0, n, _NULL_PAIRS)
    return first, (first + rng.integers(apart, max(apart + 1, n - apart + 1), _NULL_PAIRS)) % n


def _best_shifts(
    images: Windows,
    first: np.ndarray,
    second: np.ndarray,
    spans_a: np.ndarray,
    spans_b: np.ndarray,
    shifts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each pair of rows the best of `shifts` (cells), int [pairs], and the correlation of what then overlaps."""
    most = int(max(spans_a.max(), spans_b.max()))
    scores = []
    for block in np.array_split(np.arange(len(first)), -(-len(first) // _BLOCK)):
        a, b = (_Native.of(images[r[block]], s[block], most) for r, s in ((first, spans_a), (second, spans_b)))
        scores.append(_overlap_correlations(a, b, shifts))
    table = np.concatenate(scores)
    return shifts[table.argmax(1)], table.max(1)


def _native(window: np.ndarray, span: int) -> np.ndarray:
    """[C, H, W] with its columns back at `span` cells of equal time, [C, H, span]."""
    width = window.shape[-1]
    return window[..., ((np.arange(span) + 0.5) * width / span).astype(int)]


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
        padded = np.zeros((len(windows), int(np.prod(windows.shape[1:-1])), most), np.float32)
        for place, window, span in zip(padded, windows, spans, strict=True):
            place[:, :span] = _native(window, span).reshape(len(place), span)
        columns, squares = (np.cumsum(v.sum(1, dtype=float), axis=1) for v in (padded, padded**2))
        start = np.zeros((len(windows), 1))
        return cls(rfft(padded, 2 * most), np.hstack([start, columns]), np.hstack([start, squares]), spans)


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
        return f"{user}: {windows} windows, no overlap{seen}; {number} run(s) of numbers"
    independent = sum(1 + (size - 1) * steps.shift for size in sizes)
    return (
        f"{user}: {windows} windows in {number} recordings of {sizes.min()}-{sizes.max()}, shifted by "
        f"{steps.shift:.0%} of their width (correlation {steps.alike:.2f}; unrelated windows up to "
        f"{steps.unrelated:.2f}): about {independent:.0f} independent windows"
    )


def _pieces(rows: np.ndarray, starts: np.ndarray, spans: np.ndarray) -> list[np.ndarray]:
    """The windows of each gapless piece among `rows`, in the order of time; a window without start is alone."""
    known = rows[~np.isnan(starts[rows])]
    order = known[np.argsort(starts[known], kind="stable")]
    covered = np.maximum.accumulate(starts[order] + spans[order])
    gaps = np.flatnonzero(starts[order][1:] > covered[:-1]) + 1
    joined = [piece for piece in np.split(order, gaps) if len(piece)]
    return joined + [np.array([i]) for i in rows[np.isnan(starts[rows])]]


def _join(windows: list[np.ndarray], offsets: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """float32 [C, H, L]: `windows` [C, H, *] laid at `offsets` (sorted), each column from its most central window."""
    lengths = np.array([w.shape[-1] for w in windows])
    columns = np.arange((offsets + lengths).max())
    inside = columns - offsets[:, None]
    centrality = np.minimum(inside, lengths[:, None] - 1 - inside)
    source = centrality.argmax(0)
    scaled = [w if g == 1 else ((w + 1) * g - 1).astype(np.float32) for w, g in zip(windows, gains, strict=True)]
    return np.stack([scaled[i][..., c - offsets[i]] for c, i in enumerate(source)], axis=-1)


def _common_gains(windows: list[np.ndarray], offsets: np.ndarray) -> np.ndarray:
    """float [n]: gains (above the floor, -1) that make overlaps agree; the loudest window keeps within [-1, 1]."""
    gains = np.ones(len(windows))
    for i, step in enumerate(np.diff(offsets)):
        length = max(0, min(windows[i].shape[-1] - step, windows[i + 1].shape[-1]))
        before, after = windows[i][..., step : step + length] + 1, windows[i + 1][..., :length] + 1
        energy = float((after**2).sum())
        gain = float((before * after).sum()) / energy if energy > 0 else 1.0
        gains[i + 1] = gains[i] * (gain if abs(gain - 1) > _MIN_GAIN_CHANGE else 1.0)
    loudest = max(float((w.max() + 1) * g / 2) for w, g in zip(windows, gains, strict=True))
    return gains if (gains == 1).all() else gains / max(1.0, loudest)
