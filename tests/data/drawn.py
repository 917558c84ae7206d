"""Plots as they are found on disks: cells enlarged, coloured, through JPEG."""

import io

import matplotlib
import numpy as np
from PIL import Image

from mdgen.data.colormaps import map_colours


def field(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Speckle over a ridge on a floor, values 0..1, as spectrograms have."""
    rng = np.random.default_rng(seed)
    ridge = np.exp(-(((np.arange(rows)[:, None] - rows * 0.6) / (rows * 0.12)) ** 2)) * np.ones(columns)
    return np.clip(ridge * rng.uniform(0.5, 1.1, (rows, columns)), 0, 1)


def enlarge(cells: np.ndarray, size: int = 256, lookup: float = 0.5) -> np.ndarray:
    index = [((np.arange(size) + lookup) * n / size).astype(int) for n in cells.shape]
    return cells[np.ix_(*index)]


def draw(values: np.ndarray, name: str = "jet", quality: int | None = None) -> np.ndarray:
    """uint8 [H, W, 3]; `quality` passes it through JPEG with half-resolution chroma."""
    colours = map_colours(name) if "parula" in name else matplotlib.colormaps[name](np.arange(256))[:, :3] * 255
    pixels = colours.round().astype(np.uint8)[(values * 255.999).astype(int).clip(0, 255)]
    if quality is None:
        return pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer))
