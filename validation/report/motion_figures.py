"""Pictures of the kinematics block. Imports matplotlib, so it is itself imported only when a report is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde

from mdgen.data.dataset import SpectrogramSet
from validation.measures.kinematics import echo_above_floor, envelopes, noise_floor, torso_ridge
from validation.measures.motion_distance import Windows
from validation.measures.scales import QUANTITIES, Scales, scales_of
from validation.report.figures import REAL, SYNTHETIC, label


def distributions(real: Windows, synthetic: Windows, quantities: Sequence[str], users: Sequence[str]) -> Figure:
    """One panel per quantity: each user's real windows beside the synthetic ones."""
    names = [label(user) for user in users]
    figure = Figure(figsize=(1.6 + 0.62 * len(users), 2.1 * len(quantities)))
    axes = figure.subplots(len(quantities), 1, sharex=True, squeeze=False)
    for axis, quantity in zip(axes[:, 0], quantities, strict=True):
        for windows, side, colour in ((real, -1, REAL), (synthetic, 1, SYNTHETIC)):
            values = windows.values[quantity].to_numpy(float)
            for place, user in enumerate(users):
                _half_violin(axis, values[(windows.user == user) & np.isfinite(values)], place, side, colour)
        axis.set(
            xlabel="", ylabel="\n".join(filter(None, [QUANTITIES[quantity].label, real.scales.unit_name(quantity)]))
        )
        axis.yaxis.label.set_size(9)
        axis.grid(axis="x", visible=False)
    handles = [Line2D([], [], color=colour, linewidth=6, label=name) for name, colour in
               (("real", REAL), ("synthetic", SYNTHETIC))]  # fmt: skip
    axes[0, 0].legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9)
    axes[-1, 0].set_xlim(-0.5, len(users) - 0.5)
    axes[-1, 0].set_xticks(range(len(users)), names, rotation=45, ha="right", fontsize=8)
    figure.tight_layout(h_pad=0.5)
    return figure


def traces(real: SpectrogramSet, synthetic: SpectrogramSet, users: Sequence[str], physical: bool) -> Figure:
    """Torso ridge (white) and envelopes (black) as they were measured: per user two real and two synthetic windows."""
    figure = Figure(figsize=(9.6, 2.1 * len(users)))
    axes = figure.subplots(len(users), 4, squeeze=False, sharex=True, sharey=True)
    for row, user in zip(axes, users, strict=True):
        for place, (data, name) in enumerate(((real, "real"), (synthetic, "synthetic"))):
            rows = np.flatnonzero(data.table["user"] == user)
            chosen = data.select(rows[np.linspace(0, len(rows) - 1, 4).astype(int)[1:3]])
            for axis, image, number in zip(row[2 * place :], chosen.images, range(2), strict=False):
                _trace(axis, image, scales_of(chosen, physical).select(slice(number, number + 1)))
                axis.set_title(name, fontsize=9)
        row[0].set_ylabel(f"{label(user)}\n{'m/s' if physical else 'rows'}", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("s" if physical else "columns", fontsize=9)
    figure.tight_layout(h_pad=0.5)
    return figure


def _half_violin(axis: Axes, values: np.ndarray, place: int, side: int, colour: str) -> None:
    """Density of `values` (Gaussian kernel, Scott 1992) left (-1) or right (1) of `place`, and its quartiles."""
    start = place + 0.02 * side
    if len(values) < 2 or np.ptp(values) == 0:
        axis.hlines(values[:1], start, start + 0.36 * side, color=colour)
        return
    density, levels = gaussian_kde(values), np.linspace(values.min(), values.max(), 100)
    heights, quartiles = density(levels), np.quantile(values, (0.25, 0.5, 0.75))
    reach = 0.36 * side / heights.max()
    axis.fill_betweenx(levels, start, start + reach * heights, facecolor=colour, edgecolor="#303030", linewidth=0.7,
                       alpha=0.9)  # fmt: skip
    axis.hlines(quartiles, start, start + reach * density(quartiles), color="#303030", linewidth=0.7,
                linestyle=["dotted", "dashed", "dotted"])  # fmt: skip


def _trace(axis: Axes, image: np.ndarray, scales: Scales) -> None:
    x = image.mean(axis=0, dtype=np.float64)[None]
    upper, lower = envelopes(echo_above_floor(x, noise_floor(x), scales.decibel))
    torso = torso_ridge(x, scales.decibel)
    height, width = x.shape[1:]
    top, step, seconds = float(scales.top[0]), float(scales.per_row[0]), float(scales.per_column[0])
    axis.imshow(x[0], vmin=-1, vmax=1, cmap="turbo", aspect="auto", interpolation="nearest",
                extent=(0, width * seconds, top - height * step, top))  # fmt: skip
    time = (np.arange(width) + 0.5) * seconds
    for rows, colour in ((torso, "white"), (upper, "black"), (lower, "black")):
        axis.plot(time, scales.velocity(rows)[0], color="white" if colour == "black" else "black", linewidth=2.2)
        axis.plot(time, scales.velocity(rows)[0], color=colour, linewidth=1)
    axis.tick_params(labelsize=7)
    axis.grid(False)
