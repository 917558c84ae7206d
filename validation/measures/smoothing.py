"""Gaussian smoothing of small pictures as two matrix products: what `scipy.ndimage` computes, several times faster."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter1d


def gaussian(images: np.ndarray, sigma: float) -> np.ndarray:
    """`scipy.ndimage.gaussian_filter` with `sigma` pixels over the last two axes, edges reflected: same shape, type."""
    height, width = images.shape[-2:]
    return along_columns(height, sigma, images.dtype.str) @ images @ along_columns(width, sigma, images.dtype.str).T


@lru_cache(maxsize=32)
def along_columns(length: int, sigma: float, dtype: str) -> np.ndarray:
    """[length, length]: the matrix that smooths a column of `length` pixels."""
    return gaussian_filter1d(np.eye(length), sigma, axis=0).astype(dtype)
