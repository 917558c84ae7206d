"""Pictures of one size in one `.npy` file: written in any order, read a few at a time, opened by NumPy as any array."""

from __future__ import annotations

import math
import os
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib import format as npy

from mdgen.data.images import write_png
from mdgen.errors import MdgenError

#: What [-1, 1] is stored as: integers from 0 (-1) to their largest (+1), or the numbers themselves.
DTYPES = ("uint8", "uint16", "float32")


class Stack:
    """A file of pictures [N, H, W] or, in colour, [N, H, W, 3]; reading takes no more memory than what is asked for."""

    def __init__(self, file: Path) -> None:
        """Open a file; raises `MdgenError` where it is no stack of pictures."""
        self.file = file
        try:
            self._descriptor = os.open(file, os.O_RDWR if os.access(file, os.W_OK) else os.O_RDONLY)
            with open(file, "rb") as stream:
                version = npy.read_magic(stream)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                self.stored_shape, fortran, self.dtype = read(stream)
                self._offset = stream.tell()
        except (OSError, ValueError) as error:
            raise MdgenError(f"{file}: cannot be read as a .npy array ({error}); restore or replace it") from error
        colour = len(self.stored_shape) == 4 and self.stored_shape[3] == 3
        if fortran or self.dtype.name not in DTYPES or not (colour or len(self.stored_shape) == 3):
            raise MdgenError(
                f"{file}: {self.stored_shape} of {self.dtype} is no stack of pictures; need [N, H, W] or [N, H, W, 3] "
                f"of {', '.join(DTYPES)}"
            )

    @classmethod
    def create(cls, file: Path, shape: tuple[int, ...], dtype: np.dtype) -> Stack:
        """A new file of `shape` [N, H, W] or [N, H, W, 3], all zeros; what is not written takes no room on the disk."""
        with open(file, "wb") as stream:
            npy.write_array_header_1_0(
                stream, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            )
            stream.truncate(stream.tell() + int(np.prod(shape)) * dtype.itemsize)
        return cls(file)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        count, height, width, *channels = self.stored_shape
        return count, (channels or [1])[0], height, width

    def __len__(self) -> int:
        return self.stored_shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), C, H, W] in [-1, 1]; raises `MdgenError` for rows that are not there."""
        runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
        data = b"".join(self.bytes_of(int(run[0]), len(run)) for run in runs if len(run))
        levels = np.frombuffer(data, self.dtype).reshape(len(rows), *self.stored_shape[1:])
        levels = levels.transpose(0, 3, 1, 2) if levels.ndim == 4 else levels[:, None]
        return levels.astype(np.float32) if levels.dtype.kind == "f" else from_levels(levels)

    def bytes_of(self, row: int, count: int = 1) -> bytes:
        """What is stored of `count` pictures from `row` on."""
        size = math.prod(self.stored_shape[1:]) * self.dtype.itemsize
        inside = 0 <= row <= len(self) - count
        data = os.pread(self._descriptor, count * size, self._offset + row * size) if inside else b""
        if len(data) != count * size:
            raise MdgenError(f"{self.file}: has no whole picture {row}; it holds {len(self)}: restore or replace it")
        return data

    def levels(self, row: int) -> np.ndarray:
        """[H, W] or [H, W, 3] of the stack's type: picture `row` as it is stored."""
        return np.frombuffer(self.bytes_of(row), self.dtype).reshape(self.stored_shape[1:])

    def write(self, row: int, picture: np.ndarray) -> None:
        """Store [H, W] or [H, W, 3] of the stack's type as number `row`."""
        left, place = memoryview(picture.reshape(-1).view(np.uint8)), self._offset + row * picture.nbytes
        while left:  # where the disk ends a part is written, and the next call raises `OSError`
            written = os.pwrite(self._descriptor, left, place)
            left, place = left[written:], place + written

    def close(self, sync: bool = False) -> None:
        """sync: wait until everything is on the disk."""
        if sync:
            os.fsync(self._descriptor)
        os.close(self._descriptor)


def one_file_each(folder: Path, table: pd.DataFrame, images: str = "images") -> pd.DataFrame:
    """`table` with the pictures it names in stacks of `folder` written to files of their own; the stacks go.

    Gray integers become PNGs of 8 or 16 bits, floats and colours `.npy`: nothing is lost. Files are numbered, so that
    no name becomes a path. One stack is open at a time: there may be more of them than a process may open.
    """
    names, _, rows = (column for _, column in table["file"].str.partition("#").items())
    (folder / images).mkdir(exist_ok=True)
    width = max(5, len(str(len(table))))
    files: list[str] = []
    for name, same in groupby(zip(names, rows, strict=True), key=itemgetter(0)):
        stack = Stack(folder / name)
        for _, row in same:
            files.append(_write_file(folder, f"{images}/{len(files):0{width}d}", stack.levels(int(row))))
        stack.close()
    for name in names.unique():
        (folder / name).unlink()
    return table.assign(file=files)


def _write_file(folder: Path, name: str, levels: np.ndarray) -> str:
    if levels.ndim == 3:  # a PNG of three equal channels is read as gray
        levels = from_levels(levels.transpose(2, 0, 1))
    if levels.dtype.kind == "f":
        np.save(folder / f"{name}.npy", levels)
        return f"{name}.npy"
    write_png(folder / f"{name}.png", levels)
    return f"{name}.png"


def from_levels(levels: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] of unsigned integers."""
    return levels * np.float32(2 / np.iinfo(levels.dtype).max) - 1


def to_levels(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """[-1, 1] as what a stack of `dtype` holds: the nearest level, or float32."""
    return np.asarray(image, dtype) if dtype.kind == "f" else unit_to_levels(((image + 1) * 0.5).clip(0, 1), dtype)


def unit_to_levels(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Unsigned integers nearest to `values`, of which 1 is the largest."""
    return np.rint(values * np.float32(np.iinfo(dtype).max)).astype(dtype)
