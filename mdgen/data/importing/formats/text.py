"""Matrices as text (`.csv`, `.tsv`, `.txt`): one number per cell; comma, semicolon, tab or blanks between."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from mdgen.data.importing.formats.base import ArrayInfo, Container
from mdgen.errors import MdgenError

_MAX_BYTES = 2**28


class TextMatrix(Container):
    """A first line of names is left out. `arrays` reads the file: a text says its size nowhere."""

    def arrays(self) -> dict[str, ArrayInfo]:
        values = self.read("")
        return {"": ArrayInfo(values.shape, values.dtype.kind)}

    def read(self, name: str, index: int | None = None) -> np.ndarray:
        if self.file.stat().st_size > _MAX_BYTES:
            raise MdgenError(f"{self.file}: is too large for a matrix as text; save it as .npy")
        with open(self.file, encoding="utf-8-sig", errors="strict") as stream:
            first = stream.readline()
        separator = next((s for s in (";", "\t", ",") if s in first), r"\s+")
        header = 0 if re.search(r"[A-Za-z]", re.sub(r"(?i)nan|inf|\d[eij]", "", first)) else None
        table = pd.read_csv(
            self.file, sep=separator, header=header, dtype=str, encoding="utf-8-sig", decimal="."
        ).dropna(axis=1, how="all")
        if separator == ";":
            table = table.apply(lambda column: column.str.replace(",", ".", regex=False))
        return table.apply(pd.to_numeric).to_numpy(np.float64)
