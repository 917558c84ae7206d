"""MATLAB files before v7.3, through scipy: variables, and what lies in nested structs and cells (`a.b{3}`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from mdgen.data.importing.formats.base import LAST_AXIS, MAX_WHOLE_BYTES, ArrayInfo, Container
from mdgen.data.importing.formats.hdf5 import Matlab73File
from mdgen.data.importing.formats.matlab5_check import check_matlab5
from mdgen.errors import MdgenError

_MAX_DEPTH = 8


def open_matlab(file: Path) -> Container:
    """The reader for the version `file` is written in."""
    return Matlab73File(file) if h5py.is_hdf5(file) else Matlab5File(file)


class Matlab5File(Container):
    """Versions 4 to 7. These can only be read a variable at a time; nested ones are read to know what they hold."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        check_matlab5(file)
        self._variables = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(file)}
        self._loaded: dict[str, np.ndarray] = {}

    def arrays(self) -> dict[str, ArrayInfo]:
        found = {}
        for name, (shape, kind) in self._variables.items():
            if kind in ("struct", "cell"):
                found.update({path: ArrayInfo(a.shape, a.dtype.kind) for path, a in self._nested(name).items()})
            elif kind in _KINDS:
                found[name] = ArrayInfo(tuple(shape), _KINDS[kind])
        return found

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        last, name = name.endswith(LAST_AXIS), name.removesuffix(LAST_AXIS)
        root = name.split(".")[0].split("{")[0]
        array = self._nested(root)[name] if root != name else self._variable(name)
        if last:
            array = np.moveaxis(array, -1, 0)
        self.check_size(array.shape, index)
        return np.asarray(array if index is None else array[index])

    def _nested(self, root: str) -> dict[str, np.ndarray]:
        return dict(_flatten(root, self._variable(root)))

    def _variable(self, name: str) -> np.ndarray:
        if name not in self._loaded:
            shape, _ = self._variables[name]
            if np.prod(shape, dtype=float) * 8 > MAX_WHOLE_BYTES:
                raise MdgenError(f"{self.file}: {name} of shape {shape} is too large; save it with -v7.3")
            self._loaded = {name: scipy.io.loadmat(self.file, variable_names=[name])[name]}
        return self._loaded[name]


_KINDS = {"double": "f", "single": "f", "char": "U", "logical": "u"}
_KINDS |= {f"{sign}int{bits}": sign[:1] or "i" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def _flatten(path: str, value: Any, depth: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """(`a.b{3}`, array) of every numeric or text array inside structs and cells; cells count from 0."""
    if depth > _MAX_DEPTH or not isinstance(value, np.ndarray):
        return
    if value.dtype.names:
        for i, entry in enumerate(value.ravel()):
            place = path if value.size == 1 else f"{path}{{{i}}}"
            for field in value.dtype.names:
                yield from _flatten(f"{place}.{field}", entry[field], depth + 1)
    elif value.dtype == object:
        for i, entry in enumerate(value.ravel(order="F")):
            yield from _flatten(path if value.size == 1 else f"{path}{{{i}}}", entry, depth + 1)
    elif value.size and value.dtype.kind in "fcuibU":
        yield path, value
