"""One way to read all formats: `open_container(file)` and `read_values(file, name, index)`.

Whatever a broken file makes a parser raise ends here as one line: this is the only place that catches everything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mdgen.data.images import read_pixels
from mdgen.data.importing.formats.base import ArrayInfo, Container
from mdgen.errors import MdgenError

__all__ = ["FAMILIES", "ArrayInfo", "Container", "Source", "family_of"]

#: Family of formats by suffix. A source holds one family; tables of text are a manifest or, alone, matrices.
FAMILIES = {
    "pictures": (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
    "npy": (".npy",),
    "npz": (".npz",),
    "mat": (".mat",),
    "hdf5": (".h5", ".hdf5", ".hdf", ".he5"),
    "tar": (".tar",),
    "idx": (),
    "text": (".csv", ".tsv", ".txt"),
}
_OF_SUFFIX = {suffix: family for family, suffixes in FAMILIES.items() for suffix in suffixes}


def family_of(name: str) -> str | None:
    """The family of a file by its name, None for what is no data."""
    if name.removesuffix(".gz").endswith("-ubyte"):
        return "idx"
    return _OF_SUFFIX.get(name[name.rfind(".") :].lower())


class Source:
    """Reads spectrograms of files below `root`, keeping the last container open for the next entry."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: tuple[Path, Container] | None = None

    def arrays(self, file: str) -> dict[str, ArrayInfo]:
        """What lies in a container, unread."""
        return _guarded(self.root / file, lambda: self._container(self.root / file).arrays())

    def read(self, file: str, name: str = "", index: int = -1) -> np.ndarray:
        """One array, or entry `index` (>= 0) of a stack. Raises `MdgenError` for whatever cannot be read."""
        if family_of(file) == "pictures":
            picture = f"{self.root}/{file}"
            return _guarded(picture, lambda: read_pixels(picture))
        path = self.root / file
        return _guarded(path, lambda: self._container(path).read(name, None if index < 0 else index))

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
        self._open = None

    def _container(self, path: Path) -> Container:
        if self._open is None or self._open[0] != path:
            self.close()
            self._open = (path, _open_container(path))
        return self._open[1]


def _open_container(path: Path) -> Container:
    from mdgen.data.importing.formats.idx import IdxFolder, is_idx
    from mdgen.data.importing.formats.numpy_files import NpyFile, NpyFolder, NpzFile
    from mdgen.data.importing.formats.tar import TarFile
    from mdgen.data.importing.formats.text import TextMatrix

    if path.is_dir():
        return IdxFolder(path) if any(is_idx(f.name) for f in path.iterdir()) else NpyFolder(path)
    if not path.is_file():
        raise FileNotFoundError(path)
    family = family_of(path.name)
    if family == "mat":
        from mdgen.data.importing.formats.matlab import open_matlab

        return open_matlab(path)
    if family == "hdf5":
        from mdgen.data.importing.formats.hdf5 import Hdf5File

        return Hdf5File(path)
    readers: dict[str, Callable[[Path], Container]] = {
        "npy": NpyFile,
        "npz": NpzFile,
        "tar": TarFile,
        "text": TextMatrix,
    }
    return readers[family or ""](path)


def _guarded(path: str | Path, read: Callable):
    try:
        return read()
    except MdgenError as error:
        raise error if str(path) in str(error) else MdgenError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise MdgenError(f"{path}: is missing; restore it or leave it out") from error
    except PermissionError as error:
        raise MdgenError(f"{path}: may not be read; change its permissions") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise MdgenError(f"{path}: cannot be read ({reason}); replace or remove it") from error
