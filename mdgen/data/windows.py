"""Training windows, each in several views: cut at other shifts from its recording, or a little changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from mdgen.config import AugmentConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.recordings import ALIGNED, LOOKUP, Recording, common_course, stitch
from mdgen.errors import MdgenError

#: Views of a window. Shifts of one in a longer recording spread over a quarter of its width, its neighbours' distance.
VIEWS = 8


@dataclass(frozen=True)
class View:
    """One cut: recording number, first column and number of columns there (native time, before it fills the width).

    gain: what brings it, above the floor, to the scale of the window it stands for (pictures are often scaled each to
    its own peak). tempo: how much faster than it was the movement is shown. mirrored, moved: left and right exchanged,
    then moved down and right by so many pixels.
    """

    recording: int
    start: int
    span: int
    gain: float
    tempo: float = 1.0
    mirrored: bool = False
    moved: tuple[int, int] = (0, 0)


class WindowCutter:
    """The windows of a set of recordings, each as several views of its own signal and its neighbours'.

    Index i stands for a window of the data set; which of its views is used is drawn at every use. A window that is a
    recording of its own cannot be shifted. users, rows: of each window, its user and where it is in the data set.
    zero_row: where in the picture, in rows, velocity is 0; needed to change the tempo.
    """

    def __init__(
        self, recordings: list[Recording], width: int, augment: AugmentConfig, zero_row: float | None = None
    ) -> None:
        self.recordings, self.width, self.augment, self.zero_row = recordings, width, augment, zero_row
        shifts, rng = VIEWS if augment.time_shift else 1, np.random.default_rng(0)
        groups = [
            _changed(
                _shifted(number, recording.image.shape[-1], int(start), int(span), float(1 / gain), shifts),
                augment,
                rng,
            )
            for number, recording in enumerate(recordings)
            for (start, span), gain in zip(recording.windows, recording.gains, strict=True)
        ]
        self.views = [view for group in groups for view in group]
        self._counts = np.array([len(group) for group in groups])
        self._first = np.cumsum(self._counts) - self._counts
        self.users = [recordings[group[0].recording].user for group in groups]
        self.rows = np.concatenate([recording.rows for recording in recordings])

    @classmethod
    def of(cls, data: SpectrogramSet, augment: AugmentConfig) -> WindowCutter:
        """Raises `MdgenError` for changes that such data do not bear."""
        if augment.time_shift == "auto":
            augment = augment.model_copy(update={"time_shift": common_course(data) < ALIGNED})
        axes = data.axes()
        low, high = (axes.get(f"velocity_{end}_mps") for end in ("min", "max"))
        if low is None or high is None:
            zero_row = None
            if augment.tempo:
                raise MdgenError(f"{data.name}: data.augment.tempo needs to know where velocity is 0; import with axes")
        elif augment.flip or augment.crop:
            raise MdgenError(
                f"{data.name}: shows velocities over time; data.augment.flip and crop are for natural images, here "
                "they would turn time round and move velocities"
            )
        else:
            zero_row = high / (high - low) * data.images.shape[-2] - 0.5
        return cls(stitch(data), data.images.shape[-1], augment, zero_row)

    def __len__(self) -> int:
        return len(self._counts)

    def fingerprint(self) -> str:
        """Equal where all views are."""
        return hashlib.sha256(repr(self.views).encode()).hexdigest()

    def draw_views(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """int64 [N]: for each window the number of one of its views, in `self.views`."""
        draws = torch.rand(len(indices), generator=generator, dtype=torch.float64).numpy()
        return self._first[indices] + (draws * self._counts[indices]).astype(np.int64)

    def cut(self, view: View) -> np.ndarray:
        """float32 [C, H, width] in [-1, 1]: each output pixel is the native one it lies in, so cells stay crisp."""
        whole = self.recordings[view.recording].image
        height, length, middle = whole.shape[-2], whole.shape[-1], self.width / 2
        place = (np.arange(self.width) + LOOKUP - middle) * view.tempo + middle
        columns = _mirrored(view.start + np.floor(place * view.span / self.width).astype(int), length)
        rows = np.arange(height)
        if self.zero_row is not None:
            rows = _mirrored(np.rint(self.zero_row + (rows - self.zero_row) / view.tempo).astype(int), height)
        if view.mirrored:
            columns = columns[::-1]
        down, right = view.moved
        rows = rows[_mirrored(np.arange(height) - down, height)]
        columns = columns[_mirrored(np.arange(self.width) - right, self.width)]
        image = whole[:, rows[:, None], columns]
        return image if view.gain == 1 else np.clip((image + 1) * np.float32(view.gain) - 1, -1, 1)

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Tensor:
        """float32 [N, C, H, width] in [-1, 1]: a view of each window, with the recipe's gain and noise."""
        views = self.draw_views(indices, generator)
        windows = torch.from_numpy(np.stack([self.cut(self.views[v]) for v in views]))
        if self.augment.gain:
            gain = (2 * torch.rand(len(windows), 1, 1, 1, generator=generator) - 1) * self.augment.gain
            windows = (windows + gain).clamp(-1, 1)
        if self.augment.noise:
            windows = (windows + self.augment.noise * torch.randn(windows.shape, generator=generator)).clamp(-1, 1)
        return windows


def _shifted(recording: int, length: int, start: int, span: int, gain: float, shifts: int) -> list[View]:
    """Up to `shifts` distinct cuts around `start`, all inside the recording; `start` itself is the middle one."""
    offsets = np.round((np.arange(shifts) - shifts // 2) * span / (4 * max(shifts, 1))).astype(int)
    starts = np.unique(np.clip(start + offsets, 0, length - span))
    return [View(recording, int(s), span, gain) for s in starts]


def _changed(views: list[View], augment: AugmentConfig, rng: np.random.Generator) -> list[View]:
    """Up to `VIEWS` distinct views, the first of them as it is; those given where nothing is to be changed."""
    if not (augment.tempo or augment.flip or augment.crop):
        return views
    first, *others = islice(cycle(views), VIEWS)
    changed = [
        replace(
            view,
            tempo=float(np.exp(rng.uniform(-augment.tempo, augment.tempo))),
            mirrored=augment.flip and number % 2 == 0,
            moved=tuple(rng.integers(-augment.crop, augment.crop + 1, 2).tolist()),
        )
        for number, view in enumerate(others)
    ]
    return list(dict.fromkeys([first, *changed]))


def _mirrored(places: np.ndarray, count: int) -> np.ndarray:
    """Places [n] a little outside of 0..count - 1, mirrored at its edges."""
    places = np.abs(places)
    return np.where(places < count, places, 2 * (count - 1) - places)
