"""One spectrogram after the other, from its file to [-1, 1] at the wanted size, as the plan says."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdgen.data.colormaps import Rendering, resize_area, undo_rendering
from mdgen.data.importing.formats import Source
from mdgen.data.importing.survey import Plan, is_picture, read_plane, spectrogram_name
from mdgen.data.stacks import Stack, to_levels
from mdgen.errors import MdgenError

#: The file of a data set that holds its pictures.
STACK = "images.npy"


class Address(NamedTuple):
    """Row of a listing and where it lies: file, array inside it ("": none), entry of that (-1: all)."""

    row: int
    file: str
    member: str
    entry: int


class Fact(NamedTuple):
    """What became of a row. check: CRC-32 of what was stored; columns of the manifest; error: why it was left out."""

    row: int
    check: int = 0
    residual: float = np.nan
    native_columns: float = np.nan
    db_min: float = np.nan
    db_max: float = np.nan
    error: str = ""


class Converter:
    """Converts rows of a listing into the stack of the folder `out`. Holds one file at a time."""

    def __init__(self, root: Path, plan: Plan, out: Path) -> None:
        self.source, self.plan = Source(root), plan
        self.stack = Stack(out / STACK)

    def convert(self, address: Address) -> Fact:
        """Store the spectrogram of `address` under its row; an unreadable one is a fact too."""
        try:
            values = read_plane(self.source, address)
        except MdgenError as error:
            return Fact(address.row, error=str(error))
        try:
            levels, facts = self._levels(self._of_kind(values))
        except MdgenError as error:
            return Fact(address.row, error=f"{self.source.root}/{spectrogram_name(address)}: {error}")
        levels = np.ascontiguousarray(levels)
        self.stack.write(address.row, levels)
        return Fact(address.row, zlib.crc32(levels), *facts)  # type: ignore[arg-type]

    def _of_kind(self, values: np.ndarray) -> np.ndarray:
        """`values`, if they are of the plan's kind: colours are not gray levels, nor pictures numbers."""
        if self.plan.size is None and values.shape[:2] != self.plan.shape:
            height, width = self.plan.shape
            raise MdgenError(f"is {values.shape[1]}x{values.shape[0]} but others are {width}x{height}; give a --size")
        if self.plan.kind == "colour":
            return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
        if is_picture(values) != (self.plan.kind == "picture"):
            raise MdgenError(f"is not of the kind most others are ({self.plan.kind}s); import it separately")
        rendering = self.plan.rendering
        if rendering is not None and (values.ndim == 3) != (rendering.colormap is not None):
            kind, others = ("coloured", "gray") if values.ndim == 3 else ("gray", "coloured")
            raise MdgenError(f"is {kind} but most other pictures are {others}; import the two kinds separately")
        return values

    def _levels(self, values: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
        """(what is stored, (residual, native columns, db_min, db_max) as far as known)."""
        plan, nothing = self.plan, float("nan")
        dtype = self.stack.dtype
        if plan.kind == "colour":
            return self._colours(values), ()
        if plan.scale is not None:
            try:
                scaled, low, high = plan.scale.apply(plan.orientation.apply(values))
            except MdgenError as error:
                raise MdgenError(f"{error}; import it separately, or give --scale") from error
            return to_levels(self._resized(scaled), dtype), (nothing, nothing, low, high)
        box = plan.boxes.get(values.shape[:2])
        pixels = plan.orientation.apply(values if box is None else box.cut(values))
        if pixels.dtype == dtype and pixels.shape == plan.result_shape:
            return pixels, (0.0,)
        assert plan.rendering is not None
        usual = values.shape[:2] == plan.shape
        rendering = plan.rendering if usual else Rendering(plan.rendering.colormap)
        image, residual, columns = undo_rendering(pixels, rendering, plan.size)
        return to_levels(image * 2 - 1, dtype), (residual, columns)

    def _colours(self, values: np.ndarray) -> np.ndarray:
        size = self.plan.size
        if size is None or values.shape[:2] == (size, size):
            return values
        channels = [resize_area(values[..., c], size) for c in range(3)]
        return np.round(np.stack(channels, axis=-1)).astype(np.uint8)

    def _resized(self, values: np.ndarray) -> np.ndarray:
        return values if self.plan.size is None else resize_area(values, self.plan.size)


_worker: Converter | None = None


def start_worker(root: Path, plan: Plan, out: Path) -> None:
    """Give this process its converter."""
    global _worker
    _worker = Converter(root, plan, out)


def convert_rows(addresses: Iterable[Address]) -> list[Fact]:
    """Convert in a process that was given a converter."""
    assert _worker is not None
    return [_worker.convert(address) for address in addresses]
