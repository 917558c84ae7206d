"""Who walks, and under which circumstances: identity per person, nuisance per session and per window.

Identity is what a classifier may use; a session changes what differs between two visits of one person (clothes, mood,
where the radar stands); a window changes what differs between two seconds of one visit. Every draw is a function of
(seed, user, session, window) alone, so a smaller simulation gives the same walkers as a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: First word of each random stream, so that no two kinds of draw share one.
_PERSON, _SESSION, _WINDOW, _COMPANION = 1, 2, 3, 4
#: Strangers who walk along are drawn from so many.
_STRANGERS = 1000


@dataclass(frozen=True)
class Person:
    """One walker's body and gait; gains are 1 for the average walker of Boulic et al. (1990)."""

    height_m: float = 1.72
    speed_mps: float = 1.25  #: preferred speed
    cycle_gain: float = 1.0  #: own stride time over the average walker's at the same speed and leg length
    step_asymmetry: float = 0.0  #: fraction of the cycle by which the right step comes late
    hip_gain: float = 1.0
    knee_gain: float = 1.0
    knee_difference: float = 0.0  #: left gain minus right gain, over their mean
    knee_lag: float = 0.0  #: cycle fraction by which the knee bends late in swing
    ankle_gain: float = 1.0
    left_arm_gain: float = 1.0
    right_arm_gain: float = 1.0
    arm_lag: float = 0.0  #: cycle fraction by which the arms swing late
    surge_gain: float = 1.0  #: fore-and-aft motion of the trunk
    surge_sharpness: float = 0.2  #: share of its second harmonic: pointed crests over broad troughs
    surge_lag: float = 0.0  #: cycle fraction
    bob_gain: float = 1.0
    sway_gain: float = 1.0
    lean_deg: float = 3.0
    girth_gain: float = 1.0  #: thickness of all segments
    arms_db: float = 0.0  #: echo of the arms against the average
    legs_db: float = 0.0


@dataclass(frozen=True)
class Session:
    """One visit of a person to the radar."""

    speed_gain: float = 1.0
    cycle_gain: float = 1.0
    arm_gain: float = 1.0
    aspect_deg: float = 0.0  #: between the walking direction and the line to the radar
    range_m: float = 8.0  #: at the start of a window
    radar_height_m: float = 1.0
    snr_db: float = 26.0  #: echo power over noise power in the I/Q signal
    clutter_db: float = -25.0  #: residual static clutter over echo power in the I/Q signal
    torso_db: float = 0.0  #: clothing
    arms_db: float = 0.0
    legs_db: float = 0.0


@dataclass(frozen=True)
class Window:
    """One stretch of walking inside a session; a window spans fewer strides than the tuples hold."""

    start_phase: float = 0.0  #: cycle fraction, 0 = heel strike of the left foot
    aspect_offset_deg: float = 0.0
    snr_offset_db: float = 0.0
    stride_gains: tuple[float, ...] = (1.0,) * 8  #: duration of each stride
    swing_gains: tuple[float, ...] = (1.0,) * 16  #: knee flexion of each step's swing


def sample_person(seed: int, user: int) -> Person:
    """Draw walker `user` (0-based). The spreads are set, not measured: see `benchmarks/simulator.py`."""
    rng = _generator(seed, _PERSON, user)
    height = float(np.clip(rng.normal(1.72, 0.09), 1.50, 1.98))
    arms = _gain(rng, 0.30)
    return Person(
        height_m=height,
        speed_mps=float(np.clip(rng.normal(1.25 + 0.4 * (height - 1.72), 0.08), 1.00, 1.50)),
        cycle_gain=_clipped(rng, 1.0, 0.06),
        step_asymmetry=_clipped(rng, 0.0, 0.025),
        hip_gain=_clipped(rng, 1.0, 0.06),
        knee_gain=_clipped(rng, 1.0, 0.06),
        knee_difference=_clipped(rng, 0.0, 0.10),
        knee_lag=_clipped(rng, 0.0, 0.015),
        ankle_gain=_clipped(rng, 1.0, 0.12),
        left_arm_gain=arms * _gain(rng, 0.25),
        right_arm_gain=arms * _gain(rng, 0.25),
        arm_lag=_clipped(rng, 0.0, 0.06),
        surge_gain=_gain(rng, 0.22),
        surge_sharpness=_clipped(rng, 0.2, 0.07),
        surge_lag=_clipped(rng, 0.0, 0.02),
        bob_gain=_gain(rng, 0.20),
        sway_gain=_gain(rng, 0.25),
        lean_deg=_clipped(rng, 3.0, 2.0),
        girth_gain=_gain(rng, 0.10),
        arms_db=_clipped(rng, 0.0, 1.0),
        legs_db=_clipped(rng, 0.0, 1.0),
    )


def sample_session(seed: int, user: int, session: int) -> Session:
    """Draw the circumstances of visit `session` (0-based) of walker `user`."""
    rng = _generator(seed, _SESSION, user, session)
    return Session(
        speed_gain=_clipped(rng, 1.0, 0.04),
        cycle_gain=_clipped(rng, 1.0, 0.012),
        arm_gain=_gain(rng, 0.12),
        aspect_deg=float(rng.uniform(-15, 15)),
        range_m=float(rng.uniform(6, 11)),
        radar_height_m=float(rng.uniform(0.9, 1.2)),
        snr_db=float(rng.uniform(19, 30)),
        clutter_db=float(rng.uniform(-34, -20)),
        torso_db=_clipped(rng, 0.0, 1.0),
        arms_db=_clipped(rng, 0.0, 1.5),
        legs_db=_clipped(rng, 0.0, 1.5),
    )


def sample_window(rng: np.random.Generator) -> Window:
    """Draw one window: start anywhere in the cycle, at a tempo of its own, no stride quite like the one before."""
    tempo = _clipped(rng, 1.0, 0.035)
    return Window(
        start_phase=float(rng.uniform(0, 1)),
        aspect_offset_deg=_clipped(rng, 0.0, 3.0),
        snr_offset_db=_clipped(rng, 0.0, 2.0),
        stride_gains=tuple(tempo * np.clip(rng.normal(1, 0.015, 8), 0.9, 1.1)),
        swing_gains=tuple(np.clip(rng.normal(1, 0.04, 16), 0.85, 1.15)),
    )


def window_generator(seed: int, user: int, session: int, window: int, *variant: int) -> np.random.Generator:
    """The random stream of one window: its `Window` first, then its clutter and noise.

    variant: numbers of what else there is of this window (another activity, another radar); none is the default.
    """
    return _generator(seed, _WINDOW, user, session, window, *variant)


def sample_companion(seed: int, user: int, session: int, window: int) -> tuple[Person, Session, Window]:
    """A stranger who happens to walk 1 to 3 m behind in one window, a little to the side: nobody of the users."""
    rng = _generator(seed, _COMPANION, user, session, window)
    stranger = int(rng.integers(_STRANGERS))
    circumstances = sample_session(seed, 10_000 + stranger, int(rng.integers(1000)))
    return sample_person(seed, 10_000 + stranger), circumstances, sample_window(rng)


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, *stream])


def _clipped(rng: np.random.Generator, mean: float, spread: float) -> float:
    """A normal draw kept within 2.5 standard deviations: walkers are odd, never impossible."""
    return float(mean + spread * np.clip(rng.normal(), -2.5, 2.5))


def _gain(rng: np.random.Generator, spread: float) -> float:
    """A log-normal gain around 1."""
    return float(np.exp(_clipped(rng, 0.0, spread)))
