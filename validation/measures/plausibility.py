"""Which windows no walk could have made: limits of each quantity learnt from real windows, reasons in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from validation.measures.scales import QUANTITIES, Scales

#: The middle 99 % of the real windows are the range; beyond it by three quarters of half its width is impossible.
RANGE = (0.005, 0.995)
MARGIN = 0.75
#: Outside the range in this many quantities at once is impossible as well.
TOGETHER = 5
#: What a body can do whatever the data say, where the axes are known: m/s and a ratio. A limit that more than
#: `EXCEPTIONS` of the real windows break is left out: then they do not show walking.
PHYSICAL_LIMITS = {"torso_velocity": (-4.0, 4.0), "foot_to_torso": (1.0, 6.0), "step_period": (0.3, 1.0)}
EXCEPTIONS = 0.01


@dataclass(frozen=True)
class Bounds:
    """Per quantity (index): the real range `low`..`high`, and `least`..`most`, outside which a window is impossible."""

    table: pd.DataFrame
    scales: Scales

    def outside(self, values: pd.DataFrame) -> pd.Series:
        """Why each window is implausible, "" where it is not: text [N]. A quantity that is not measurable is passed."""
        t, mine = self.table, values[self.table.index]
        impossible = (mine < t["least"]) | (mine > t["most"])
        unusual = (mine < t["low"]) | (mine > t["high"])
        together = unusual.sum(axis="columns") >= TOGETHER
        reasons = pd.Series("", index=values.index)
        for row in values.index[impossible.any(axis="columns") | together]:
            found = impossible if impossible.loc[row].any() else unusual
            reasons[row] = "; ".join(
                self._words(name, float(mine.at[row, name])) for name in t.index if found.at[row, name]
            )
        return reasons

    def _words(self, name: str, value: float) -> str:
        low, high = self.table.loc[name, ["low", "high"]].to_numpy(float)
        found = " ".join(filter(None, [QUANTITIES[name].label, f"{value:.2f}", self.scales.unit_name(name)]))
        return f"{found}, real windows have {low:.2f} to {high:.2f}"


def learn_bounds(real: pd.DataFrame, quantities: list[str], scales: Scales) -> Bounds:
    """Limits from real windows, one row each. Levels are left out: they are the radar's, not the walker's."""
    rows = {}
    for name in (q for q in quantities if QUANTITIES[q].kind != "level"):
        low, high = np.nanquantile(real[name], RANGE)
        margin = max(MARGIN * (high - low) / 2, QUANTITIES[name].resolution * scales.unit(name))
        least, most = low - margin, high + margin
        if scales.physical and name in PHYSICAL_LIMITS:
            floor, ceiling = PHYSICAL_LIMITS[name]
            if ((real[name] < floor) | (real[name] > ceiling)).mean() <= EXCEPTIONS:
                least, most = max(least, floor), min(most, ceiling)
        rows[name] = {"low": low, "high": high, "least": least, "most": most}
    return Bounds(pd.DataFrame.from_dict(rows, orient="index"), scales)
