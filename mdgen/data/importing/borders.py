"""Axes, titles and white borders around the picture of a plot: where the plot itself lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A pixel is paper when all its channels are at least this bright (of 255; JPEG rings around ink).
_PAPER = 240
#: An outer line is border when this share of it is paper; a line is plot when less than `_PLOT` of it is.
_BORDER, _PLOT = 0.9, 0.5
_FRAME = 3  #: a box drawn around the plot is at most so many pixels thick
_DARK = 60


@dataclass(frozen=True)
class Box:
    """Rows top to bottom and columns left to right (ends excluded) of the plot inside a picture."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[self.top : self.bottom, self.left : self.right]


def find_plot(pictures: list[np.ndarray]) -> Box | None:
    """The plot common to `pictures` of one size (uint8 [H, W] or [H, W, 3]); None where there is no border to cut.

    Paper is what is white in all of them; the plot is the longest run of rows, and of columns, that is not. A colour
    bar beside it is a shorter run.
    """
    height, width = pictures[0].shape[:2]
    if pictures[0].dtype != np.uint8:
        return None
    white = np.mean([brightness(p) >= _PAPER for p in pictures], axis=0) > 0.5
    edges = (white[0], white[-1], white[:, 0], white[:, -1])
    if sum(float(edge.mean()) > _BORDER for edge in edges) < 2 or white.all():
        return None
    top, bottom, left, right = 0, height, 0, width
    for _ in range(2):  # the colour bar makes rows look full: columns first, then rows within them, and again
        left, right = _longest_run(white[top:bottom].mean(0) < _PLOT)
        top, bottom = _longest_run(white[:, left:right].mean(1) < _PLOT)
    dark = np.mean([brightness(p, np.maximum) < _DARK for p in pictures], axis=0) > 0.5
    box = _without_frame(dark, Box(top, bottom, left, right))
    if (
        box.bottom - box.top < 8
        or box.right - box.left < 8
        or (box.bottom - box.top) * (box.right - box.left) < 0.1 * height * width
    ):
        return None
    return box


def brightness(pixels: np.ndarray, of_channels: np.ufunc = np.minimum) -> np.ndarray:
    """[H, W]: the least, or by `np.maximum` the greatest, channel of gray or coloured pixels."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = np.moveaxis(pixels, 2, 0)  # a reduction along so short an axis is slow
    return of_channels(of_channels(red, green), blue)


def _longest_run(flags: np.ndarray) -> tuple[int, int]:
    """First and last-plus-one of the longest run of True (0, 0 where there is none)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


def _without_frame(dark: np.ndarray, box: Box) -> Box:
    """`box` without a dark line drawn around it: dark along its whole length where the line inside is not."""
    top, bottom, left, right = box.top, box.bottom, box.left, box.right
    inside = dark[top + _FRAME : bottom - _FRAME, left + _FRAME : right - _FRAME]
    if inside.size == 0 or inside.mean() > 0.5:  # a dark floor hides a frame, and a frame is then harmless
        return box
    while top < box.top + _FRAME and dark[top, left:right].mean() > _BORDER:
        top += 1
    while bottom > box.bottom - _FRAME and dark[bottom - 1, left:right].mean() > _BORDER:
        bottom -= 1
    while left < box.left + _FRAME and dark[top:bottom, left].mean() > _BORDER:
        left += 1
    while right > box.right - _FRAME and dark[top:bottom, right - 1].mean() > _BORDER:
        right -= 1
    return Box(top, bottom, left, right)
