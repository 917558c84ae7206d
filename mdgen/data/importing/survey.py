"""A look at some of the spectrograms, from which follows how all of them are converted: the plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from mdgen.data.colormaps import COLORMAPS
from mdgen.data.importing.borders import Box, brightness, find_plot
from mdgen.data.importing.formats import Source
from mdgen.data.importing.layouts import Listing
from mdgen.data.importing.orientation import Orientation, find_orientation
from mdgen.data.importing.problems import Problems
from mdgen.data.importing.scales import Scale, find_scale
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.overlaps import STRIP_COLUMNS, STRIP_ROWS
from mdgen.data.rendering import Rendering, find_rendering
from mdgen.errors import MdgenError

#: Spectrograms looked at to find out how all of them were made.
SAMPLE = 48
_MIN_SIDE = 4


@dataclass(frozen=True)
class Plan:
    """How every spectrogram is converted. kind: pictures (uint8, uint16, colours) or arrays of numbers. rendering: how
    pictures were drawn (None: as they are). boxes: the plot inside pictures of a size. shape: of most samples.
    size: of the result, None keeps it. levels: numpy's name of what the result is stored as. lines: what was concluded.
    unknown: what could not be known."""

    kind: Literal["picture", "colour", "array"]
    shape: tuple[int, int]
    orientation: Orientation
    size: int | None
    levels: str
    rendering: Rendering | None = None
    boxes: dict[tuple[int, int], Box] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    scale: Scale | None = None

    @property
    def result_shape(self) -> tuple[int, ...]:
        """(H, W) or, for natural colours, (H, W, 3) of every result."""
        height, width = _result_size(self.shape, self.boxes, self.orientation, self.size)
        return (height, width, 3) if self.kind == "colour" else (height, width)

    @property
    def strip_shape(self) -> tuple[int, int]:
        """(rows, columns) in which recordings are searched, whatever the size: natural colours are no recordings."""
        if self.kind == "colour":
            return 0, 0
        return STRIP_ROWS, min(STRIP_COLUMNS, _result_size(self.shape, self.boxes, self.orientation, None)[1])


def _result_size(
    shape: tuple[int, int], boxes: dict[tuple[int, int], Box], orientation: Orientation, size: int | None
) -> tuple[int, int]:
    if size is not None:
        return size, size
    height, width = (boxes[shape].height, boxes[shape].width) if shape in boxes else shape
    return (width, height) if orientation.transpose else (height, width)


def survey(listing: Listing, settings: ImportSettings, problems: Problems) -> Plan:
    """Read up to `SAMPLE` spectrograms spread over the listing and conclude. Raises `MdgenError`."""
    samples = _samples(listing, problems)
    pictures = sum(is_picture(values) for _, values in samples)
    kind = "picture" if pictures * 2 > len(samples) else "array"
    if pictures not in (0, len(samples)) and not problems.skip:
        odd = next(name for name, values in samples if is_picture(values) != (kind == "picture"))
        raise MdgenError(f"{odd}: is not of the kind most others are ({kind}s); import the two kinds separately")
    values = [values for _, values in samples if is_picture(values) == (kind == "picture")]
    if kind == "array":
        return _array_plan(values, settings)
    return _colour_plan(values, settings) if settings.colormap == "rgb" else _picture_plan(values, listing, settings)


def is_picture(values: np.ndarray) -> bool:
    """Whether values are a picture's: gray levels of 8 or 16 bits, or colours."""
    return values.ndim == 3 or values.dtype in (np.uint8, np.uint16)


def to_plane(values: np.ndarray) -> np.ndarray:
    """[H, W] or uint8 [H, W, 3] from an array as it was stored. Raises `MdgenError` for what is no spectrogram."""
    if values.ndim > 2 and not (values.ndim == 3 and values.shape[-1] == 3):
        values = values.squeeze()
    if values.ndim == 3 and values.shape[0] == 3:
        values = np.moveaxis(values, 0, -1)
    if values.ndim not in (2, 3) or values.dtype.kind not in "fcuib" or (values.ndim == 3 and values.shape[-1] != 3):
        raise MdgenError(f"has shape {values.shape} of {values.dtype}; need numbers [H, W]")
    if min(values.shape[:2]) < _MIN_SIDE:
        raise MdgenError(
            f"is {values.shape[1]}x{values.shape[0]}; a spectrogram has at least {_MIN_SIDE} rows and columns"
        )
    if values.ndim == 3 and values.dtype != np.uint8:
        whole = values.max() > 1.001
        values = np.clip(np.round(values * (1 if whole else 255)), 0, 255).astype(np.uint8)
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind in "ui" and values.dtype not in (np.uint8, np.uint16):
        return values.astype(np.float64)
    return values


def _samples(listing: Listing, problems: Problems) -> list[tuple[str, np.ndarray]]:
    """(name, values) of readable spectrograms spread over the listing."""
    rows = listing.table.iloc[np.unique(np.linspace(0, len(listing.table) - 1, SAMPLE).astype(int))]
    source, samples = Source(listing.root), []
    for row in rows.itertuples(index=False):
        try:
            samples.append((str(row.file), read_plane(source, row)))
        except MdgenError as error:
            problems.meet(spectrogram_name(row), error)
    source.close()
    if not samples:
        first = next(iter(problems.found.values()))
        raise MdgenError(f"{listing.root}: none of the spectrograms looked at can be read; the first: {first}")
    return samples


def read_plane(source: Source, row) -> np.ndarray:
    """The stored values of a row of a listing, [H, W] or uint8 [H, W, 3]. NaN and +inf are refused; -inf is 0 in dB."""
    values = source.read(row.file, row.member, row.entry)
    try:
        values = to_plane(values)
    except MdgenError as error:
        raise MdgenError(f"{source.root / spectrogram_name(row)}: {error}; mend it or leave it out") from error
    if values.dtype.kind in "fc" and (np.isnan(values).any() or np.isposinf(values.real).any()):
        raise MdgenError(f"{source.root / spectrogram_name(row)}: holds NaN or infinite values; repair or remove it")
    return values


def spectrogram_name(row) -> str:
    """file, file::array or file::array#3."""
    return row.file + (f"::{row.member}" if row.member else "") + (f"#{row.entry}" if row.entry >= 0 else "")


def _common(samples: list[np.ndarray]) -> tuple[tuple[int, int], list[np.ndarray]]:
    """The most frequent shape, and the samples that have it."""
    shapes = pd.Series([s.shape[:2] for s in samples])
    shape = shapes.mode()[0]
    return shape, [s for s in samples if s.shape[:2] == shape]


def _size_line(samples: list[np.ndarray], what: str) -> str:
    sizes = {s.shape[:2] for s in samples}
    height, width = _common(samples)[0]
    return f"{what} of {width}x{height}" + (
        f" (sizes differ: {len(sizes)} among {len(samples)})" if len(sizes) > 1 else ""
    )


def _array_plan(samples: list[np.ndarray], settings: ImportSettings) -> Plan:
    scale, unknown = find_scale(samples, settings.scale, settings.dynamic_range_db)
    shape, alike = _common(samples)
    readable = [scale.decibel(s) if scale.is_relative else s for s in alike]
    orientation, seen, open_questions = find_orientation([np.asarray(r, float) for r in readable], settings.orientation)
    lines = (_size_line(samples, "arrays"), scale.words, *seen)
    levels = "float32" if scale.kind == "signed" else "uint16"  # what is in [-1, 1] already is kept to the bit
    unknown = [*unknown, *open_questions]
    return Plan("array", shape, orientation, settings.size, levels, scale=scale, lines=lines, unknown=tuple(unknown))


def _colour_plan(samples: list[np.ndarray], settings: ImportSettings) -> Plan:
    lines = (_size_line(samples, "colour pictures"), "three channels kept, as told")
    return Plan("colour", _common(samples)[0], Orientation(), settings.size, "uint8", lines=lines)


def _picture_plan(samples: list[np.ndarray], listing: Listing, settings: ImportSettings) -> Plan:
    coloured = sum(s.ndim == 3 for s in samples) * 2 > len(samples)
    if settings.colormap == "gray" and coloured:
        raise MdgenError(f"{listing.root}: colours are never turned to gray; name the --colormap")
    of_kind = [s for s in samples if (s.ndim == 3) == coloured]
    shape, alike = _common(of_kind)
    boxes, lines = (
        _boxes(of_kind, settings),
        [_size_line(of_kind, "coloured pictures" if coloured else "gray pictures")],
    )
    if boxes:
        box = next(iter(boxes.values()))
        lines.append(
            f"warning: axes or borders cut off: the plot is columns {box.left}-{box.right - 1} and rows {box.top}-"
            f"{box.bottom - 1}; a plot without axes needs no cutting and loses nothing"
        )
    plots = [boxes[shape].cut(s) if shape in boxes else s for s in alike]
    orientation, seen, unknown = find_orientation([brightness(p, np.maximum) for p in plots], settings.orientation)
    turned = [orientation.apply(p) for p in plots]
    forced = settings.colormap if settings.colormap in COLORMAPS else None
    rendering = find_rendering(turned, forced)
    if rendering is None:
        first = listing.root / listing.table["file"].iloc[0]
        raise MdgenError(
            f"{first}: its colours lie on no known colour map; export gray pictures, name the --colormap, or keep "
            "natural colours with --colormap rgb"
        )
    lines += [rendering.words, *seen]
    unknown = ["the dB that the darkest and the brightest level stand for", *unknown]
    untouched = _result_size(shape, boxes, orientation, None) == _result_size(shape, boxes, orientation, settings.size)
    size = settings.size
    if size is None or untouched:
        exact = all(s.dtype == np.uint8 for s in of_kind)
    else:
        smaller = min(turned[0].shape[:2]) > size and len(alike) == len(of_kind)
        exact = smaller and rendering.keeps_levels(size, size)
    levels = "uint8" if exact else "uint16"
    return Plan("picture", shape, orientation, settings.size, levels, rendering, boxes, tuple(lines), tuple(unknown))


def _boxes(samples: list[np.ndarray], settings: ImportSettings) -> dict[tuple[int, int], Box]:
    """The plot in the pictures of each size, where there is something to cut."""
    if not settings.crop:
        return {}
    by_size: dict[tuple[int, int], list[np.ndarray]] = {}
    for sample in samples:
        by_size.setdefault(sample.shape[:2], []).append(sample)
    found = {size: find_plot(members) for size, members in by_size.items()}
    return {size: box for size, box in found.items() if box is not None}
