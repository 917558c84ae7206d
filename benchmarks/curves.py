"""Curves of measured results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure


def save_lines(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], labels: tuple[str, str], file: Path,
    *, notes: Mapping[str, Sequence[str]] | None = None, log_x: bool = False, level: tuple[float, str] | None = None,
) -> None:  # fmt: skip
    """Named curves (x, y); notes: a word at each point of a curve. level: a height to compare with, and its name."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    panel = figure.subplots()
    for name, (x, y) in lines.items():
        panel.plot(x, y, marker="o", markersize=4, linewidth=1, label=name)
        for at_x, at_y, note in zip(x, y, (notes or {}).get(name, []), strict=False):
            panel.annotate(note, (at_x, at_y), textcoords="offset points", xytext=(4, 4), fontsize=7)
    if level is not None:
        panel.axhline(level[0], linestyle="--", linewidth=0.8, color="gray", label=level[1])
    if log_x:
        panel.set_xscale("log")
    panel.set_xlabel(labels[0])
    panel.set_ylabel(labels[1])
    panel.legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
