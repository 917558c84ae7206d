"""What the numbers in an array mean (dB, amplitude, power, gray levels, or scaled), and bringing them to [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mdgen.data.importing.settings import ScaleName
from mdgen.errors import MdgenError

ScaleKind = Literal["signed", "unit", "gray", "db", "amplitude", "power"]
#: Peak over median: dB values lie within a few times their median, linear ones spread over orders of magnitude
#: (a spectrogram with 25 dB between floor and peak: 18 in amplitude, 316 in power).
_LINEAR_CONTRAST = 15.0
_POWER_CONTRAST = 3000.0
_SLACK = 1.001
_WORDS = {
    "signed": "already in [-1, 1], kept",
    "unit": "in [0, 1], taken as linear in dB",
    "gray": "0 to 255, taken as linear in dB",
    "db": "in dB",
    "amplitude": "linear amplitude, 20 log10 taken",
    "power": "linear power, 10 log10 taken",
}


@dataclass(frozen=True)
class Scale:
    """kind: what values mean. dynamic_range_db: what [-1, 1] spans below each array's own peak, for those in dB (a
    common peak would tell people apart by range and level)."""

    kind: ScaleKind
    dynamic_range_db: float = 40.0

    @property
    def is_relative(self) -> bool:
        """Whether each array is scaled to its own peak."""
        return self.kind in ("db", "amplitude", "power")

    @property
    def words(self) -> str:
        tail = f"; each scaled to its own peak over {self.dynamic_range_db:g} dB (db_min, db_max say which)"
        return f"values {_WORDS[self.kind]}" + (tail if self.is_relative else "")

    def apply(self, values: np.ndarray) -> tuple[np.ndarray, float, float]:
        """(float32 in [-1, 1] of the same shape, db_min, db_max; NaN where values are not relative)."""
        if not self.is_relative:
            low, high = {"signed": (-1, 1), "unit": (0, 1), "gray": (0, 255)}[self.kind]
            if values.min() < low - 0.001 * (high - low) or values.max() > high + 0.001 * (high - low):
                raise MdgenError(
                    f"values in [{values.min():.3g}, {values.max():.3g}] where others lie in [{low}, {high}]"
                )
            scaled = values if self.kind == "signed" else (values - low) * (2 / (high - low)) - 1
            return np.clip(scaled, -1, 1).astype(np.float32), np.nan, np.nan
        decibel = self.decibel(values)
        peak = float(decibel.max())
        if not np.isfinite(peak):
            raise MdgenError("has no value above zero; there is no signal in it")
        scaled = np.clip(1 + (decibel - peak) * (2 / self.dynamic_range_db), -1, 1)
        return scaled.astype(np.float32), peak - self.dynamic_range_db, peak

    def decibel(self, values: np.ndarray) -> np.ndarray:
        """Values in dB; zero power is -inf."""
        if self.kind == "db":
            return values
        with np.errstate(divide="ignore"):
            return (20 if self.kind == "amplitude" else 10) * np.log10(np.abs(values))


def find_scale(samples: list[np.ndarray], wish: ScaleName, dynamic_range_db: float) -> tuple[Scale, list[str]]:
    """(the scale of arrays like `samples`, what could not be known). Complex values are amplitudes."""
    if wish != "auto":
        return Scale(wish, dynamic_range_db), []
    finite = [sample[np.isfinite(sample)] for sample in samples if np.isfinite(sample).any()]
    if not finite:
        return Scale("db", dynamic_range_db), []
    lowest, highest = min(float(np.min(v.real)) for v in finite), max(float(np.max(np.abs(v))) for v in finite)
    whole = all(np.array_equal(v, np.round(v.real)) for v in finite)
    contrast = float(np.median([np.max(np.abs(v)) / max(float(np.median(np.abs(v))), 1e-30) for v in finite]))
    if any(np.iscomplexobj(v) for v in finite):
        return Scale("amplitude", dynamic_range_db), []
    if lowest < 0:
        if lowest >= -_SLACK and highest <= _SLACK:
            return Scale("signed", dynamic_range_db), []
        return Scale("db", dynamic_range_db), ["whether negative values are dB: give --scale if not"]
    if whole and highest <= 255 and highest > 1:
        return Scale("gray", dynamic_range_db), ["the dB that 0 and 255 stand for"]
    if contrast > _LINEAR_CONTRAST:
        kind: ScaleKind = "power" if contrast > _POWER_CONTRAST else "amplitude"
        return Scale(kind, dynamic_range_db), [
            f"whether linear values are amplitude or power: took {kind}, see --scale"
        ]
    if highest <= _SLACK:
        return Scale("unit", dynamic_range_db), ["whether values in [0, 1] are linear in dB: give --scale if not"]
    return Scale("db", dynamic_range_db), ["whether values are dB: give --scale if not"]
