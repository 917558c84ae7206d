"""Pictures the generator leaves beside its results. matplotlib is imported only when one is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mdgen.data.dataset import SpectrogramSet

#: Shown people at most, so that a page stays readable.
MAX_USERS = 12


def contact_sheet(data: SpectrogramSet, file: Path, columns: int = 8) -> None:
    """The first `columns` spectrograms of every user (the first `MAX_USERS`), one user a row."""
    users = data.users[:MAX_USERS]
    rows = [_images_of(data, user)[:columns] for user in users]
    _save_grid(rows, users, [], file)


def comparison_sheet(sets: dict[str, SpectrogramSet], file: Path, users: int = 6, each: int = 3) -> None:
    """Users by rows; for each set in turn the same `each` positions, side by side under the set's name."""
    first = next(iter(sets.values()))
    names = first.users[:users]
    rows = []
    for user in names:
        rows.append([image for data in sets.values() for image in _spread(_images_of(data, user), each)])
    titles = [f"{name}" if i == 0 else "" for name in sets for i in range(each)]
    _save_grid(rows, names, titles, file)


def _images_of(data: SpectrogramSet, user: str) -> list[np.ndarray]:
    return list(data.images[(data.table["user"] == user).to_numpy()])


def _spread(images: list[np.ndarray], count: int) -> list[np.ndarray]:
    return [images[i] for i in np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)]


def _save_grid(rows: list[list[np.ndarray]], labels: list[str], titles: list[str], file: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(1.3 * columns + 1, 1.35 * len(rows) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_frame_on(False)
    for r, row in enumerate(rows):
        axes[r, 0].set_ylabel(labels[r].replace("$", r"\$"), fontsize=8)
        for c, image in enumerate(row):
            axes[r, c].imshow(
                _displayed(image), cmap="viridis", vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
            )
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _displayed(image: np.ndarray) -> np.ndarray:
    """[H, W] of one channel, or [H, W, 3] in 0..1 of three."""
    return image[0] if len(image) == 1 else (image.transpose(1, 2, 0) + 1) / 2
