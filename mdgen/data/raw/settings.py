"""What has to be known of a radar to turn its samples into velocities, and how: the YAML file of `import --raw`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator
from scipy.constants import speed_of_light

from mdgen.config import Section, checked
from mdgen.errors import MdgenError


class RadarFile(Section):
    """Radar, file layout and processing. Units are in the names; `prf_hz` counts the chirps of one transmitter.

    layout: how numbers lie in the file. `iq`: slow time already (one complex value per pulse; `.npy`, SigMF, or
    interleaved binary). `adc`: fast time, [chirps, receivers, samples] (`.npy` cubes or binary). `glasgow`: the text of
    the University of Glasgow's activity set, which brings its own numbers.
    """

    carrier_hz: float = Field(gt=1e8, lt=1e12)
    prf_hz: float = Field(gt=10, lt=1e6, description="pulses, chirps of one transmitter, or I/Q samples, per second")
    layout: Literal["iq", "adc", "glasgow"] = "iq"
    dtype: Literal["int16", "int32", "float32", "float64"] = "int16"
    byte_order: Literal["little", "big"] = "little"
    iq_order: Literal["iq", "qi", "iiqq", "iq-by-receiver", "real"] = Field(
        "iq", description="iq: I Q I Q; iiqq: TI xWR16xx/18xx/68xx (DCA1000); iq-by-receiver: xWR14xx, 4 lanes"
    )
    samples_per_chirp: int | None = Field(None, ge=4, le=2**16)
    receivers: int = Field(1, ge=1, le=64)
    transmitters: int = Field(1, ge=1, le=16, description="in turn (TDM); the first is used")
    receiver: int | Literal["sum"] = Field(0, description="which receiver, or the sum of their powers")
    approaching: Literal["rising", "falling"] | None = Field(
        None, description="phase of an approaching target: rising for I/Q of CW radars, falling for beat signals"
    )
    clutter: Literal["mean", "mti", "none"] = "mean"
    range_bins: Literal["auto", "all"] | tuple[int, int] = Field("auto", description="auto, all, or [first, last]")
    range_combine: Literal["power", "coherent"] = "power"
    window_s: float = Field(0.1, gt=0, le=2, description="STFT window; a Doppler cell is wavelength / (2 window_s)")
    overlap: float = Field(0.9, ge=0, lt=1)
    padding: int = Field(2, ge=1, le=16, description="FFT length over window length")
    velocity_min_mps: float | None = None
    velocity_max_mps: float | None = None
    dynamic_range_db: float = Field(40.0, ge=5, le=200)
    piece_s: float = Field(2.0, gt=0.05, le=60, description="duration of a window of the data set")
    step_s: float | None = Field(None, gt=0, description="between windows; a quarter of piece_s if not given")

    @model_validator(mode="after")
    def _consistent(self) -> RadarFile:
        low, high = self.velocity_limits_mps
        if low >= high:
            raise ValueError(f"velocity_min_mps {low:g} must be below velocity_max_mps {high:g}")
        if isinstance(self.receiver, int) and self.receiver >= self.receivers:
            raise ValueError(f"receiver {self.receiver} is none of the {self.receivers} (they count from 0)")
        if self.layout == "adc" and self.iq_order == "iiqq" and (self.samples_per_chirp or 0) % 2:
            raise ValueError("iiqq needs an even samples_per_chirp")
        return self

    @property
    def wavelength_m(self) -> float:
        return speed_of_light / self.carrier_hz

    @property
    def unambiguous_mps(self) -> float:
        """Velocities beyond +- this fold back: wavelength * PRF / 4."""
        return self.wavelength_m * self.prf_hz / 4

    @property
    def velocity_limits_mps(self) -> tuple[float, float]:
        """Of the picture; the unambiguous span where none are given."""
        low, high = self.velocity_min_mps, self.velocity_max_mps
        return (-self.unambiguous_mps if low is None else low, self.unambiguous_mps if high is None else high)

    @property
    def phase_rises(self) -> bool:
        return (self.approaching or ("rising" if self.layout == "iq" else "falling")) == "rising"

    def warnings(self) -> list[str]:
        """What will go wrong with these numbers."""
        fastest = max(map(abs, self.velocity_limits_mps))
        if fastest > self.unambiguous_mps * 1.0001:
            need = 4 * fastest / self.wavelength_m
            return [
                f"warning: a PRF of {self.prf_hz:g} Hz folds velocities beyond {self.unambiguous_mps:.2f} m/s; "
                f"{fastest:g} m/s needs {need:.0f} Hz, so the picture is cut there"
            ]
        return []


def read_radar(file: Path | None) -> RadarFile:
    """The radar that a YAML file describes. Raises `MdgenError`."""
    if file is None:
        raise MdgenError("--raw needs --radar FILE.yaml with at least carrier_hz and prf_hz; docs/data.md shows one")
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MdgenError(f"{file}: cannot be read as YAML ({' '.join(str(error).split())[:100]}); mend it") from error
    if not isinstance(content, dict):
        raise MdgenError(f"{file}: must be a list of settings, as `carrier_hz: 24.0e+9`")
    return checked(RadarFile, {str(key): _number(value) for key, value in content.items()}, str(file))


def _number(value: Any) -> Any:
    """YAML reads 77e9 as text: a number it is."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
