"""One spectrogram after the other, from its file to [-1, 1] at the wanted size, as the plan says."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdgen.data.importing.formats import Source
from mdgen.data.importing.survey import Plan, is_picture, read_plane, spectrogram_name
from mdgen.data.rendering import Rendering, resize_area, undo_rendering
from mdgen.data.stacks import Stack, to_levels, unit_to_levels
from mdgen.errors import MdgenError

#: The files that hold all pictures, and the strips in which recordings are searched.
STACK, STRIPS = "images.npy", "strips.npy"


class Address(NamedTuple):
    """Row of a listing and where it lies: file, array inside it ("": none), entry of that (-1: all)."""

    row: int
    file: str
    member: str
    entry: int


class Fact(NamedTuple):
    """What became of a row. check: CRC-32 of its picture and strip. Columns of the manifest. error: why it failed."""

    row: int
    check: int = 0
    residual: float = np.nan
    native_columns: float = np.nan
    db_min: float = np.nan
    db_max: float = np.nan
    error: str = ""


class _Converted(NamedTuple):
    """picture and strip: what is stored of a spectrogram. facts: the fields of `Fact` from `residual` on, as known."""

    picture: np.ndarray
    strip: np.ndarray
    facts: tuple[float, ...] = ()


class Converter:
    """Converts rows of a listing into the stacks of the folder `out`. Holds one file at a time."""

    def __init__(self, root: Path, plan: Plan, out: Path) -> None:
        self.source, self.plan = Source(root), plan
        self.stack, self.strips = Stack(out / STACK), Stack(out / STRIPS)
        self._convert = {"picture": self._picture, "colour": self._colours, "array": self._array}[plan.kind]

    def convert(self, address: Address) -> Fact:
        """Store the spectrogram of `address` under its row; an unreadable one is a fact too."""
        try:
            values = read_plane(self.source, address)
        except MdgenError as error:
            return Fact(address.row, error=str(error))
        try:
            done = self._convert(self._of_kind(values))
        except MdgenError as error:
            return Fact(address.row, error=f"{self.source.root}/{spectrogram_name(address)}: {error}")
        check = 0
        for stack, part in ((self.stack, done.picture), (self.strips, done.strip)):
            stored = np.ascontiguousarray(part)
            stack.write(address.row, stored)
            check = zlib.crc32(stored, check)
        return Fact(address.row, check, *done.facts)  # type: ignore[arg-type]

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

    def _array(self, values: np.ndarray) -> _Converted:
        plan, unknown = self.plan, float("nan")
        assert plan.scale is not None
        try:
            scaled, low, high = plan.scale.apply(plan.orientation.apply(values))
        except MdgenError as error:
            raise MdgenError(f"{error}; import it separately, or give --scale") from error
        picture = to_levels(resize_area(scaled, *plan.result_shape), self.stack.dtype)
        strip = to_levels(resize_area(scaled, *plan.strip_shape), self.strips.dtype)
        return _Converted(picture, strip, (unknown, unknown, low, high))

    def _picture(self, values: np.ndarray) -> _Converted:
        plan = self.plan
        assert plan.rendering is not None
        box = plan.boxes.get(values.shape[:2])
        pixels = plan.orientation.apply(values if box is None else box.cut(values))
        simple = Rendering(plan.rendering.colormap)
        plot = undo_rendering(pixels, plan.rendering if values.shape[:2] == plan.shape else simple)
        strip = unit_to_levels(plot.resized(*plan.strip_shape), self.strips.dtype)
        columns = float("nan") if plot.columns is None else plot.columns.count
        if pixels.dtype == self.stack.dtype and pixels.shape == plan.result_shape:
            return _Converted(pixels, strip, (0.0, columns))
        if plot.has_cells and (plan.size is None or min(pixels.shape[:2]) <= plan.size):  # not made smaller: kept
            plot = undo_rendering(pixels, simple)
        picture = unit_to_levels(plot.resized(*plan.result_shape), self.stack.dtype)
        return _Converted(picture, strip, (plot.residual, columns))

    def _colours(self, values: np.ndarray) -> _Converted:
        height, width, _ = self.plan.result_shape
        if values.shape[:2] != (height, width):
            channels = [resize_area(values[..., c], height, width) for c in range(3)]
            values = np.round(np.stack(channels, axis=-1)).astype(np.uint8)
        return _Converted(values, np.empty((0, 0), np.uint8))


_worker: Converter | None = None


def start_worker(root: Path, plan: Plan, out: Path) -> None:
    """Give this process its converter."""
    global _worker
    _worker = Converter(root, plan, out)


def convert_rows(addresses: Iterable[Address]) -> list[Fact]:
    """Convert in a process that was given a converter."""
    assert _worker is not None
    return [_worker.convert(address) for address in addresses]
