"""The pictures of a report. Imports matplotlib and seaborn, so it is itself imported only when a report is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.image import AxesImage
from sklearn.metrics import roc_curve

from mdgen.data.dataset import SpectrogramSet
from validation.blocks.verification import VerificationResult
from validation.measures.neighbours import Neighbours
from validation.measures.recognition import Recognition
from validation.report.page import PIXELS_PER_INCH, SHARPNESS

REAL, SYNTHETIC = "#1b6ca8", "#d1495b"
GRAY = "#8a8a8a"

#: Asked, where installed, for what the usual font cannot write: Chinese, Japanese and Korean names above all.
MORE_FONTS = (
    "DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "IPAGothic", "Microsoft YaHei", "SimHei", "PingFang SC",
    "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "NanumGothic", "Arial Unicode MS",
)  # fmt: skip
FONTS = ["sans-serif", *sorted(set(MORE_FONTS) & set(fontManager.get_font_names()), key=MORE_FONTS.index)]


@contextmanager
def report_style() -> Iterator[None]:
    """Inside, pictures are drawn as a report shows them; matplotlib's own settings stay as whoever calls has them."""
    with matplotlib.rc_context():
        changes = {"figure.dpi": 110, "axes.titlesize": 11, "font.size": 10, "font.family": FONTS}
        sns.set_theme(style="whitegrid", context="notebook", color_codes=False, rc=changes)
        yield


def save(figure: Figure, path: Path) -> Path:
    """Write as PNG, as fine as the page wants it."""
    figure.savefig(path, dpi=PIXELS_PER_INCH * SHARPNESS, bbox_inches="tight")
    return path


def gallery(real: SpectrogramSet, synthetic: SpectrogramSet, train: SpectrogramSet, near: Neighbours) -> Figure:
    """One user's first real image | the synthetic one of median closeness to the training set | its closest there.

    All in one scale of brightness, in dB, and on axes in m/s and s where the sets know theirs. near: the closest row
    of `train` for each row of `synthetic`.
    """
    margins = {"left": 0.07, "right": 0.88, "bottom": 0.17, "top": 0.87, "wspace": 0.07}
    figure = Figure(figsize=(5.5, 2.1))
    axes = figure.subplots(1, 3, sharex=True, sharey=True, gridspec_kw=margins)
    known = {**synthetic.axes(), **real.axes()}
    extent = _extent(known)
    chosen = int(np.argsort(near.similarity)[len(near.similarity) // 2])
    shown = _show(axes[0], real.images[0], "real, held out", extent)
    _show(axes[1], synthetic.images[chosen], "synthetic", extent)
    if near.index[chosen] < 0:
        axes[2].axis("off")
    else:
        title = f"closest training, r {near.similarity[chosen]:.2f}"
        _show(axes[2], train.images[near.index[chosen]], title, extent)
    if extent:
        axes[0].set_ylabel("velocity (m/s)", fontsize=8)
        axes[1].set_xlabel("time (s)", fontsize=8)
    if real.images.shape[1] == 1:
        bar = figure.colorbar(shown, cax=figure.add_axes((0.895, 0.17, 0.01, 0.7)), ticks=(-1, 0, 1))
        low, high = known.get("db_min"), known.get("db_max")
        if low is not None and high is not None:
            bar.ax.set_yticklabels([f"{level:.0f} dB" for level in (low, (low + high) / 2, high)])
        else:
            bar.ax.set_yticklabels(["floor", "", "peak"])
        bar.ax.tick_params(labelsize=7, length=0)
        bar.outline.set_visible(False)
    return figure


def user_accuracy(synthetic: Recognition, real: Recognition, threshold: float) -> Figure:
    """Accuracy of each user with its Wilson interval, synthetic beside held-out real."""
    users = list(synthetic.per_user.index)
    figure = Figure(figsize=(6.6, 1.2 + 0.34 * len(users)))
    axis = figure.subplots()
    for found, colour, offset, name in (
        (real, REAL, -0.14, "real, held out"),
        (synthetic, SYNTHETIC, 0.14, "synthetic"),
    ):
        table = found.per_user.loc[users]
        place = np.arange(len(users)) + offset
        error = [table["accuracy"] - table["ci_low"], table["ci_high"] - table["accuracy"]]
        axis.errorbar(table["accuracy"], place, xerr=np.clip(error, 0, 1), fmt="o", color=colour, capsize=2, label=name)
    axis.axvline(threshold, color=GRAY, linestyle="--", linewidth=1)
    axis.set(xlim=(-0.02, 1.02), yticks=range(len(users)), xlabel="recognised as this user")
    axis.set_yticklabels([label(u) for u in users])
    axis.invert_yaxis()
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return figure


def confusion(synthetic: Recognition, real: Recognition, classes: Sequence[str]) -> Figure:
    """Who is taken for whom: held-out real and synthetic."""
    users = [label(u) for u in synthetic.per_user.index]
    others = [label(c) for c in classes if c not in set(synthetic.per_user.index)]
    side = 1.6 + 0.3 * len(users + others)
    figure = Figure(figsize=(2 * side + 1, 0.8 * side + 1))
    axes = figure.subplots(1, 2, sharey=True)
    for axis, found, title in zip(axes, (real, synthetic), ("real, held out", "synthetic"), strict=True):
        table = pd.DataFrame(found.confusion, index=users, columns=users + others)
        heat_map(axis, table, "Blues", written=len(users) <= 8)
        axis.set(title=title, xlabel="taken for")
    axes[0].set_ylabel("belongs to")
    figure.tight_layout()
    return figure


def verification(result: VerificationResult) -> Figure:
    """Densities of the five score sets, and both ROC curves."""
    figure = Figure(figsize=(9, 3.8))
    left, right = figure.subplots(1, 2)
    sets = (
        (result.real_real.genuine, REAL, "-", "real-real, same person"),
        (result.real_real.impostor, REAL, ":", "real-real, other person"),
        (result.real_synthetic.genuine, SYNTHETIC, "-", "real-synthetic, same"),
        (result.real_synthetic.impostor, SYNTHETIC, ":", "real-synthetic, other"),
        (result.synthetic_genuine, "#edae49", "-", "synthetic-synthetic, same"),
    )
    for scores, colour, line, name in sets:
        heights, edges = np.histogram(scores, bins=40, range=(-1, 1), density=True)
        left.plot((edges[:-1] + edges[1:]) / 2, heights, color=colour, linestyle=line, label=name)
    left.set(xlabel="cosine similarity", ylabel="density", yticks=[])
    left.legend(fontsize=8, frameon=False)
    for scores, colour, name, rate in (
        (result.real_real, REAL, "real probes", result.eer_real),
        (result.real_synthetic, SYNTHETIC, "synthetic probes", result.eer_synthetic),
    ):
        truth = np.r_[np.ones(scores.genuine.size), np.zeros(scores.impostor.size)]
        false_accept, true_accept, _ = roc_curve(truth, np.r_[scores.genuine, scores.impostor])
        right.plot(false_accept, true_accept, color=colour, label=f"{name}, EER {rate:.3f}")
    right.plot([0, 1], [1, 0], color=GRAY, linewidth=1, linestyle="--")
    right.set(xlabel="false accept rate", ylabel="true accept rate", xlim=(-0.01, 1), ylim=(0, 1.01))
    right.legend(fontsize=9, frameon=False, loc="lower right")
    figure.tight_layout()
    return figure


def heat_map(axis: Axes, table: pd.DataFrame, colours: str, *, written: bool = False) -> None:
    """Numbers from 0 to 1 as squares in a row for each row of `table`; `written` also as percentages."""
    axis.imshow(table, vmin=0, vmax=1, cmap=colours)
    axis.set_xticks(range(table.shape[1]), table.columns, rotation=90)
    axis.set_yticks(range(table.shape[0]), table.index)
    axis.tick_params(labelsize=8, length=0)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    if written:
        for (row, column), value in np.ndenumerate(table.to_numpy()):
            colour = "white" if value > 0.5 else "black"
            axis.text(column, row, f"{value:.0%}", color=colour, fontsize=7, ha="center", va="center")


def label(text: str) -> str:
    """A user name as plain text for a figure: no mathematics, no control characters, at most 16 characters; what no
    installed font can write is named by its number in Unicode."""
    text = "".join(character if character.isprintable() else "�" for character in text)
    text = text if len(text) <= 16 else f"{text[:8]}…{text[-7:]}"
    return "".join(c if writable(c) else f"<{ord(c):x}>" for c in text).replace("$", r"\$")


@cache
def writable(character: str) -> bool:
    """Whether one of the figures' fonts has the character."""
    return any(get_font(findfont(FontProperties(family=[name]))).get_char_index(ord(character)) for name in FONTS)


def _extent(axes: dict[str, float]) -> tuple[float, float, float, float] | None:
    """Left, right, bottom and top of a spectrogram in s and m/s, None where an axis is unknown."""
    duration, bottom, top = (axes.get(name) for name in ("duration_s", "velocity_min_mps", "velocity_max_mps"))
    return None if duration is None or bottom is None or top is None else (0.0, duration, bottom, top)


def _show(
    axis: Axes, image: np.ndarray, title: str, extent: tuple[float, float, float, float] | None = None
) -> AxesImage:
    picture = image[0] if image.shape[0] == 1 else (image.transpose(1, 2, 0) + 1) / 2
    shown = axis.imshow(picture, vmin=-1, vmax=1, cmap="turbo", aspect="auto", interpolation="nearest", extent=extent)
    axis.set_title(title, fontsize=9)
    if extent is None:
        axis.set(xticks=[], yticks=[])
    axis.tick_params(labelsize=7, length=2, pad=2)
    axis.grid(False)
    return shown
