"""WebDataset shards: a `.npy` picture and a `.json` of labels per sample. A shard is read whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mdgen.data.formats import read_container
from mdgen.data.importing.formats.base import MAX_WHOLE_BYTES, ArrayInfo, Container
from mdgen.errors import MdgenError


class TarFile(Container):
    """The array `images` and the columns of labels beside it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        if file.stat().st_size > MAX_WHOLE_BYTES:
            raise MdgenError(f"{file}: is too large to be read whole; write smaller shards")
        images, table = read_container(file)
        self._arrays = {"images": images, **{key: table[key].to_numpy(np.str_) for key in table.columns}}

    def arrays(self) -> dict[str, ArrayInfo]:
        return {name: ArrayInfo(array.shape, array.dtype.kind) for name, array in self._arrays.items()}

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        self.check_size(self._arrays[name].shape, index)
        return self._arrays[name] if index is None else self._arrays[name][index]
