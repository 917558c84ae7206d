"""One spectrogram after the other, from its file to [-1, 1] at the wanted size, as the plan says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mdgen.data.colormaps import Rendering, resize_area, undo_rendering
from mdgen.data.images import to_levels16, write_levels
from mdgen.data.importing.formats import Source
from mdgen.data.importing.survey import Plan, is_picture, read_plane, spectrogram_name
from mdgen.errors import MdgenError


class Fact(NamedTuple):
    """What became of a row: file (in the data set, "" = left out), columns of the manifest, or the error."""

    row: int
    file: str = ""
    residual: float = np.nan
    native_columns: float = np.nan
    db_min: float = np.nan
    db_max: float = np.nan
    error: str = ""


#: In the folder of an unfinished import: the windows as they are, to be looked through for overlaps.
STORE = "windows.u16"


class WindowStore:
    """Windows [H, W] of equal size on a disk, 16 bits a pixel, read a few at a time."""

    def __init__(self, file: Path, shape: tuple[int, int] = (0, 0), rows: np.ndarray | None = None) -> None:
        """shape: of a window; rows: which of the stored windows this stands for (both needed for reading only)."""
        self.file, self._rows = file, np.arange(0) if rows is None else rows
        self._shape, self._descriptor = shape, -1

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), 1, *self._shape)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), 1, H, W] in [-1, 1]."""
        size = 2 * self._shape[0] * self._shape[1]
        parts = [os.pread(self._open(), size, int(row) * size) for row in self._rows[rows]]
        levels = np.frombuffer(b"".join(parts), np.uint16).reshape(len(parts), 1, *self._shape)
        return levels * np.float32(2 / 65535) - 1

    def write(self, row: int, levels: np.ndarray) -> None:
        """Store uint16 [H, W] as window `row`."""
        os.pwrite(self._open(), levels.tobytes(), row * levels.nbytes)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _open(self) -> int:
        if self._descriptor < 0:
            self._descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o644)
        return self._descriptor


class Converter:
    """Converts rows of a listing and writes them below `out`. Holds one file at a time."""

    def __init__(self, root: Path, plan: Plan, size: int | None, out: Path) -> None:
        self.source, self.plan, self.size, self.out = Source(root), plan, size, out
        self.store = WindowStore(out / STORE)

    def convert(self, row: int, entry) -> Fact:
        """Write the spectrogram of `entry` (a row of the listing) as number `row`; an unreadable one is a fact too."""
        file = f"images/{row:06d}.png"
        try:
            name = f"{self.source.root}/{spectrogram_name(entry)}"
            image, facts = self._scaled(self._of_kind(read_plane(self.source, entry), name), name)
        except MdgenError as error:
            return Fact(row, error=str(error))
        if image.ndim == 3:
            file = file.replace(".png", ".npy")  # a gray picture among colours would come back with one channel
            np.save(f"{self.out}/{file}", image.transpose(2, 0, 1) * np.float32(2 / 255) - 1)
        else:
            levels = to_levels16(image)
            self.store.write(row, levels)
            write_levels(f"{self.out}/{file}", levels)
        return Fact(row, file, *facts)

    def _of_kind(self, values: np.ndarray, name: str) -> np.ndarray:
        """`values`, if they are of the plan's kind: colours are not gray levels, nor pictures numbers."""
        if self.plan.kind == "colour":
            return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
        if is_picture(values) != (self.plan.kind == "picture"):
            raise MdgenError(f"{name}: is not of the kind most others are ({self.plan.kind}s); import it separately")
        rendering = self.plan.rendering
        if rendering is not None and (values.ndim == 3) != (rendering.colormap is not None):
            kind, others = ("coloured", "gray") if values.ndim == 3 else ("gray", "coloured")
            raise MdgenError(f"{name}: is {kind} but most other pictures are {others}; import the two kinds separately")
        if self.size is None and values.shape[:2] != self.plan.shape:
            height, width = self.plan.shape
            raise MdgenError(
                f"{name}: is {values.shape[1]}x{values.shape[0]} but others are {width}x{height}; give a --size"
            )
        return values

    def _scaled(self, values: np.ndarray, name: str) -> tuple[np.ndarray, tuple[float, float, float, float]]:
        """(float32 [H, W] in [-1, 1] or uint8 [H, W, 3], (residual, native columns, db_min, db_max))."""
        plan, nothing = self.plan, float("nan")
        if plan.kind == "colour":
            return self._colours(values), (nothing,) * 4
        if plan.scale is not None:
            try:
                scaled, low, high = plan.scale.apply(plan.orientation.apply(values))
            except MdgenError as error:
                raise MdgenError(f"{name}: {error}; import it separately, or give --scale") from error
            return self._resized(scaled), (nothing, nothing, low, high)
        box = plan.boxes.get(values.shape[:2])
        pixels = plan.orientation.apply(values if box is None else box.cut(values))
        assert plan.rendering is not None
        usual = values.shape[:2] == plan.shape
        image, residual, columns = undo_rendering(
            pixels, plan.rendering if usual else Rendering(plan.rendering.colormap), self.size
        )
        return image * 2 - 1, (residual, columns, nothing, nothing)

    def _colours(self, values: np.ndarray) -> np.ndarray:
        if self.size is None or values.shape[:2] == (self.size, self.size):
            return np.ascontiguousarray(values)
        channels = [resize_area(values[..., c], self.size) for c in range(3)]
        return np.round(np.stack(channels, axis=-1)).astype(np.uint8)

    def _resized(self, values: np.ndarray) -> np.ndarray:
        return values if self.size is None else resize_area(values, self.size)


_worker: Converter | None = None


def start_worker(root: Path, plan: Plan, size: int | None, out: Path) -> None:
    """Give this process its converter."""
    global _worker
    _worker = Converter(root, plan, size, out)


def convert_rows(rows: pd.DataFrame) -> list[Fact]:
    """Convert `rows` of the listing (indexed by row number) in a process that was given a converter."""
    assert _worker is not None
    return [_worker.convert(int(entry.Index), entry) for entry in rows.itertuples()]  # type: ignore[arg-type]
