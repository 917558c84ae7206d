"""The pictures of fidelity and conditioning. Imported only when a report is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from validation.report.figures import GRAY, REAL, SYNTHETIC, heat_map, label
from validation.results import Metric

if TYPE_CHECKING:
    from validation.blocks.fidelity import Compared

MEASURES = ("precision", "recall", "density", "coverage")


def distance_ratios(found: Sequence[Compared], limits: Sequence[float]) -> Figure:
    """Per encoder, over the reference: synthetic with its interval, train, the range of real sessions, the limit."""
    figure = Figure(figsize=(2.4 + 1.15 * len(found), 3.8))
    axis = figure.subplots()
    for place, (compared, limit) in enumerate(zip(found, limits, strict=True)):
        value, low, high = compared.ratio
        if len(compared.sessions):
            ends = np.quantile(compared.sessions, [0.05, 0.95]) / compared.reference
            axis.fill_between([place - 0.3, place + 0.3], *ends, color=GRAY, alpha=0.25, linewidth=0)
        axis.plot([place], [compared.train.value / compared.reference], "o", color=REAL)
        axis.errorbar([place], [value], yerr=[[value - low], [high - value]], fmt="o", color=SYNTHETIC, capsize=3)
        axis.plot([place - 0.3, place + 0.3], [limit, limit], color="black", linewidth=1.2)
    handles = [
        Line2D([], [], marker="o", linestyle="", color=SYNTHETIC, label="synthetic"),
        Line2D([], [], marker="o", linestyle="", color=REAL, label="real, train"),
        Line2D([], [], linewidth=8, color=GRAY, alpha=0.25, label="real recordings"),
        Line2D([], [], color="black", label="limit"),
    ]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize=9)
    axis.set_yscale("symlog", linthresh=1)
    axis.set(ylabel="distance over reference", xticks=range(len(found)))
    axis.set_xticklabels([compared.encoder for compared in found], rotation=20, ha="right")
    return figure


def neighbourhood_bars(rows: Sequence[Metric]) -> Figure:
    """Precision, recall, density and coverage per encoder, synthetic beside train."""
    table = pd.DataFrame(
        [(r.encoder, r.metric, r.set_b, r.value) for r in rows if r.metric in MEASURES],
        columns=["encoder", "measure", "set", "value"],
    )
    figure = Figure(figsize=(11, 3.4))
    axes = figure.subplots(1, len(MEASURES), sharey=True)
    for axis, measure in zip(axes, MEASURES, strict=True):
        mine = table[table["measure"] == measure]
        sns.barplot(mine, y="encoder", x="value", hue="set", hue_order=["synthetic", "train"], ax=axis,
                    palette=[SYNTHETIC, REAL], errorbar=None, legend=measure == MEASURES[-1])  # fmt: skip
        axis.axvline(1, color=GRAY, linewidth=0.8)
        axis.set(title=measure, xlabel="", ylabel="")
    sns.move_legend(axes[-1], "upper left", bbox_to_anchor=(1, 1), title="", frameon=False)
    figure.tight_layout()
    return figure


def cross_matrices(matrices: dict[str, pd.DataFrame]) -> Figure:
    """One heat map per encoder: distance of every synthetic user (rows) to every real one, over that to its nearest."""
    users = len(next(iter(matrices.values())))
    side = 1.6 + 0.24 * users
    figure = Figure(figsize=(side * len(matrices) + 1, side + 0.6))
    axes = figure.subplots(1, len(matrices), squeeze=False)
    for place, (axis, (encoder, matrix)) in enumerate(zip(axes[0], matrices.items(), strict=True)):
        above = matrix.sub(matrix.min(axis=1), axis=0)
        shown = above.div(above.median(axis=1).clip(lower=1e-9), axis=0).rename(index=label, columns=label)
        heat_map(axis, shown, "mako")
        axis.set(title=encoder, xlabel="real user", ylabel="synthetic user" if place == 0 else "")
        axis.tick_params(axis="y", labelleft=place == 0)
    figure.tight_layout()
    return figure
