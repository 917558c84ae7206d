"""IDX (LeCun's MNIST format), plain or gzipped: `train-images-idx3-ubyte` beside `train-labels-idx1-ubyte`."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO

import numpy as np

from mdgen.data.importing.formats.base import ArrayInfo, Container

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class IdxFolder(Container):
    """The IDX files of a folder as one set of arrays, named without `-idx3-ubyte`. Read forward, entry by entry."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._files = {f.name.split("-idx")[0]: f for f in sorted(file.iterdir()) if is_idx(f.name)}
        self._open: tuple[str, IO[bytes], int] | None = None
        self._headers: dict[str, tuple[tuple[int, ...], np.dtype]] = {}

    def arrays(self) -> dict[str, ArrayInfo]:
        found = {}
        for name in self._files:
            shape, dtype = self._header(name)
            found[name] = ArrayInfo(shape, dtype.kind)
        return found

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        shape, dtype = self._header(name)
        self.check_size(shape, index)
        if index is None:
            with _stream(self._files[name]) as stream:
                _header(stream)
                return np.frombuffer(stream.read(), dtype).reshape(shape)
        entry = int(np.prod(shape[1:])) * dtype.itemsize
        stream = self._at(name, 4 + 4 * len(shape) + index * entry)
        data = stream.read(entry)
        self._open = (name, stream, 4 + 4 * len(shape) + (index + 1) * entry)
        return np.frombuffer(data, dtype).reshape(shape[1:])

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        if name not in self._headers:
            with _stream(self._files[name]) as stream:
                self._headers[name] = _header(stream)
        return self._headers[name]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()

    def _at(self, name: str, offset: int) -> IO[bytes]:
        if self._open is None or self._open[0] != name:
            self.close()
            self._open = (name, _stream(self._files[name]), 0)
        stream = self._open[1]
        if self._open[2] != offset:
            stream.seek(offset)
        return stream


def is_idx(name: str) -> bool:
    return name.removesuffix(".gz").endswith("-ubyte") and "-idx" in name


def _stream(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.suffix == ".gz" else open(file, "rb")  # type: ignore[return-value]


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise ValueError("not an IDX file")
    shape = tuple(int(n) for n in np.frombuffer(stream.read(4 * magic[3]), ">u4"))
    return shape, np.dtype(_TYPES[magic[2]])
