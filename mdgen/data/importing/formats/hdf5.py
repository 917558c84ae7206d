"""HDF5, and MATLAB v7.3, which is HDF5 with its axes reversed. Objects, references and outer links are left."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from mdgen.data.importing.formats.base import LAST_AXIS, ArrayInfo, Container


class Hdf5File(Container):
    """Datasets by their path, `group/name`."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._h5 = h5py.File(file, "r")

    def arrays(self) -> dict[str, ArrayInfo]:
        found: dict[str, ArrayInfo] = {}
        self._walk(self._h5, "", found, set())
        return found

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        dataset = self._h5[name]
        self.check_size(dataset.shape, index)
        if h5py.check_string_dtype(dataset.dtype):
            return np.asarray(dataset.asstr(errors="replace")[...]).astype(str)
        values = np.asarray(dataset[() if index is None else index])
        return _as_complex(values)

    def close(self) -> None:
        self._h5.close()

    def _walk(self, group: h5py.Group, prefix: str, found: dict[str, ArrayInfo], seen: set[int]) -> None:
        """Fill `found`; hard links may go in circles, links to other files are never followed."""
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            return
        seen.add(address)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink) or name.startswith("#"):
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                self._walk(item, f"{prefix}{name}/", found, seen)
            elif isinstance(item, h5py.Dataset) and item.shape is not None and _kind(item.dtype):
                found[f"{prefix}{name}"] = ArrayInfo(item.shape, _kind(item.dtype))


class Matlab73File(Hdf5File):
    """A `.mat` of version 7.3: MATLAB's first axis is HDF5's last. `index` counts along MATLAB's first axis."""

    def arrays(self) -> dict[str, ArrayInfo]:
        return {name: ArrayInfo(info.shape[::-1], info.kind) for name, info in super().arrays().items()}

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        if index is None:
            return super().read(name).T
        if name.endswith(LAST_AXIS):
            return super().read(name.removesuffix(LAST_AXIS), index).T
        dataset = self._h5[name]
        self.check_size(dataset.shape[::-1], index)
        return _as_complex(np.asarray(dataset[..., index])).T


def _kind(dtype: np.dtype) -> str:
    """The kind of values, "" for what is not numbers or text (objects, references, compounds)."""
    if h5py.check_string_dtype(dtype):
        return "U"
    if dtype.names is not None:
        return "c" if set(dtype.names) == {"real", "imag"} else ""
    return dtype.kind if dtype.kind in "fcuib" and not h5py.check_ref_dtype(dtype) else ""


def _as_complex(values: np.ndarray) -> np.ndarray:
    """MATLAB stores complex numbers as pairs named real and imag."""
    return values["real"] + 1j * values["imag"] if values.dtype.names else values
