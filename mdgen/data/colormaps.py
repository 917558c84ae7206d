"""Undoing the rendering of a plot: colours back to values, enlarged cells back to cells. Never colours to gray.

JPEG keeps luminance fine and colour coarse (half resolution, strong quantisation), so colours are compared in YCbCr
with chroma counted less: luminance says where along the map, chroma only on which branch. Plots are often enlarged:
a cell covers several pixels, and averaging over it before inverting removes most of the JPEG error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from scipy.spatial import cKDTree

#: Maps that are recognised, by their matplotlib names (parula: MATLAB's, since R2017a and before); those of a plot in
#: the field come first.
COLORMAPS = ("jet", "parula", "parula2014", "turbo", "viridis", "plasma", "inferno", "magma", "hot")
#: MATLAB's default maps at equal steps, as plots show them; linear in between.
_PARULA = {
    "parula": "3e26a8 4332cb 4741e5 4852f4 4563fd 3875fe 2e87f7 2797eb 20a5e3 12b1d6 02bac3 "
    "24c1ae 37c897 57cc7a 81cc59 abc739 d1bf27 f0ba36 fec338 fad62d f5e924 f9fb15",
    "parula2014": "352a87 353dad 2053d4 0268e1 0d75dc 1481d6 108ed2 079ccf 06a7c6 0faeb9 25b5a9 "
    "42bb98 65be86 87bf77 a5be6b c0bc60 d9ba56 f1b94a ffc337 fad32a f5e41d f9fb0e",
}
#: Weight of Cb and Cr against Y. JPEG's own tables quantise chroma about three times as coarsely as luminance.
CHROMA_WEIGHT = 0.35
#: A picture is on a map when its mean distance to it is below this (levels of 255) ...
MAX_RESIDUAL = 22.0
#: ... and it uses at least this share of the map, so that a plain surface or a blue sky is no plot.
MIN_RANGE = 0.25
#: A grid of cells is trusted when this share of the picture's steps lies on its edges (smooth pictures: below 0.5).
MIN_GRID_STRENGTH = 0.55
#: Cells are taken singly up to so many per output pixel; beyond, too many would be skipped and areas are averaged.
MAX_CELLS_PER_PIXEL = 1.35
_LEVELS = 256
#: ITU-T T.871 (JFIF) RGB to Y, Cb, Cr (without the offset of 128).
_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_WEIGHTED = _YCBCR.T * np.array([1, CHROMA_WEIGHT, CHROMA_WEIGHT])


def detect_colormap(pixels: np.ndarray) -> str | None:
    """The map in `COLORMAPS` whose colours `pixels` (uint8 [H, W, 3]) shows, or None (photographs, plain surfaces)."""
    sample = _sample(pixels.reshape(-1, 3), 20_000)
    residuals = {name: _match(sample, name) for name in COLORMAPS}
    best = min(residuals, key=lambda name: residuals[name][1].mean())
    values, distances = residuals[best]
    used = np.ptp(np.percentile(values, [1, 99]))
    return best if distances.mean() < MAX_RESIDUAL and used >= MIN_RANGE else None


def invert_colormap(pixels: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Colours [H, W, 3] (0..255, also averages over cells) to values float32 [H, W] in 0..1, and the mean residual.

    The residual is the mean RGB distance (levels of 255) between the colours and those of the values found.
    """
    colours = (pixels if pixels.dtype == np.uint8 else np.rint(pixels).astype(np.uint8)).reshape(-1, 3)
    memo = _memo(name)
    levels = memo.look_up(colours)
    steps = colours - memo.colours[levels]
    residual = float(np.sqrt(np.einsum("nc,nc->n", steps, steps)).mean())
    return (levels * np.float32(1 / (_LEVELS - 1))).reshape(pixels.shape[:2]), residual


@dataclass(frozen=True)
class Grid:
    """Cells of an enlarged plot along one axis: cell edges lie at (k + offset) * length / count pixels, k = 0, 1, ...

    count: cells over the axis (not always whole). offset: 0..1, the part of the first cell that is visible (0 = all).
    strength: 0..1, how much of the picture's steps lies on the edges.
    """

    count: float
    offset: float
    strength: float

    def cell_of(self, points: np.ndarray) -> np.ndarray:
        """int: the cell that holds each of `points` (0..1 along the axis)."""
        return np.floor(np.asarray(points) * self.count - self.offset + (self.offset > 0)).astype(int)

    def average(self, pixels: np.ndarray, axis: int) -> np.ndarray:
        """float32: `pixels` averaged over each cell along `axis`, the middle of a cell counting most."""
        weights, starts = _cell_weights(self, pixels.shape[axis])
        along = weights.reshape([-1 if i == axis else 1 for i in range(pixels.ndim)])
        return np.add.reduceat(pixels * along, starts, axis=axis)


@lru_cache(maxsize=64)
def _cell_weights(grid: Grid, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(float32 [length]: weight of each pixel in its cell, int [cells]: first pixel of each cell)."""
    points = (np.arange(length) + 0.5) / length
    cells, place = grid.cell_of(points), (points * grid.count - grid.offset) % 1
    weights = np.minimum(place, 1 - place) + 0.05
    return (weights / np.bincount(cells, weights)[cells]).astype(np.float32), np.flatnonzero(np.diff(cells, prepend=-1))


@lru_cache(maxsize=64)
def _places(grid: Grid, size: int) -> np.ndarray | None:
    """int [size]: the cell that each of `size` points takes; None where each takes its own."""
    cells = grid.cell_of((np.arange(size) + 0.5) / size)
    return None if np.array_equal(cells, np.arange(size)) and round(grid.count) == size else cells


def step_profile(pixels: np.ndarray, axis: int) -> np.ndarray:
    """float [length - 1]: mean absolute step between neighbouring pixels along `axis` (0 rows, 1 columns)."""
    light = pixels.astype(np.float32)
    light = light @ _YCBCR[0].astype(np.float32) if light.ndim == 3 else light
    return np.abs(np.diff(light, axis=axis)).mean(1 - axis)


def find_grid(steps: np.ndarray) -> Grid:
    """The grid that best explains a `step_profile`: 2.5 to 12 pixels a cell, or fewer than 1.7 where rows repeat.

    A periodogram of the high-passed profile. Steps that peak once a period are the edges of large cells. Steps that
    are *missing* once a period are repeated pixels: n cells enlarged to `length` repeat length - n of them, so 195
    rows drawn on 256 pixels look like 61 large cells to the periodogram alone. Grids that begin at a cell edge are
    taken as whole numbers of cells.
    """
    length = len(steps) + 1
    counts, phasors = _search(length)
    high = steps - np.convolve(np.pad(steps, 4, mode="edge"), np.ones(9) / 9, "valid")
    waves = phasors @ high / max(float(np.abs(high).sum()), 1e-12)
    best = int(np.argmax(np.abs(waves)))
    count, strength = float(counts[best]), float(np.abs(waves[best]))
    folded = _folded(high, np.arange(1, length) * count / length)
    if -folded.min() > folded.max():
        return Grid(length - count, 0.0, strength)
    offset = float(-np.angle(waves[best]) / (2 * np.pi)) % 1
    if abs(count - round(count)) <= 0.3 and min(offset, 1 - offset) < 0.2:
        return Grid(float(round(count)), 0.0, strength)
    return Grid(count, offset, strength)


def _folded(values: np.ndarray, phases: np.ndarray, bins: int = 8) -> np.ndarray:
    """float [bins]: mean of `values` by the fractional part of `phases`."""
    place = (phases % 1 * bins).astype(int)
    return np.bincount(place, values, bins) / np.maximum(np.bincount(place, minlength=bins), 1)


@dataclass(frozen=True)
class Rendering:
    """How a set of pictures was drawn. colormap: None = gray. rows, columns: the grids of cells common to all pictures
    (None = none found). own_columns: each picture has a whole number of columns of its own (windows cut by steps)."""

    colormap: str | None
    rows: Grid | None = None
    columns: Grid | None = None
    own_columns: bool = False

    @property
    def words(self) -> str:
        """The same as a line of a report."""
        text = "gray levels, scale kept" if self.colormap is None else f"colour map {self.colormap}, inverted"
        if self.rows is not None:
            text += f"; natively about {self.rows.count:.0f} rows"
        if self.columns is not None:
            text += f"; natively {self.columns.count:.0f} columns"
        return text + ("; natively of differing numbers of columns" if self.own_columns else "")


def find_rendering(
    pictures: Sequence[np.ndarray], with_cells: bool = True, colormap: str | None = None
) -> Rendering | None:
    """The rendering of `pictures` of one size (uint8/16 [H, W] or uint8 [H, W, 3]); None = colours on no known map.

    with_cells: look for enlarged cells. colormap: the map of coloured pictures, where it is known.
    """
    if pictures[0].ndim == 2:
        colormap = None
    elif colormap is None:
        colormap = detect_colormap(np.concatenate([_sample(p.reshape(-1, 3), 2000) for p in pictures])[None])
        if colormap is None:
            return None
    if not with_cells:
        return Rendering(colormap)
    profiles = [np.stack([step_profile(p, axis) for p in pictures]) for axis in (0, 1)]
    rows, columns = (find_grid(profile.mean(0)) for profile in profiles)
    own = float(np.median([find_grid(p).strength for p in profiles[1]]))
    each = own >= MIN_GRID_STRENGTH and own > columns.strength + 0.1
    return Rendering(colormap, _if_clear(rows), None if each else _if_clear(columns), each)


def undo_rendering(pixels: np.ndarray, rendering: Rendering, size: int | None) -> tuple[np.ndarray, float, float]:
    """One picture as values float32 [size, size] in 0..1, the mean colour residual, and its native number of columns.

    Along an axis whose cells are larger than the output's, colours are averaged within cells, inverted, and each output
    point takes the cell it lies in: as crisp as the picture, where equal areas would mix neighbouring cells. Along an
    axis with finer cells, or none known, values are averaged over equal areas, so that nothing is skipped. size None
    keeps the pixels. The number of columns is NaN where there is no grid.
    """
    if size is None:
        return *_to_values(pixels, rendering.colormap), float("nan")
    columns = find_grid(step_profile(pixels, 1)) if rendering.own_columns else rendering.columns
    grids = [g if g is not None and g.count <= size * MAX_CELLS_PER_PIXEL else None for g in (rendering.rows, columns)]
    colours = pixels
    for axis, grid in enumerate(grids):
        if grid is not None:
            colours = grid.average(colours, axis)
    values, residual = _to_values(colours, rendering.colormap, pixels.dtype)
    for axis, grid in enumerate(grids):
        places = None if grid is None else _places(grid, size)
        if places is not None:
            values = np.take(values, places, axis)
    return resize_area(values, size), residual, columns.count if columns is not None else float("nan")


def resize_area(image: np.ndarray, size: int) -> np.ndarray:
    """float32 [H, W] to [size, size]: the exact mean over equal areas (enlarging repeats pixels)."""
    image = np.asarray(image, np.float32)
    for axis, length in enumerate(image.shape):
        if length == size:
            continue
        if length % size == 0:
            image = image.reshape(*image.shape[:axis], size, length // size, *image.shape[axis + 1 :]).mean(axis + 1)
        else:
            image = np.moveaxis(np.tensordot(_area_weights(length, size), image, (1, axis)), 0, axis)
    return np.ascontiguousarray(image)


@lru_cache(maxsize=64)
def _area_weights(length: int, size: int) -> np.ndarray:
    """float32 [size, length]: the share that each of `length` pixels has in each of `size` equal parts."""
    edges, pixels = np.arange(size + 1) * (length / size), np.arange(length)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.clip(shared, 0, None) * (size / length)).astype(np.float32)


def _if_clear(grid: Grid) -> Grid | None:
    return grid if grid.strength >= MIN_GRID_STRENGTH else None


def _to_values(pixels: np.ndarray, colormap: str | None, dtype: np.dtype | None = None) -> tuple[np.ndarray, float]:
    if colormap is not None:
        return invert_colormap(pixels, colormap)
    return pixels * np.float32(1 / (65535 if (dtype or pixels.dtype) == np.uint16 else 255)), 0.0


@lru_cache(maxsize=16)
def _search(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of cells to try, and for each the phasor of every step between pixels, complex [counts, length - 1]."""
    counts = np.arange(length / 12, length / 2.5, 0.05)
    return counts, np.exp(-2j * np.pi * np.outer(counts, np.arange(1, length)) / length)


@cache
def map_colours(name: str) -> np.ndarray:
    """float [levels, 3]: RGB colours (0..255) of a map."""
    points = np.linspace(0, 1, _LEVELS)
    if name in _PARULA:
        anchors = np.array([list(bytes.fromhex(colour)) for colour in _PARULA[name].split()], float)
        return np.stack([np.interp(points, np.linspace(0, 1, len(anchors)), c) for c in anchors.T], axis=1)
    import matplotlib

    return matplotlib.colormaps[name](points)[:, :3] * 255


def _match(colours: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values (0..1) of the nearest map colours to `colours` [N, 3], and the RGB distances to them."""
    index = _nearest(np.asarray(colours, float) @ _WEIGHTED, name)
    return index / (_LEVELS - 1), np.linalg.norm(colours - map_colours(name)[index], axis=1)


def _nearest(points: np.ndarray, name: str) -> np.ndarray:
    """int [N]: the level of a map whose weighted YCbCr colour is nearest to `points` [N, 3]."""
    return _tree(name).query(points)[1]


@cache
def _tree(name: str) -> cKDTree:
    return cKDTree(map_colours(name) @ _WEIGHTED)


class _Memo:
    """The level of every colour (24 bits) met so far, 0 where none was: most pictures of a set share their colours."""

    def __init__(self, name: str) -> None:
        self.name, self.levels = name, np.zeros(1 << 24, np.uint16)
        self.colours = map_colours(name).astype(np.float32)

    def look_up(self, colours: np.ndarray) -> np.ndarray:
        """int [N]: levels of `colours`, uint8 [N, 3]."""
        bytes_of_code = np.zeros((len(colours), 4), np.uint8)
        bytes_of_code[:, :3] = colours
        codes = bytes_of_code.view("<u4")[:, 0]
        found = self.levels[codes]
        if not found.all():
            new = np.unique(codes[found == 0])
            unseen = np.stack([new & 255, new >> 8 & 255, new >> 16], axis=1)
            self.levels[new] = _nearest(unseen @ _WEIGHTED, self.name) + 1
            found = self.levels[codes]
        return found - 1


@lru_cache(maxsize=1)
def _memo(name: str) -> _Memo:
    return _Memo(name)


def _sample(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[:: max(1, len(rows) // most)]
