"""Which images are the very same picture, pixel by pixel? One hash an image, so that many are compared at once.

Overlap or likeness never makes two windows equal in every pixel; copies in disguise are for `copies` to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd


def picture_hashes(images: np.ndarray) -> np.ndarray:
    """uint64 [N]: equal where images [N, C, H, W] in [-1, 1] are equal when rounded to 8 bit."""
    digests = (blake2b(_in_8_bit(image).tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), np.uint64)


def repeated(images: np.ndarray, users: Sequence[str] | np.ndarray) -> np.ndarray:
    """bool [N]: rows that are the very picture of another row of the same of `users` [N]."""
    table = pd.DataFrame({"user": users, "picture": picture_hashes(images)})
    return table.duplicated(keep=False).to_numpy()


def unmistakable(images: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Hashes, uint64 [M], of those `images` that nobody writes by chance or has from `known`: of more levels than one,
    and none of `known`."""
    varied = np.array([np.ptp(_in_8_bit(image)) > 0 for image in images], bool)
    return np.setdiff1d(picture_hashes(images)[varied], picture_hashes(known))


def _in_8_bit(image: np.ndarray) -> np.ndarray:
    return np.round((image + 1) * 127.5).clip(0, 255).astype(np.uint8)
