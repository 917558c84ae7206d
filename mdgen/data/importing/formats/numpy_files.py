"""`.npy` and `.npz`, without pickles and without loading a whole stack; and folders of arrays that belong together."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from mdgen.data.importing.formats.base import LAST_AXIS, ArrayInfo, Container
from mdgen.errors import MdgenError


class NpyFile(Container):
    """One array, mapped into memory, so that a stack larger than the memory can be read entry by entry."""

    def arrays(self) -> dict[str, ArrayInfo]:
        array = self._open()
        return {"": ArrayInfo(array.shape, array.dtype.kind)}

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        array = self._open()
        if name == LAST_AXIS:
            array = np.moveaxis(array, -1, 0)
        self.check_size(array.shape, index)
        return np.array(array if index is None else array[index])

    def _open(self) -> np.ndarray:
        return np.load(self.file, mmap_mode="r", allow_pickle=False)


class NpyFolder(Container):
    """The `.npy` files of one folder as one set of arrays: `X.npy` beside `y.npy`."""

    def arrays(self) -> dict[str, ArrayInfo]:
        return {file.stem: NpyFile(file).arrays()[""] for file in sorted(self.file.glob("*.npy"))}

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        last = LAST_AXIS if name.endswith(LAST_AXIS) else ""
        return NpyFile(self.file / f"{name.removesuffix(LAST_AXIS)}.npy").read(last, index)


class NpzFile(Container):
    """Arrays in a zip. Stacks are read forward, entry by entry: compressed ones cannot be mapped."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._zip = zipfile.ZipFile(file)
        self._stack: _Stack | None = None

    def arrays(self) -> dict[str, ArrayInfo]:
        found = {}
        for member in self._zip.namelist():
            if member.endswith(".npy"):
                with self._zip.open(member) as stream:
                    shape, _, dtype = _header(stream)
                found[member.removesuffix(".npy")] = ArrayInfo(shape, dtype.kind)
        return found

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        if index is None:
            with self._zip.open(f"{name}.npy") as stream:
                self.check_size(_header(stream)[0], None)
            with self._zip.open(f"{name}.npy") as stream:
                return npy.read_array(stream, allow_pickle=False)
        if self._stack is None or self._stack.name != name or self._stack.next > index:
            self._close_stack()
            self._stack = _Stack(self._zip.open(f"{name}.npy"), name)
            self.check_size(self._stack.shape, 0)
        return self._stack.entry(index)

    def close(self) -> None:
        self._close_stack()
        self._zip.close()

    def _close_stack(self) -> None:
        if self._stack is not None:
            self._stack.stream.close()
        self._stack = None


class _Stack:
    """A C-ordered array read from a stream, forward only."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.stream, self.name, self.next = stream, name, 0
        self.shape, fortran, self.dtype = _header(stream)
        if fortran and len(self.shape) > 1:
            raise MdgenError(f"array {name}: is stored column by column; save it anew with np.ascontiguousarray")
        self._bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def entry(self, index: int) -> np.ndarray:
        while self.next < index:
            self._take()
        return np.frombuffer(self._take(), self.dtype).reshape(self.shape[1:]).copy()

    def _take(self) -> bytes:
        data = self.stream.read(self._bytes)
        if len(data) != self._bytes:
            raise EOFError("the array ends early")
        self.next += 1
        return data


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise MdgenError("an array of Python objects is never read; save numbers")
    return shape, fortran, dtype
