"""Pictures of the kinematics block. Imports matplotlib, so it is itself imported only when a report is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mdgen.data.dataset import SpectrogramSet
from validation.measures.kinematics import echo_above_floor, envelopes, noise_floor, torso_ridge
from validation.measures.motion_distance import Windows
from validation.measures.scales import QUANTITIES, Scales, scales_of
from validation.report.figures import REAL, SYNTHETIC, label


def distributions(real: Windows, synthetic: Windows, quantities: Sequence[str], users: Sequence[str]) -> Figure:
    """One panel per quantity: each user's real windows beside the synthetic ones."""
    names = [label(user) for user in users]
    figure, axes = plt.subplots(
        len(quantities), 1, figsize=(1.6 + 0.62 * len(users), 2.1 * len(quantities)), sharex=True, squeeze=False
    )
    for axis, quantity in zip(axes[:, 0], quantities, strict=True):
        table = pd.concat(
            [
                pd.DataFrame({"value": w.values[quantity], "user": w.user, "windows": name})
                for name, w in (("real", real), ("synthetic", synthetic))
            ],
            ignore_index=True,
        )
        sns.violinplot(table[table["user"].isin(users)], x="user", y="value", hue="windows", order=users, split=True,
                       palette={"real": REAL, "synthetic": SYNTHETIC}, inner="quart", linewidth=0.7, cut=0, ax=axis,
                       density_norm="width", gap=0.1)  # fmt: skip
        axis.set(
            xlabel="", ylabel="\n".join(filter(None, [QUANTITIES[quantity].label, real.scales.unit_name(quantity)]))
        )
        axis.yaxis.label.set_size(9)
        axis.get_legend().remove()
    handles = [plt.Line2D([], [], color=colour, linewidth=6, label=name) for name, colour in
               (("real", REAL), ("synthetic", SYNTHETIC))]  # fmt: skip
    axes[0, 0].legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False, fontsize=9)
    axes[-1, 0].set_xticks(range(len(users)), names, rotation=45, ha="right", fontsize=8)
    figure.tight_layout(h_pad=0.5)
    return figure


def traces(real: SpectrogramSet, synthetic: SpectrogramSet, users: Sequence[str], physical: bool) -> Figure:
    """Torso ridge (white) and envelopes (black) as they were measured: per user two real and two synthetic windows."""
    figure, axes = plt.subplots(len(users), 4, figsize=(9.6, 2.1 * len(users)), squeeze=False, sharex=True, sharey=True)
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
