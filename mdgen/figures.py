"""Pictures the generator leaves beside its results. matplotlib is imported only when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mdgen.data.dataset import SpectrogramSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Shown people at most, so that a page stays readable.
MAX_USERS = 12
#: Milliseconds a frame of an animation, and the last one.
FRAME_MS, LAST_FRAME_MS = 120, 1500


def contact_sheet(data: SpectrogramSet, file: Path, columns: int = 8, axes: Mapping[str, float] | None = None) -> None:
    """The first `columns` spectrograms of every user (the first `MAX_USERS`), one user a row."""
    users = data.users[:MAX_USERS]
    save_grid([_images_of(data, user)[:columns] for user in users], users, [], file, axes)


def comparison_sheet(sets: dict[str, SpectrogramSet], file: Path, users: int = 6, each: int = 3) -> None:
    """Users by rows; for each set in turn the same `each` positions, side by side under the set's name.

    A user with fewer windows leaves the last places of a set empty.
    """
    first = next(iter(sets.values()))
    names = first.users[:users]
    rows = [[image for data in sets.values() for image in _spread(_images_of(data, user), each)] for user in names]
    titles = [name if i == 0 else "" for name in sets for i in range(each)]
    save_grid(rows, names, titles, file, first.axes())


def save_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    labels: Sequence[str],
    titles: Sequence[str],
    file: Path,
    axes: Mapping[str, float] | None = None,
) -> None:
    """Images [C, H, W] in rows and columns, named at the left and above; `None` leaves a place empty.

    axes: with `velocity_min_mps`, `velocity_max_mps` and `duration_s`, the outer pictures get scales in m/s and s.
    """
    columns = max(len(row) for row in rows)
    known = axes is not None and {"velocity_min_mps", "velocity_max_mps", "duration_s"} <= set(axes)
    figure = _figure((1.3 * columns + 1, 1.35 * len(rows) + (0.6 if known else 0.3)))
    panels = figure.subplots(len(rows), columns, squeeze=False)
    extent = (0.0, axes["duration_s"], axes["velocity_min_mps"], axes["velocity_max_mps"]) if axes and known else None
    for r, row in enumerate(rows):
        for panel, image, c in zip_longest(panels[r], row, range(columns)):
            panel.set_frame_on(False)
            panel.tick_params(labelsize=6, labelleft=known and c == 0, labelbottom=known and r == len(rows) - 1)
            if not known or image is None:
                panel.set_xticks([])
                panel.set_yticks([])
            if image is not None:
                shown = {"cmap": "viridis", "vmin": -1, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
                panel.imshow(_displayed(image), extent=extent, **shown)
        panels[r, 0].set_ylabel(_plain(labels[r]) + (" (m/s)" if known else ""), fontsize=8)
    if known:
        panels[-1, columns // 2].set_xlabel("time (s)", fontsize=8)
    for panel, title in zip(panels[0], titles, strict=False):
        panel.set_title(_plain(title), fontsize=8)
    _save(figure, file)


def save_animation(frames: Sequence[Sequence[np.ndarray]], file: Path, scale: int = 3) -> None:
    """A GIF, one frame for each entry: its images [C, H, W] side by side in the colours of the grids."""
    from matplotlib import colormaps
    from PIL import Image

    def drawn(images: Sequence[np.ndarray]) -> Any:
        tiles = [np.pad(_displayed(image), [(1, 1), (1, 1)] + [(0, 0)] * (len(image) == 3)) for image in images]
        row = np.concatenate(tiles, axis=1)
        colours = colormaps["viridis"]((row + 1) / 2)[..., :3] if row.ndim == 2 else row
        pixels = (255 * np.clip(colours, 0, 1)).astype(np.uint8)
        return Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1))

    pictures = [drawn(images) for images in frames]
    file.parent.mkdir(parents=True, exist_ok=True)
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_FRAME_MS]
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def save_map(points: Mapping[str, tuple[np.ndarray, np.ndarray]], file: Path, title: str) -> None:
    """Points [N, 2] in a plane, coloured by user; points: set name -> (positions, users)."""
    from matplotlib import colormaps

    figure = _figure((6.5, 5.5))
    panel: Axes = figure.subplots()
    users = list(dict.fromkeys(user for _, owners in points.values() for user in owners))
    for (name, (positions, owners)), marker in zip(points.items(), "ox^s", strict=False):
        for u, user in enumerate(users):
            chosen = positions[owners == user]
            label = f"{_plain(user)}, {name}" if len(users) <= MAX_USERS else None
            colour = colormaps["tab10" if len(users) <= 10 else "tab20"](u % 20)
            panel.scatter(chosen[:, 0], chosen[:, 1], s=14, marker=marker, color=colour, label=label, linewidths=0.8)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_title(title, fontsize=9)
    if len(users) <= MAX_USERS:
        panel.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    _save(figure, file)


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _images_of(data: SpectrogramSet, user: str) -> list[np.ndarray]:
    return list(data.images[(data.table["user"] == user).to_numpy()])


def _spread(images: list[np.ndarray], count: int) -> list[np.ndarray | None]:
    """`count` of them, evenly; all of them and `None` for those missing where there are fewer."""
    shown = np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)
    return [*(images[i] for i in shown), *[None] * (count - len(shown))]


def _plain(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def _displayed(image: np.ndarray) -> np.ndarray:
    """[H, W] of one channel, or [H, W, 3] in 0..1 of three."""
    return image[0] if len(image) == 1 else (image.transpose(1, 2, 0) + 1) / 2
