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
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.simulator.activities import ACTIVITIES
from mdgen.data.simulator.echo import Sight, echo
from mdgen.data.simulator.people import Session, Window, sample_person, sample_session, sample_window, window_generator
from mdgen.data.simulator.radar import RadarSettings, receive, relative_db, shown, signal_samples
from mdgen.data.simulator.scene import USUAL_SNR_DB, Conditions
from mdgen.data.texture import texture_ratio
from mdgen.errors import MdgenError

#: Levels are compared at these quantiles over time and windows, in each row.
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
#: Decibels from -1 to +1 where a data set does not say.
USUAL_RANGE_DB = 40.0
#: Windows simulated for the fit, real windows looked at, and evaluations of the search.
_PROBES, _REAL, _EVALUATIONS = 16, 256, 80
_KINDS = ("torso_db", "arms_db", "legs_db")
_SILENT_DB = -300.0
#: Standard deviation in dB of receiver noise in one look: of 10 log10 of an exponential variable.
_NOISE_SPREAD_DB = 5.57


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
    probes = [_Probe.draw(seed, number, view) for number, view in enumerate(_views(real, seed))]
    radar = _radar_of(images, known, probes)
    start = _Settings(radar, Conditions())
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
class _Settings:
    """A point of the search."""

    radar: RadarSettings
    conditions: Conditions


@dataclass(frozen=True)
class _Axis:
    """One thing the search may change: `step` sets its scale, `move` applies a change of `x` steps."""

    step: float
    move: Callable[[_Settings, float], _Settings]


def _radar_axis(step: float, name: str, low: float, high: float) -> _Axis:
    def move(settings: _Settings, x: float) -> _Settings:
        change: dict[str, Any] = {name: float(np.clip(getattr(settings.radar, name) + x * step, low, high))}
        return replace(settings, radar=replace(settings.radar, **change))

    return _Axis(step, move)


def _condition_axis(step: float, name: str, low: float, high: float) -> _Axis:
    def move(settings: _Settings, x: float) -> _Settings:
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


@dataclass(frozen=True)
class _Probe:
    """A walker before the radar; only the settings of the search differ between two looks at it."""

    user: int
    session: Session
    window: Window
    aspect_deg: float
    seed: int

    @classmethod
    def draw(cls, seed: int, number: int, view_deg: float) -> _Probe:
        session, window = sample_session(seed, number, 0), sample_window(window_generator(seed, number, 0, 0))
        return cls(number, session, window, view_deg + session.aspect_deg + window.aspect_offset_deg, seed)

    def echoes(self, size: int, radar: RadarSettings) -> np.ndarray:
        """Echo of torso, arms and legs apart, complex64 [3, T], mean power of their sum 1."""
        parts = []
        for kind in _KINDS:
            alone = replace(self.session, **{other: _SILENT_DB for other in _KINDS if other != kind})
            motion = ACTIVITIES["walk"](sample_person(self.seed, self.user), alone, self.window, False)
            sight = Sight(self.aspect_deg, self.session.range_m, self.session.radar_height_m)
            rng = window_generator(self.seed, self.user, 0, 0, 1)
            parts.append(echo(motion, sight, radar, signal_samples(size, radar), rng)[0])
        return np.stack(parts) / np.sqrt(np.mean(np.abs(np.sum(parts, axis=0)) ** 2))

    def picture(self, echoes: np.ndarray, size: int, settings: _Settings) -> np.ndarray:
        """float32 [size, size] in [-1, 1]."""
        radar, conditions = settings.radar, settings.conditions
        gains = [10 ** (getattr(conditions, kind) / 20) for kind in _KINDS]
        iq = np.tensordot(gains, echoes, 1)
        session = conditions.apply(self.session)
        noise = window_generator(self.seed, self.user, 0, 0, 2)
        iq = receive(iq / np.sqrt(np.mean(np.abs(iq) ** 2)), session.snr_db, session.clutter_db, radar, noise)
        return shown(relative_db(iq, size, radar) + radar.peak_db, radar.dynamic_range_db)


def _pictures(probes: list[_Probe], size: int, settings: _Settings) -> np.ndarray:
    return np.stack([probe.picture(probe.echoes(size, settings.radar), size, settings) for probe in probes])


def _distance(images: np.ndarray, probes: list[_Probe], settings: _Settings, size: int) -> float:
    return level_distance(images, _pictures(probes, size, settings), settings.radar.dynamic_range_db)


def _search(images: np.ndarray, probes: list[_Probe], start: _Settings, axes: tuple[_Axis, ...]) -> _Settings:
    """The settings along `axes` at which levels differ least (Nelder-Mead; the noise of all looks is the same)."""
    size, target = images.shape[-1], _profile(images)
    echoes = [probe.echoes(size, start.radar) for probe in probes]

    def at(x: np.ndarray) -> _Settings:
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


def _radar_of(images: np.ndarray, known: dict[str, float], probes: list[_Probe]) -> RadarSettings:
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


def _velocities(images: np.ndarray, probes: list[_Probe], dark: float | None) -> tuple[float, float]:
    """(lowest, highest) velocity: a dark row is zero, or else the brightest row is the walkers' torso; the rest follows
    from the shape of the rows' levels, which the probes show on a known axis."""
    height = images.shape[1]
    wide = replace(RadarSettings(), prf_hz=_pulses(-8.0, 8.0), velocity_min_mps=-8.0, velocity_max_mps=8.0)
    made = _shape(_pictures(probes, 128, _Settings(replace(wide, dynamic_range_db=USUAL_RANGE_DB), Conditions())))
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


def _quiet(images: np.ndarray) -> np.ndarray:
    """The fifth of the rows with the least echo: [N, H / 5, W]."""
    order = np.argsort(images.mean(axis=(0, 2)))
    return images[:, order[: max(2, images.shape[1] // 5)]]


def _noise_looks(images: np.ndarray, range_db: float) -> int:
    """Looks whose average varies as little as the floor does: above its median, where nothing is clipped.

    A chi-squared variable of 2 L degrees of freedom in dB varies by about 4.34 / sqrt(L - 0.4).
    """
    low, high = np.median(np.quantile(_quiet(images), (0.5, 0.84), axis=(1, 2)), axis=1)
    spread_db = float(high - low) * range_db / 2
    if low <= -0.98 or not 0 < spread_db < 0.6 * _NOISE_SPREAD_DB:
        return 1
    return int(np.clip(round((4.34 / spread_db) ** 2 + 0.4), 1, 32))


def _duration(images: np.ndarray, probes: list[_Probe], radar: RadarSettings) -> float:
    """Seconds a window spans: as many as make its steps as long as the probes' are."""
    width = images.shape[-1]
    made = _pictures(probes, width, _Settings(replace(radar, duration_s=2.2), Conditions()))
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


def _with_window(images: np.ndarray, probes: list[_Probe], found: _Settings) -> _Settings:
    """The STFT window that gives the finest detail along time and Doppler its real share."""
    size = images.shape[-1]

    def roughness(settings: _Settings) -> float:
        ratio = texture_ratio(images[:, None], _pictures(probes, size, settings)[:, None])
        return float(sum(abs(np.log(max(value, 1e-6))) for value in ratio.values()))

    now = found.radar.window_samples(size) / found.radar.prf_hz
    tries = [replace(found, radar=replace(found.radar, window_s=float(np.clip(now * f, 0.005, 0.5)))) for f in _WINDOWS]
    return min(tries, key=roughness)


_WINDOWS = (1.0, 0.5, 0.7, 0.85, 1.2)


def _snr_spread(real: SpectrogramSet, radar: RadarSettings) -> float:
    """How much more the floor differs between real recordings than between simulated sessions, 0.2 to 3."""
    floor = np.median(_quiet(real.images[:, 0]), axis=(1, 2))
    if np.median(floor) <= -0.98 or real.groups.nunique() < 4:
        return 1.0
    spread_db = float(pd.Series(floor).groupby(real.groups.to_numpy()).mean().std()) * radar.dynamic_range_db / 2
    return float(np.clip(spread_db / 3.2, 0.2, 3.0))


def _lines(known: dict[str, float], found: _Settings, distances: list[float]) -> list[str]:
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
