"""Training windows: cut anew at other shifts from recordings, where recordings are known. Never flipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdgen.config import AugmentConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.recordings import Recording, stitch

#: Shifts at which a window of a longer recording is cut; spread over a quarter of its width, its neighbours' distance.
SHIFTS = 8


@dataclass(frozen=True)
class View:
    """One cut: recording number, first column and number of columns there (native time, before it fills the width).

    gain: what brings it, above the floor, to the scale of the window it stands for (pictures are often scaled each to
    its own peak).
    """

    recording: int
    start: int
    span: int
    gain: float


class WindowCutter:
    """The windows of a set of recordings, each as several views of its own signal and its neighbours'.

    Index i stands for a window of the data set; which of its views is used is drawn at every use. A window that is a
    recording of its own has just one view. users, rows: of each window, its user and where it is in the data set.
    """

    def __init__(self, recordings: list[Recording], width: int, augment: AugmentConfig) -> None:
        self.recordings, self.width, self.augment = recordings, width, augment
        shifts = SHIFTS if augment.time_shift else 1
        groups = [
            _views(number, recording.image.shape[-1], int(start), int(span), float(1 / gain), shifts)
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
        return cls(stitch(data), data.images.shape[-1], augment)

    def __len__(self) -> int:
        return len(self._counts)

    def draw_views(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """int64 [N]: for each window the number of one of its views, in `self.views`."""
        draws = torch.rand(len(indices), generator=generator, dtype=torch.float64).numpy()
        return self._first[indices] + (draws * self._counts[indices]).astype(np.int64)

    def cut(self, view: View) -> np.ndarray:
        """float32 [C, H, width] in [-1, 1]: each output column is the native column it lies in, so cells stay crisp."""
        columns = view.start + ((np.arange(self.width) + 0.5) * view.span / self.width).astype(int)
        image = self.recordings[view.recording].image[..., columns]
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


def _views(recording: int, length: int, start: int, span: int, gain: float, shifts: int) -> list[View]:
    """Up to `shifts` distinct cuts around `start`, all inside the recording; `start` itself is the middle one."""
    offsets = np.round((np.arange(shifts) - shifts // 2) * span / (4 * max(shifts, 1))).astype(int)
    starts = np.unique(np.clip(start + offsets, 0, length - span))
    return [View(recording, int(s), span, gain) for s in starts]
