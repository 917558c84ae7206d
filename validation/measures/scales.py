"""What is measured of motion, and in which units: from the axes of a data set, or in pixels where it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet

#: Decibels from -1 to +1 where a data set does not say.
USUAL_SPAN_DB = 40.0


@dataclass(frozen=True)
class Quantity:
    """One column of the table. kind: velocity, time, level (dB) or number.

    resolution: the least difference that counts, in rows, columns, dB or as it is.
    """

    label: str
    kind: str
    resolution: float


QUANTITIES = {
    "torso_velocity": Quantity("torso velocity", "velocity", 0.25),
    "torso_swing": Quantity("torso swing", "velocity", 0.25),
    "upper_envelope": Quantity("upper envelope", "velocity", 0.5),
    "lower_envelope": Quantity("lower envelope", "velocity", 0.5),
    "bandwidth": Quantity("Doppler bandwidth", "velocity", 0.5),
    "centroid": Quantity("Doppler centroid", "velocity", 0.25),
    "lead": Quantity("side of the limbs", "number", 0.05),
    "foot_to_torso": Quantity("foot to torso", "number", 0.1),
    "asymmetry": Quantity("Doppler asymmetry", "number", 0.02),
    "step_period": Quantity("step period", "time", 0.25),
    "stride_period": Quantity("stride period", "time", 0.5),
    "periodicity": Quantity("periodicity", "number", 0.05),
    "noise_floor": Quantity("noise floor", "level", 0.5),
    "dynamic_range": Quantity("dynamic range", "level", 1.0),
    "continuity": Quantity("continuity", "number", 0.02),
    "longest_still": Quantity("longest standstill", "time", 2.0),
    "foot_lag": Quantity("lag of the feet", "number", 0.1),
}


@dataclass(frozen=True)
class Scales:
    """What rows, columns and levels mean, per window; each array float64 [N].

    top: velocity at the upper edge of the picture. per_row: velocity between neighbouring rows. per_column: time
    between columns. decibel: dB per unit of level. physical: m/s and s from the set's axes, else rows and columns.
    """

    top: np.ndarray
    per_row: np.ndarray
    per_column: np.ndarray
    decibel: np.ndarray
    physical: bool

    def select(self, rows: slice) -> Scales:
        """The scales of some windows."""
        return Scales(self.top[rows], self.per_row[rows], self.per_column[rows], self.decibel[rows], self.physical)

    def unit(self, name: str) -> float:
        """What one row, column, dB or 1 is worth in the unit of quantity `name`, for the middling window."""
        per = {"velocity": self.per_row, "time": self.per_column}.get(QUANTITIES[name].kind, np.ones(1))
        return float(np.median(per))

    def unit_name(self, name: str) -> str:
        """m/s, s or dB; rows or columns without axes; "" for a plain number."""
        names = {"velocity": ("rows", "m/s"), "time": ("columns", "s"), "level": ("dB", "dB"), "number": ("", "")}
        return names[QUANTITIES[name].kind][self.physical]

    def velocity(self, row: np.ndarray) -> np.ndarray:
        """Velocity at the middle of (fractional) row numbers [N] or [N, ...]."""
        shape = (-1,) + (1,) * (row.ndim - 1)
        return self.top.reshape(shape) - (row + 0.5) * self.per_row.reshape(shape)


def scales_of(data: SpectrogramSet, physical: bool | None = None) -> Scales:
    """The scales of every row of `data`; physical: None takes m/s and s where all rows have their axes."""
    count, _, height, width = data.images.shape
    low, high, duration = (_column(data, c) for c in ("velocity_min_mps", "velocity_max_mps", "duration_s"))
    span = (_column(data, "db_max") - _column(data, "db_min")) / 2
    decibel = np.where(np.isfinite(span) & (span > 0), span, USUAL_SPAN_DB / 2)
    if physical is None:
        physical = has_axes(data)
    if physical:
        return Scales(high, (high - low) / height, duration / width, decibel, True)
    return Scales(np.full(count, height / 2), np.ones(count), np.ones(count), decibel, False)


def has_axes(data: SpectrogramSet) -> bool:
    """Whether every window says its velocities and its duration."""
    low, high, duration = (_column(data, c) for c in ("velocity_min_mps", "velocity_max_mps", "duration_s"))
    return bool(len(data) and (np.isfinite(low) & (high > low) & (duration > 0)).all())


def _column(data: SpectrogramSet, name: str) -> np.ndarray:
    if name not in data.table.columns:
        return np.full(len(data), np.nan)
    return pd.to_numeric(data.table[name], errors="coerce").to_numpy(float)
