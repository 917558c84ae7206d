"""The pictures of a report. Imports matplotlib and seaborn, so it is itself imported only when a report is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from mdgen.data.dataset import SpectrogramSet
from validation.recognition import Recognition
from validation.neighbours import Neighbours
from validation.verification import VerificationResult

REAL, SYNTHETIC = "#1b6ca8", "#d1495b"
GRAY = "#8a8a8a"

sns.set_theme(style="whitegrid", context="notebook", rc={"figure.dpi": 110, "axes.titlesize": 11, "font.size": 10})


def save(figure: Figure, path: Path) -> Path:
    """Write as PNG and close."""
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
    return path


def gallery(
    test: SpectrogramSet, synthetic: SpectrogramSet, train: SpectrogramSet, near: Neighbours, users: Sequence[str]
) -> Figure:
    """One row per user: real | synthetic (of median closeness to the training set) | its closest training image."""
    figure, axes = plt.subplots(len(users), 3, figsize=(6.6, 2.15 * len(users)), squeeze=False)
    for row, user in zip(axes, users, strict=True):
        mine = np.flatnonzero(synthetic.table["user"] == user)
        chosen = mine[np.argsort(near.similarity[mine])[len(mine) // 2]]
        real = test.images[np.flatnonzero(test.table["user"] == user)[0]]
        _show(row[0], real, "real, held out")
        _show(row[1], synthetic.images[chosen], "synthetic")
        _show_neighbour(row[2], train, near, chosen)
        row[0].set_ylabel(label(user))
    figure.tight_layout(h_pad=0.6)
    return figure


def closest_pairs(synthetic: SpectrogramSet, train: SpectrogramSet, near: Neighbours, pairs: int = 5) -> Figure:
    """The synthetic images most like a training image, above that image."""
    order = np.argsort(-np.nan_to_num(near.similarity, nan=-2))[:pairs]
    figure, axes = plt.subplots(2, len(order), figsize=(1.9 * len(order), 4.2), squeeze=False)
    for column, row in enumerate(order):
        _show(axes[0, column], synthetic.images[row], label(synthetic.table["user"].iloc[row]))
        _show_neighbour(axes[1, column], train, near, row)
    axes[0, 0].set_ylabel("synthetic")
    axes[1, 0].set_ylabel("training")
    figure.tight_layout()
    return figure


def user_accuracy(synthetic: Recognition, real: Recognition, threshold: float) -> Figure:
    """Accuracy of each user with its Wilson interval, synthetic beside held-out real."""
    users = list(synthetic.per_user.index)
    figure, axis = plt.subplots(figsize=(6.6, 1.2 + 0.34 * len(users)))
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
    figure, axes = plt.subplots(1, 2, figsize=(2 * side + 1, 0.8 * side + 1), sharey=True)
    for axis, found, title in zip(axes, (real, synthetic), ("real, held out", "synthetic"), strict=True):
        table = pd.DataFrame(found.confusion, index=users, columns=users + others)
        annotate = len(users) <= 8
        sns.heatmap(table, ax=axis, vmin=0, vmax=1, cmap="Blues", cbar=False, square=True, annot=annotate, fmt=".0%",
                    annot_kws={"size": 7}, xticklabels=True, yticklabels=True)  # fmt: skip
        axis.set(title=title, xlabel="taken for")
        axis.tick_params(labelsize=8)
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(axis="y", rotation=0)
    axes[0].set_ylabel("belongs to")
    figure.tight_layout()
    return figure


def verification(result: VerificationResult) -> Figure:
    """Densities of the five score sets, and both ROC curves."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
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


def kernel_distances(metrics: pd.DataFrame) -> Figure:
    """Kernel distance per encoder: to synthetic, to other real data, and the range between random real halves."""
    rows = metrics[(metrics["metric"] == "kid") & (metrics["scope"] == "all") & metrics["value"].notna()]
    encoders = list(dict.fromkeys(rows["encoder"]))
    figure, axes = plt.subplots(1, len(encoders), figsize=(2.9 * len(encoders), 3.2), squeeze=False)
    names = {"synthetic": ("synthetic", SYNTHETIC), "train": ("real, train", REAL), "test": ("real halves", GRAY)}
    for axis, encoder in zip(axes[0], encoders, strict=True):
        mine = rows[rows["encoder"] == encoder].set_index("set_b")
        for place, (key, (_, colour)) in enumerate(names.items()):
            row = mine.loc[key]
            error = np.abs([[row["value"] - row["ci_low"]], [row["ci_high"] - row["value"]]])
            axis.errorbar([place], [row["value"]], yerr=error, fmt="o", color=colour, capsize=3)
        axis.axhline(0, color=GRAY, linewidth=0.8)
        axis.set(title=encoder, xlim=(-0.5, 2.5), xticks=range(3))
        axis.set_xticklabels([n for n, _ in names.values()], rotation=25, ha="right")
    axes[0, 0].set_ylabel("KID to held-out real")
    figure.tight_layout()
    return figure


def cross_distances(cross: pd.DataFrame) -> Figure:
    """Kernel distance of every synthetic user to every real user; each row should be darkest on the diagonal."""
    side = 2.2 + 0.32 * len(cross)
    figure, axis = plt.subplots(figsize=(side + 0.8, side))
    named = cross.rename(index=label, columns=label)
    sns.heatmap(named, ax=axis, cmap="mako", square=True, xticklabels=True, yticklabels=True, cbar_kws={"label": "KID"})
    axis.set(xlabel="real user", ylabel="synthetic user")
    return figure


def similarities(synthetic: np.ndarray, held_out: np.ndarray, limit: float) -> Figure:
    """How close synthetic and held-out real images come to the training set."""
    figure, axis = plt.subplots(figsize=(6, 3.2))
    bins = np.linspace(np.nanmin(np.r_[synthetic, held_out]), 1, 41)
    for values, colour, name in ((held_out, REAL, "real, held out"), (synthetic, SYNTHETIC, "synthetic")):
        axis.hist(values[np.isfinite(values)], bins=bins, density=True, alpha=0.55, color=colour, label=name)
    axis.axvline(limit, color=GRAY, linestyle="--", linewidth=1, label="near copy")
    axis.set(xlabel="correlation with the closest training image of the same user", yticks=[])
    axis.legend(frameon=False, fontsize=9)
    return figure


def label(text: str) -> str:
    """A user name as plain text: no mathematics, not endless."""
    text = text if len(text) <= 16 else text[:15] + "…"
    return text.replace("$", r"\$")


def _show(axis: Axes, image: np.ndarray, title: str) -> None:
    picture = image[0] if image.shape[0] == 1 else (image.transpose(1, 2, 0) + 1) / 2
    axis.imshow(picture, vmin=-1, vmax=1, cmap="turbo", aspect="auto", interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)


def _show_neighbour(axis: Axes, train: SpectrogramSet, near: Neighbours, row: int) -> None:
    if near.index[row] < 0:
        axis.axis("off")
        return
    _show(axis, train.images[near.index[row]], f"closest training, r {near.similarity[row]:.2f}")
