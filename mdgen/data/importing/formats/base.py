"""What every reader offers, and the limits that keep a lying header from filling the memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdgen.errors import MdgenError

#: One spectrogram of more values than this (4096 x 4096) is a mistake, or a bomb.
MAX_VALUES = 2**24
#: Largest variable of a format that can only be read whole (MATLAB v5, text).
MAX_WHOLE_BYTES = 2**31
#: After an array's name: its entries lie along the last axis, as MATLAB keeps them.
LAST_AXIS = "@last"


@dataclass(frozen=True)
class ArrayInfo:
    """An array inside a file, unread. kind: numpy's kind of its values ("f", "c", "u", "i", "b", or "U" for text)."""

    shape: tuple[int, ...]
    kind: str

    @property
    def is_numeric(self) -> bool:
        return self.kind in "fcuib"


class Container(ABC):
    """One file (or a folder that belongs together) with named arrays. Readers may raise anything on broken files:
    `formats` turns it into one line."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @abstractmethod
    def arrays(self) -> dict[str, ArrayInfo]:
        """Name and shape of every numeric or text array, without reading their values."""

    @abstractmethod
    def read(self, name: str, index: int | None = None) -> np.ndarray:
        """The array `name`, or entry `index` of its first axis (of its last, where the name ends in `LAST_AXIS`)."""

    def close(self) -> None:
        """Let go of the file."""
        return

    def check_size(self, shape: tuple[int, ...], index: int | None) -> None:
        """Raise `MdgenError` where reading would take more than any spectrogram or table of labels does."""
        values = int(np.prod(shape if index is None else shape[1:], dtype=float))
        if values > MAX_VALUES:
            raise MdgenError(f"{self.file}: an array of shape {shape} is more than a spectrogram; choose with --array")
