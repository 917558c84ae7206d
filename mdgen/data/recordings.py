"""The continuous recordings behind overlapping windows, stitched together; who may see them is `splits`' business."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.signal import detrend

from mdgen.data.dataset import START_COLUMN, SpectrogramSet

#: Time cells of a window before it was stretched to the common width, and the cell at which it starts.
NATIVE_COLUMNS, NATIVE_START = "native_columns", "native_start"
#: A gain below this is JPEG and rounding, not another scale; leaving it alone keeps exact data exact.
_MIN_GAIN_CHANGE = 0.005
#: Where within a pixel its native column is looked up (0..1). At 0.5 all windows of an odd number of columns would
#: repeat one in the very middle, and the middle of a window would look special.
LOOKUP = 0.75
#: A `common_course` above this is no chance: windows that begin anywhere have less than 0.01, windows cut at the same
#: phase of a step 0.5 (real gait), gestures in the middle of their window 0.4.
ALIGNED = 0.2
#: Fewer recordings may agree by chance; their windows are compared instead.
_ENOUGH_COURSES = 4


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


def stitch(data: SpectrogramSet) -> list[Recording]:
    """The continuous recordings behind overlapping windows; windows without a start column are recordings of their own.

    Each column comes from the window in which it lies most centrally. Windows scaled each to its own peak are brought
    to one scale by their overlaps. Where native columns are known, windows are first brought back to equal time a
    column. A gap or a change of split starts a new piece, so nothing is joined across roles.
    """
    native = {NATIVE_COLUMNS, NATIVE_START} <= set(data.table.columns)
    starts = _numbers(data.table, NATIVE_START if native else START_COLUMN)
    width = float(data.images.shape[-1])
    spans = np.nan_to_num(_numbers(data.table, NATIVE_COLUMNS), nan=width) if native else np.full(len(data), width)
    pieces = []
    keys = data.table[["user", "session", "recording", "split"]].reset_index(drop=True)
    for rows in keys.groupby(list(keys), sort=False).indices.values():
        for piece in _pieces(rows, starts, spans):
            windows = [native_columns(data.images[i], int(spans[i])) for i in piece]
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


def common_course(data: SpectrogramSet) -> float:
    """Share of the windows' course over time that different recordings have in common.

    The course is the mean level of every column, its straight slope taken out. Near 0 where windows begin anywhere in a
    movement; high where all begin at the same phase of it, which windows cut anew elsewhere would not. It is the mean
    covariance of two recordings' mean courses (below four recordings, of two windows') over the variance of a window's.
    """
    course = pd.DataFrame(detrend(data.images.mean(axis=(1, 2)), axis=1))
    means = course.groupby(data.groups.to_numpy()).mean()
    courses = (means if len(means) >= _ENOUGH_COURSES else course).to_numpy()
    count, total, variance = len(courses), courses.sum(axis=0), float(course.var(axis=1, ddof=0).mean())
    if count < _ENOUGH_COURSES or variance == 0:
        return 0.0
    between = (total @ total - (courses**2).sum()) / (count * (count - 1))
    return float(max(0.0, between / course.shape[1] / variance))


def native_columns(window: np.ndarray, span: int) -> np.ndarray:
    """[C, H, W] with its columns back at `span` cells of equal time, [C, H, span]."""
    width = window.shape[-1]
    return window[..., np.floor((np.arange(span) + 0.5) * width / span + 0.5 - LOOKUP).astype(int)]


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
