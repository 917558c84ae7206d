"""What pictures of walkers say of the radar that made them: velocity axis, duration, clutter notch, looks.

What a data set's table says is taken; the rest rests on the assumption that most windows show ordinary walking.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mdgen.data.simulator.probes import Probe, Settings, pictures_of
from mdgen.data.simulator.radar import RadarSettings
from mdgen.data.simulator.scene import Conditions

#: Decibels from -1 to +1 where a data set does not say.
USUAL_RANGE_DB = 40.0
#: Standard deviation in dB of receiver noise in one look: of 10 log10 of an exponential variable.
_NOISE_SPREAD_DB = 5.57


def read_radar_off(images: np.ndarray, known: dict[str, float], probes: list[Probe]) -> RadarSettings:
    """What can be said of the radar before any search."""
    span = known.get("db_max", 0.0) - known.get("db_min", -USUAL_RANGE_DB)
    peak = float(np.median(images.max(axis=(1, 2))))
    radar = RadarSettings(dynamic_range_db=span, peak_db=min(0.0, (peak - 1) * span / 2))
    dark = _dark_row(images)
    if {"velocity_min_mps", "velocity_max_mps"} <= set(known):
        low, high = known["velocity_min_mps"], known["velocity_max_mps"]
    else:
        low, high = _velocities(images, probes, dark)
    radar = replace(radar, prf_hz=_pulses(low, high), velocity_min_mps=low, velocity_max_mps=high)
    notch = 0.0 if dark is None else (high - low) / images.shape[1]
    radar = replace(radar, noise_looks=_noise_looks(images, span), notch_mps=notch)
    return replace(radar, duration_s=known.get("duration_s") or _duration(images, probes, radar))


def _pulses(low_mps: float, high_mps: float) -> float:
    """The least whole kHz of pulses at which these velocities do not alias, at least what is usual."""
    need = np.ceil(4 * max(high_mps, -low_mps) / RadarSettings().wavelength_m / 1000) * 1000
    return float(max(RadarSettings().prf_hz, need))


def _velocities(images: np.ndarray, probes: list[Probe], dark: float | None) -> tuple[float, float]:
    """(lowest, highest) velocity: a dark row is zero, or else the brightest row is the walkers' torso; the rest follows
    from the shape of the rows' levels, which the probes show on a known axis."""
    height = images.shape[1]
    wide = replace(RadarSettings(), prf_hz=_pulses(-8.0, 8.0), velocity_min_mps=-8.0, velocity_max_mps=8.0)
    made = _shape(pictures_of(probes, 128, Settings(replace(wide, dynamic_range_db=USUAL_RANGE_DB), Conditions())))
    velocity, shape = wide.row_velocities(128), _shape(images)
    rows = np.arange(height) + 0.5
    row, mps = (dark, 0.0) if dark is not None else (float(shape.argmax()) + 0.5, float(velocity[made.argmax()]))

    def misfit(row_mps: float) -> float:
        return float(np.abs(np.interp(mps + (row - rows) * row_mps, velocity[::-1], made[::-1]) - shape).mean())

    row_mps = float(min(np.geomspace(2 / height, 16 / height, 60), key=misfit))
    high = mps + row * row_mps
    return min(high - height * row_mps, 0.0), float(np.clip(high, 0.5, 30.0))


def _shape(images: np.ndarray) -> np.ndarray:
    """[H]: how far each row's brighter moments rise over the quietest row's, 0 to 1."""
    rows = np.quantile(images, 0.85, axis=(0, 2))
    rows = gaussian_filter1d(rows, len(rows) / 128)
    return (rows - rows.min()) / max(float(np.ptp(rows)), 1e-6)


def _dark_row(images: np.ndarray) -> float | None:
    """The row (its middle) in which a clutter filter left less than beside it, None where there is no such row."""
    rows = np.median(images, axis=(0, 2))
    depth = np.minimum(np.roll(rows, 3), np.roll(rows, -3)) - rows
    deepest = 3 + int(np.argmax(depth[3:-3]))
    return deepest + 0.5 if depth[deepest] > 0.15 else None


def quiet_rows(images: np.ndarray) -> np.ndarray:
    """The fifth of the rows with the least echo: [N, H / 5, W]."""
    order = np.argsort(images.mean(axis=(0, 2)))
    return images[:, order[: max(2, images.shape[1] // 5)]]


def _noise_looks(images: np.ndarray, range_db: float) -> int:
    """Looks whose average varies as little as the floor does: above its median, where nothing is clipped.

    A chi-squared variable of 2 L degrees of freedom in dB varies by about 4.34 / sqrt(L - 0.4).
    """
    low, high = np.median(np.quantile(quiet_rows(images), (0.5, 0.84), axis=(1, 2)), axis=1)
    spread_db = float(high - low) * range_db / 2
    if low <= -0.98 or not 0 < spread_db < 0.6 * _NOISE_SPREAD_DB:
        return 1
    return int(np.clip(round((4.34 / spread_db) ** 2 + 0.4), 1, 32))


def _duration(images: np.ndarray, probes: list[Probe], radar: RadarSettings) -> float:
    """Seconds a window spans: as many as make its steps as long as the probes' are."""
    width = images.shape[-1]
    made = pictures_of(probes, width, Settings(replace(radar, duration_s=2.2), Conditions()))
    return float(np.clip(2.2 * _step_columns(made) / _step_columns(images), 0.5, 4.0))


def _step_columns(images: np.ndarray) -> int:
    """Columns after which the windows [N, H, W] repeat themselves best, as a whole: W / 12 to W / 2."""
    width = images.shape[-1]
    smooth = gaussian_filter1d(images, width / 64, axis=2)
    rows = smooth - smooth.mean(axis=2, keepdims=True)
    power = (np.abs(np.fft.rfft(rows, 2 * width)) ** 2).mean(axis=(0, 1))
    correlation = np.fft.irfft(power)[:width] / (width - np.arange(width))
    lags = np.arange(width // 12, width // 2)
    inner = correlation[lags]
    peaks = (inner > correlation[lags - 1]) & (inner >= correlation[lags + 1])
    return int(lags[np.where(peaks, inner, -np.inf).argmax()]) if peaks.any() else width // 4
