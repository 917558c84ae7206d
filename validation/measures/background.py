"""Statistics of what is not motion: floor, peak, quiet rows, the zero-Doppler line, corners, marks. Pure functions.

Two seconds of walking change none of them, yet a radar, a room or a careless export may write the user into them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdgen.data.dataset import SpectrogramSet

QUIET_SHARE = 1 / 6  #: of the rows: those that change least over time in real data
CORNER_SHARE = 1 / 12  #: of a side
BRIGHT = 0.2  #: above the quiet level; a steady row brighter than this is a line
ENOUGH_LEVELS = 64
BLOCK = 4  #: pixels
NAMES = (
    "lowest level", "floor level", "peak level", "number of levels", "quiet level", "quiet spread", "quiet peak",
    "brightest quiet row", "steadiest bright row", "brightest column mark", "upper left corner", "upper right corner",
    "lower left corner", "lower right corner", "first column", "last column", "zero-Doppler line",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Where to look. quiet: bool [H], rows with the least motion. zero_row: index of zero velocity, -1 if not known."""

    quiet: np.ndarray
    zero_row: int

    @classmethod
    def of(cls, real: SpectrogramSet) -> Layout:
        """From real images, and their axes where they have them."""
        pixels = real.images.mean(axis=1)
        change = pixels.std(axis=2).mean(axis=0)  # (H,)
        quiet = np.zeros(len(change), bool)
        quiet[np.argsort(change, kind="stable")[: max(2, round(QUIET_SHARE * len(change)))]] = True
        return cls(quiet, zero_row(real.axes(), len(change)))


def zero_row(axes: dict[str, float], height: int) -> int:
    """The row that holds zero velocity, -1 where the axes are not known or do not reach it."""
    low, high = axes.get("velocity_min_mps", np.nan), axes.get("velocity_max_mps", np.nan)
    if not low < 0 < high:
        return -1
    return min(height - 1, int(high / (high - low) * height))


def background(images: np.ndarray, layout: Layout) -> np.ndarray:
    """The statistics `NAMES` of images [N, C, H, W] in [-1, 1] (mean over channels): float64 [N, 17].

    Levels of rows, columns and corners are relative to the quiet level; without axes the zero-Doppler line is 0.
    """
    pixels = images.mean(axis=1, dtype=np.float64)
    flat = np.sort(pixels.reshape(len(pixels), -1), axis=1)
    levels = np.log1p(np.minimum((np.diff(flat, axis=1) > 1e-4).sum(axis=1), ENOUGH_LEVELS))
    rows = np.median(pixels, axis=2)  # (N, H)
    still = pixels[:, layout.quiet]
    quiet = np.median(still, axis=(1, 2))
    low, high, top = np.quantile(still, (0.25, 0.75, 0.95), axis=(1, 2))
    columns = still.mean(axis=1)  # (N, W)
    whole = [
        flat[:, 0], np.quantile(flat, 0.05, axis=1), flat[:, -1], levels, quiet, high - low, top - quiet,
        rows[:, layout.quiet].max(axis=1) - quiet, steadiest_row(pixels, rows - quiet[:, None]),
        (columns - np.median(columns, axis=1, keepdims=True)).max(axis=1),
    ]  # fmt: skip
    edges = [corner - quiet for corner in corners(pixels)] + [columns[:, 0] - quiet, columns[:, -1] - quiet]
    return np.column_stack([*whole, *edges, zero_line(rows, layout.zero_row)])


def quiet_pixels(images: np.ndarray, layout: Layout) -> np.ndarray:
    """The quiet rows, mean over channels: [N, C, H, W] -> float64 [N, Q, W]."""
    return images.mean(axis=1, dtype=np.float64)[:, layout.quiet]


def fixed_pattern(quiet: np.ndarray) -> np.ndarray:
    """What is always in one place of `quiet` [N, Q, W], as rows and as blocks of 4 x 4 pixels, relative to the floor.

    The median over images comes first: motion visits a pixel, a mark stays.
    """
    lasting = np.median(quiet, axis=0)
    lasting = lasting - np.median(lasting)
    bands = [band.mean(axis=0) for band in np.array_split(lasting, max(1, len(lasting) // BLOCK))]
    blocks = [part.mean() for band in bands for part in np.array_split(band, max(1, len(band) // BLOCK))]
    return np.concatenate([lasting.mean(axis=1), blocks])


def steadiest_row(pixels: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """Least deviation over time among the rows of [N, H, W] whose median `brightness` [N, H] exceeds 0.2, at most 0.3.

    Motion makes every row it touches come and go; a line that was drawn there does not.
    """
    deviation = np.where(brightness > BRIGHT, pixels.std(axis=2), np.inf)
    return np.minimum(deviation.min(axis=1), 0.3)


def corners(pixels: np.ndarray) -> list[np.ndarray]:
    """Mean of the upper left, upper right, lower left and lower right patch of [N, H, W]: four times [N]."""
    tall, wide = (max(2, round(CORNER_SHARE * side)) for side in pixels.shape[1:])
    upper, lower, left, right = slice(tall), slice(-tall, None), slice(wide), slice(-wide, None)
    patches = [pixels[:, r, c] for r in (upper, lower) for c in (left, right)]
    return [patch.mean(axis=(1, 2)) for patch in patches]


def zero_line(rows: np.ndarray, row: int) -> np.ndarray:
    """How far the median of row `row` lies above those two rows away: [N, H] -> [N]."""
    if row < 2 or row > rows.shape[1] - 3:
        return np.zeros(len(rows))
    return rows[:, row] - (rows[:, row - 2] + rows[:, row + 2]) / 2
