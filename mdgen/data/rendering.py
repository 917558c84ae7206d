"""Undoing the rendering of a plot: enlarged cells back to cells, their colours to values, and values to a wanted size.

Plots are often enlarged: a cell covers several pixels, and averaging over it before its colour is inverted removes most
of the JPEG error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_array, kron

from mdgen.data.colormaps import YCBCR, detect_colormap, invert_colormap
from mdgen.data.recordings import LOOKUP

#: A grid of cells is trusted when this share of the picture's steps lies on its edges (smooth pictures: below 0.5).
MIN_GRID_STRENGTH = 0.55
#: Numbers of cells are tried in steps of one over this.
PARTS_OF_A_CELL = 20
#: Smaller pictures are taken as they are: their cells are not searched for.
MIN_ENLARGED_SIDE = 64
#: Cells are taken singly up to so many per output pixel; beyond, too many would be skipped and areas are averaged.
MAX_CELLS_PER_PIXEL = 1.35


@dataclass(frozen=True)
class Grid:
    """Cells of an enlarged plot along one axis: cell edges lie at (k + offset) * length / count pixels, k = 0, 1, ...

    count: cells over the axis (not always whole). offset: 0..1, the part of the first cell that is visible (0 = all).
    strength: 0..1, how much of the picture's steps lies on the edges.
    """

    count: float
    offset: float
    strength: float = field(compare=False)

    def cell_of(self, points: np.ndarray) -> np.ndarray:
        """int: the cell that holds each of `points` (0..1 along the axis)."""
        return np.floor(np.asarray(points) * self.count - self.offset + (self.offset > 0)).astype(int)


def step_profile(pixels: np.ndarray, axis: int) -> np.ndarray:
    """float [length - 1]: mean absolute step between neighbouring pixels along `axis` (0 rows, 1 columns)."""
    light = pixels.astype(np.float32)
    light = light @ YCBCR[0].astype(np.float32) if light.ndim == 3 else light
    return np.abs(np.diff(light, axis=axis)).mean(1 - axis)


def find_grid(steps: np.ndarray) -> Grid:
    """The grid that best explains a `step_profile`: 2.5 to 12 pixels a cell, or fewer than 1.7 where rows repeat.

    A periodogram of the high-passed profile. Steps that peak once a period are the edges of large cells. Steps that
    are *missing* once a period are repeated pixels: n cells enlarged to `length` repeat length - n of them, so 195
    rows drawn on 256 pixels look like 61 large cells to the periodogram alone. Grids that begin at a cell edge are
    taken as whole numbers of cells.
    """
    length = len(steps) + 1
    high = steps - np.convolve(np.pad(steps, 4, mode="edge"), np.ones(9) / 9, "valid")
    waves = np.fft.rfft(np.pad(high, (1, 0)), PARTS_OF_A_CELL * length) / max(float(np.abs(high).sum()), 1e-12)
    searched = np.arange(int(PARTS_OF_A_CELL * length / 12), int(PARTS_OF_A_CELL * length / 2.5))
    best = int(searched[np.argmax(np.abs(waves[searched]))])
    count, strength = best / PARTS_OF_A_CELL, float(np.abs(waves[best]))
    folded = _folded(high, np.arange(1, length) * count / length)
    if -folded.min() > folded.max():
        return Grid(float(round(length - count)), 0.0, strength)
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

    def keeps_levels(self, height: int, width: int) -> bool:
        """Whether results of this size are levels of the colour map: every point takes one cell, none is a mean."""
        return self.colormap is not None and _single(self.rows, height) and _single(self.columns, width)

    @property
    def words(self) -> str:
        """The same as a line of a report."""
        text = "gray levels, scale kept" if self.colormap is None else f"colour map {self.colormap}, inverted"
        if self.rows is not None:
            text += f"; natively about {self.rows.count:.0f} rows"
        if self.columns is not None:
            text += f"; natively {self.columns.count:.0f} columns"
        return text + ("; natively of differing numbers of columns" if self.own_columns else "")


def find_rendering(pictures: Sequence[np.ndarray], colormap: str | None = None) -> Rendering | None:
    """The rendering of `pictures` of one size (uint8/16 [H, W] or uint8 [H, W, 3]); None = colours on no known map.

    colormap: the map of coloured pictures, where it is known.
    """
    colormap = None if pictures[0].ndim == 2 else colormap or detect_colormap(*pictures)
    if pictures[0].ndim == 3 and colormap is None:
        return None
    if min(pictures[0].shape[:2]) <= MIN_ENLARGED_SIDE:
        return Rendering(colormap)
    profiles = [np.stack([step_profile(p, axis) for p in pictures]) for axis in (0, 1)]
    rows, columns = (find_grid(profile.mean(0)) for profile in profiles)
    own = float(np.median([find_grid(p).strength for p in profiles[1]]))
    each = own >= MIN_GRID_STRENGTH and own > columns.strength + 0.1
    return Rendering(colormap, _if_clear(rows), None if each else _if_clear(columns), each)


@dataclass(frozen=True)
class Plot:
    """What a picture shows, as values float32 [rows, columns] in 0..1: one for each cell, or for each pixel along an
    axis whose cells are not known. shape: of the picture. rows, columns: the grids. residual: the mean distance of its
    colours from the map."""

    values: np.ndarray
    residual: float
    shape: tuple[int, int]
    rows: Grid | None = None
    columns: Grid | None = None

    @property
    def has_cells(self) -> bool:
        """Whether values are those of cells along an axis."""
        return self.rows is not None or self.columns is not None

    def resized(self, height: int, width: int) -> np.ndarray:
        """float32 [height, width]. Along an axis whose cells are about as large as the output's or larger, each output
        point takes the cell it lies in: as crisp as the picture, where equal areas would mix neighbouring cells. Else
        values are averaged over equal areas, so that nothing is skipped."""
        rows, columns = _placing(self.rows, self.shape[0], height), _placing(self.columns, self.shape[1], width)
        return _both(rows, columns, self.values)


def undo_rendering(pixels: np.ndarray, rendering: Rendering) -> Plot:
    """The plot in one picture: colours averaged within cells, then inverted."""
    rows, columns = rendering.rows, find_grid(step_profile(pixels, 1)) if rendering.own_columns else rendering.columns
    height, width, *channels = pixels.shape
    colours = _both(_averaging(rows, height), _averaging(columns, width, *channels), pixels)
    if rendering.colormap is not None:
        return Plot(*invert_colormap(colours, rendering.colormap), (height, width), rows, columns)
    return Plot(colours * np.float32(1 / np.iinfo(pixels.dtype).max), 0.0, (height, width), rows, columns)


def resize_area(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """float32 [H, W] to [height, width]: the mean over equal areas (enlarging repeats pixels)."""
    image = np.asarray(image, np.float32)
    return _both(_placing(None, len(image), height), _placing(None, image.shape[1], width), image)


def _if_clear(grid: Grid) -> Grid | None:
    return grid if grid.strength >= MIN_GRID_STRENGTH else None


def _single(grid: Grid | None, size: int) -> bool:
    """Whether each of `size` points takes the cell it lies in, see `Plot.resized`."""
    return grid is not None and grid.count <= size * MAX_CELLS_PER_PIXEL


@lru_cache(maxsize=256)
def _averaging(grid: Grid | None, length: int, channels: int = 1) -> csr_array | None:
    """[cells, length]: the weight of each pixel in its cell, whose middle counts most; None without a grid. The same
    for each of the interleaved `channels`."""
    if grid is None:
        return None
    points = (np.arange(length) + 0.5) / length
    cells, place = grid.cell_of(points), (points * grid.count - grid.offset) % 1
    weights = np.minimum(place, 1 - place) + 0.05
    weights = (weights / np.bincount(cells, weights)[cells]).astype(np.float32)
    starts = np.flatnonzero(np.diff(cells, prepend=-1, append=-1))
    matrix = csr_array((weights, np.arange(length), starts), shape=(len(starts) - 1, length))
    return matrix if channels == 1 else csr_array(kron(matrix, np.eye(channels, dtype=np.float32)))


@lru_cache(maxsize=256)
def _placing(grid: Grid | None, length: int, size: int) -> csr_array | None:
    """[size, cells]: what each of `size` points takes of the cells (None: pixels) along `length` pixels, see
    `Plot.resized`; None where each takes its own."""
    averaging = _averaging(grid, length)
    starts = np.arange(length + 1) if averaging is None else averaging.indptr
    if not _single(grid, size):
        edges, parts = starts / length, np.arange(size + 1) / size
        shared = np.minimum(parts[1:, None], edges[1:]) - np.maximum(parts[:-1, None], edges[:-1])
        matrix = csr_array((shared.clip(0) * size).astype(np.float32))
    else:
        assert grid is not None
        cells = grid.cell_of((np.arange(size) + LOOKUP) / size) - grid.cell_of(np.array(0.5 / length))
        places = cells.clip(0, len(starts) - 2)
        matrix = csr_array((np.ones(size, np.float32), places, np.arange(size + 1)), shape=(size, len(starts) - 1))
    return None if matrix.shape == (size, size) and (matrix.diagonal() == 1).all() else matrix


def _both(along_rows: csr_array | None, along_columns: csr_array | None, image: np.ndarray) -> np.ndarray:
    """[H, W] or [H, W, C] with both axes multiplied by a matrix each (None: kept); channels count as columns."""
    flat = image.reshape(len(image), -1)
    flat = flat if along_rows is None else along_rows @ flat
    flat = flat if along_columns is None else (along_columns @ flat.T).T
    return np.ascontiguousarray(flat).reshape(len(flat), -1, *image.shape[2:])
