"""What one block of the report hands over: gates, rows of metrics.csv, columns of per_user.csv, figures, warnings.

A block is a module with one public function `assess_<name>(context: Context) -> Finding`. It measures, decides its own
gates by the rules of `gates.yaml`, and says how its figures are drawn; nothing else in the package knows its insides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from validation.results import Gate, Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """One picture of the report. name: of the PNG file. draw: makes the figure; imports matplotlib when called."""

    name: str
    caption: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Finding:
    """Everything a block found.

    title: heading in the report. intro: one or two sentences on how to read it. per_user: index user, columns that
    join the per-user table. failed_users: users this block fails by name. implausible: row number in the synthetic
    set -> reason, for `--sift`. open_users: users this block could not judge.
    """

    title: str
    intro: str = ""
    gates: list[Gate] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    per_user: pd.DataFrame = field(default_factory=pd.DataFrame)
    failed_users: list[str] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    implausible: dict[int, str] = field(default_factory=dict)
    open_users: list[str] = field(default_factory=list)
