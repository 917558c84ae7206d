"""What a training leaves to look at: `metrics.jsonl` (exact), TensorBoard (with times and pictures), curves as PNG.

`metrics.jsonl` holds nothing that depends on the clock, so that a resumed run writes the very same file.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from mdgen.device import memory_gb

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

#: Steps between two lines.
LOG_EVERY = 10


class Journal:
    """`logs/<name>/` of a run. `active=False` (every process but the main one) writes nothing."""

    def __init__(self, run: Path, name: str, batch_size: int, active: bool = True) -> None:
        self.name, self.batch_size, self.active = name, batch_size, active
        self.folder = run / "logs" / name
        self.file = self.folder / "metrics.jsonl"
        self.figure = run / "figures" / f"{name}_curves.png"
        self._writer: SummaryWriter | None = None
        self._start_size = 0
        self._last = (0, time.monotonic())

    def start(self, step: int, size: int) -> None:
        """Go on at `step`, after the first `size` bytes; what an interrupted run wrote beyond them is dropped."""
        if not self.active:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.file, "ab") as stream:
            stream.truncate(min(size, stream.tell()))
        self._start_size = size
        if self._writer is not None:  # rolled back
            self._writer.close()
        self._writer = SummaryWriter(str(self.folder), purge_step=step)
        self._last = (step, time.monotonic())

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step."""
        rounded = {k: float(f"{v:.6g}") if math.isfinite(v) else None for k, v in values.items()}
        self._line({"step": step, **rounded})
        self._scalars(step, values)

    def speed(self, step: int) -> dict[str, float]:
        """Log and return what depends on the clock: images/s since the last call, and memory in GB."""
        last_step, last_time = self._last
        self._last = (step, time.monotonic())
        if step <= last_step:
            return {}
        seconds = max(1e-9, self._last[1] - last_time)
        values = {"images/s": (step - last_step) * self.batch_size / seconds, "GB": memory_gb()}
        self._scalars(step, values)
        return values

    def event(self, step: int, message: str) -> None:
        """A line that is not a measurement: a skipped step, a rollback."""
        self._line({"step": step, "event": message})

    def pictures(self, step: int, pictures: Mapping[str, Tensor]) -> None:
        """Show images [N, C, H, W] in [-1, 1] in TensorBoard."""
        if self._writer is not None:
            for key, images in pictures.items():
                self._writer.add_images(key, (images.float().cpu().clamp(-1, 1) + 1) / 2, step)

    def sync(self) -> int:
        """Make sure that all lines are on the disk; returns the size of the file in bytes."""
        if not self.active:
            return 0
        with open(self.file, "ab") as stream:
            os.fsync(stream.fileno())
            return stream.tell()

    def close(self) -> None:
        """Draw the curves and end TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            if self.file.stat().st_size != self._start_size:
                draw_curves(self.file, self.figure)

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for key, value in values.items():
                self._writer.add_scalar(key, value, step)

    def _line(self, content: Mapping[str, object]) -> None:
        if self.active:
            with open(self.file, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(content) + "\n")


def read_metrics(file: Path) -> list[dict[str, float]]:
    """The measurements of a `metrics.jsonl`; a last line torn by a crash is left out."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if "event" not in row:
            rows.append(row)
    return rows


def draw_curves(metrics: Path, figure_file: Path) -> None:
    """Every value of a `metrics.jsonl` over the steps, one panel each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(metrics)
    names = list(dict.fromkeys(key for row in rows for key in row if key != "step"))
    if not names:
        return
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 2.4 * lines))
    figure.subplots_adjust(hspace=0.6, wspace=0.3)
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axis, name in zip(axes, names, strict=False):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        axis.plot(*zip(*points, strict=True), linewidth=0.8, marker="." if len(points) == 1 else None)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    figure_file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(figure_file, dpi=100)
