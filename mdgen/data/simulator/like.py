"""Simulated people who look recorded by somebody's own radar: axes, floor, range, clutter and body echoes fitted.

The fit moves a handful of physical settings until each row of the pictures (each velocity) holds the same spread of
levels as in the real set. Identity is not fitted, and motion is not: walkers stay the simulator's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.simulator.picture_axes import quiet_rows, read_radar_off
from mdgen.data.simulator.probes import Probe, Settings, pictures_of
from mdgen.data.simulator.radar import RadarSettings
from mdgen.data.simulator.scene import USUAL_SNR_DB, Conditions
from mdgen.data.texture import texture_ratio
from mdgen.errors import MdgenError

#: Levels are compared at these quantiles over time and windows, in each row.
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
#: Windows simulated for the fit, real windows looked at, and evaluations of the search.
_PROBES, _REAL, _EVALUATIONS = 16, 256, 80


@dataclass(frozen=True)
class Likeness:
    """What makes simulated pictures like a real set. distance_db: `level_distance` before (axes alone) and after.

    lines: what was known, what was estimated, what was fitted, for people.
    """

    size: int
    radar: RadarSettings
    conditions: Conditions
    distance_db: tuple[float, float]
    lines: list[str]


def fit_likeness(real: SpectrogramSet, seed: int = 0) -> Likeness:
    """Fit radar and conditions to `real`, whose pictures must be square and of one channel.

    Axes that its table gives are taken; else velocities are fitted and the duration follows from the cadence, both on
    the assumption that most windows show people walking at ordinary speed. Raises `MdgenError` for other pictures.
    """
    images = _representative(real, seed)
    size = images.shape[-1]
    known = real.axes()
    probes = [Probe.draw(seed, number, view) for number, view in enumerate(_views(real, seed))]
    radar = read_radar_off(images, known, probes)
    start = Settings(radar, Conditions())
    found = _search(images, probes, start, _LOOK if "db_min" in known else (*_LOOK, _RANGE))
    found = _with_window(images, probes, found)
    found = replace(found, conditions=replace(found.conditions, snr_spread=_snr_spread(real, found.radar)))
    distances = [_distance(images, probes, settings, size) for settings in (start, found)]
    return Likeness(size, found.radar, found.conditions, (distances[0], distances[1]), _lines(known, found, distances))


def level_distance(real: np.ndarray, simulated: np.ndarray, range_db: float) -> float:
    """Mean difference in dB between the level quantiles of equal rows, images [N, H, W] in [-1, 1] over `range_db`."""
    return float(np.abs(_profile(real) - _profile(simulated)).mean() * range_db / 2)


def _profile(images: np.ndarray) -> np.ndarray:
    """[quantiles, H]."""
    return np.quantile(images, QUANTILES, axis=(0, 2))


@dataclass(frozen=True)
class _Axis:
    """One thing the search may change: `step` sets its scale, `move` applies a change of `x` steps."""

    step: float
    move: Callable[[Settings, float], Settings]


def _radar_axis(step: float, name: str, low: float, high: float) -> _Axis:
    def move(settings: Settings, x: float) -> Settings:
        change: dict[str, Any] = {name: float(np.clip(getattr(settings.radar, name) + x * step, low, high))}
        return replace(settings, radar=replace(settings.radar, **change))

    return _Axis(step, move)


def _condition_axis(step: float, name: str, low: float, high: float) -> _Axis:
    def move(settings: Settings, x: float) -> Settings:
        before = getattr(settings.conditions, name)
        value = float(np.clip((USUAL_SNR_DB if before is None else before) + x * step, low, high))
        return replace(settings, conditions=replace(settings.conditions, **{name: value}))

    return _Axis(step, move)


_SNR = _condition_axis(4.0, "snr_db", -10.0, 60.0)
_LOOK = (
    _SNR,
    _condition_axis(4.0, "clutter_db", -40.0, 40.0),
    _condition_axis(3.0, "arms_db", -12.0, 12.0),
    _condition_axis(3.0, "legs_db", -12.0, 12.0),
)
_RANGE = _radar_axis(5.0, "dynamic_range_db", 15.0, 90.0)


def _distance(images: np.ndarray, probes: list[Probe], settings: Settings, size: int) -> float:
    return level_distance(images, pictures_of(probes, size, settings), settings.radar.dynamic_range_db)


def _search(images: np.ndarray, probes: list[Probe], start: Settings, axes: tuple[_Axis, ...]) -> Settings:
    """The settings along `axes` at which levels differ least (Nelder-Mead; the noise of all looks is the same)."""
    size, target = images.shape[-1], _profile(images)
    echoes = [probe.echoes(size, start.radar) for probe in probes]

    def at(x: np.ndarray) -> Settings:
        settings = start
        for axis, value in zip(axes, x, strict=True):
            settings = axis.move(settings, float(value))
        return settings

    def cost(x: np.ndarray) -> float:
        settings = at(x)
        made = np.stack([p.picture(e, size, settings) for p, e in zip(probes, echoes, strict=True)])
        return float(np.abs(_profile(made) - target).mean()) + 1e-3 * float((x**2).mean())

    simplex = np.vstack([np.zeros(len(axes)), np.eye(len(axes))])
    options = {"maxfev": _EVALUATIONS, "initial_simplex": simplex, "xatol": 0.05, "fatol": 1e-4}
    return at(minimize(cost, np.zeros(len(axes)), method="Nelder-Mead", options=options).x)


def _representative(real: SpectrogramSet, seed: int) -> np.ndarray:
    """Up to `_REAL` windows, [N, H, W], drawn evenly from the users."""
    _, channels, height, width = real.images.shape
    if channels != 1 or height != width or height < 16:
        raise MdgenError(
            f"{real.name}: {width}x{height} with {channels} channel(s) cannot be imitated; the simulator makes square "
            "pictures of one channel: `mdgen import --size 64` brings them to that"
        )
    if len(real) < 8:
        raise MdgenError(f"{real.name}: {len(real)} windows are too few to imitate; give at least 8")
    rank = real.table.assign(draw=np.random.default_rng(seed).permutation(len(real)))
    rank["turn"] = rank.groupby("user")["draw"].rank()
    return real.images[rank.sort_values(["turn", "draw"]).index[:_REAL], 0]


def _views(real: SpectrogramSet, seed: int) -> np.ndarray:
    """Aspect in degrees of each probe: the real windows' where their `view` is a number, else towards the radar."""
    view = (
        pd.to_numeric(real.table["view"], errors="coerce").dropna() if "view" in real.table else pd.Series(dtype=float)
    )
    if len(view) == 0 or not view.between(0, 359).all():
        return np.zeros(_PROBES)
    return np.random.default_rng(seed).permutation(np.quantile(view, np.linspace(0, 1, _PROBES), method="nearest"))


def _with_window(images: np.ndarray, probes: list[Probe], found: Settings) -> Settings:
    """The STFT window that gives the finest detail along time and Doppler its real share."""
    size = images.shape[-1]

    def roughness(settings: Settings) -> float:
        ratio = texture_ratio(images[:, None], pictures_of(probes, size, settings)[:, None])
        return float(sum(abs(np.log(max(value, 1e-6))) for value in ratio.values()))

    now = found.radar.window_samples(size) / found.radar.prf_hz
    tries = [replace(found, radar=replace(found.radar, window_s=float(np.clip(now * f, 0.005, 0.5)))) for f in _WINDOWS]
    return min(tries, key=roughness)


_WINDOWS = (1.0, 0.5, 0.7, 0.85, 1.2)


def _snr_spread(real: SpectrogramSet, radar: RadarSettings) -> float:
    """How much more the floor differs between real recordings than between simulated sessions, 0.2 to 3."""
    floor = np.median(quiet_rows(real.images[:, 0]), axis=(1, 2))
    if np.median(floor) <= -0.98 or real.groups.nunique() < 4:
        return 1.0
    spread_db = float(pd.Series(floor).groupby(real.groups.to_numpy()).mean().std()) * radar.dynamic_range_db / 2
    return float(np.clip(spread_db / 3.2, 0.2, 3.0))


def _lines(known: dict[str, float], found: Settings, distances: list[float]) -> list[str]:
    radar, conditions = found.radar, found.conditions
    axis, time = (
        "given" if name in known else "estimated from ordinary walking" for name in ("velocity_max_mps", "duration_s")
    )
    span = "given" if "db_min" in known else "fitted"
    return [
        f"velocities {radar.velocity_min_mps:.2f} to {radar.velocity_max_mps:.2f} m/s ({axis}), "
        f"windows of {radar.duration_s:.2f} s ({time}), "
        f"{radar.dynamic_range_db:.0f} dB ({span}), peaks at {radar.peak_db:.1f} dB",
        f"SNR {conditions.snr_db:.1f} dB (sessions differ by {conditions.snr_spread:.1f} of what is usual), clutter "
        f"{conditions.clutter_db:+.1f} dB, arms {conditions.arms_db:+.1f} dB, legs {conditions.legs_db:+.1f} dB, "
        f"{radar.noise_looks} look(s), notch {radar.notch_mps:.2f} m/s, STFT window {1000 * radar.window_s:.0f} ms",
        f"levels differ by {distances[1]:.2f} dB from the real ones ({distances[0]:.2f} before the fit)",
    ]
