"""What a continuous-wave Doppler radar sees of a walker: echoes, clutter and noise as I/Q, then the dB spectrogram.

Each body segment is an ellipsoid (Chen, "The Micro-Doppler Effect in Radar") whose echo is spread over a
few points along it, so that a segment that turns smears over its own span of velocities and interferes with itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d
from scipy.signal import get_window, lfilter

from mdgen.data.simulator.kinematics import JOINTS, Gait, stride_clock
from mdgen.data.simulator.people import Window
from mdgen.errors import MdgenError

LIGHT_MPS = 299_792_458.0


@dataclass(frozen=True)
class RadarSettings:
    """The radar and its picture, whose lower and upper edges are `velocity_min_mps` and `velocity_max_mps`."""

    carrier_hz: float = 24.125e9
    prf_hz: float = 2000.0  #: I/Q samples per second
    window_s: float = 0.055  #: longest STFT window; a Doppler cell is wavelength / (2 window_s)
    duration_s: float = 2.2
    velocity_min_mps: float = -1.4
    velocity_max_mps: float = 5.8
    dynamic_range_db: float = 40.0  #: shown below the peak of each picture
    remove_static: bool = True  #: subtract the mean I/Q (moving-target indication)

    def __post_init__(self) -> None:
        limits = {
            **{"carrier_hz": (1e9, 100e9), "prf_hz": (100, 1e5), "window_s": (0.005, 0.5), "duration_s": (0.5, 4.0)},
            **{"dynamic_range_db": (10, 100), "velocity_max_mps": (0.5, 30), "velocity_min_mps": (-30, 0)},
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise MdgenError(
                    f"RadarSettings: {name} = {getattr(self, name)} is impossible; use {low:g} to {high:g}"
                )
        fastest = max(self.velocity_max_mps, -self.velocity_min_mps)
        if self.prf_hz < 4 * fastest / self.wavelength_m:
            need = int(np.ceil(4 * fastest / self.wavelength_m))
            raise MdgenError(
                f"RadarSettings: prf_hz = {self.prf_hz:g} aliases {fastest:g} m/s at {self.carrier_hz:g} Hz; "
                f"use at least {need} or show a smaller span of velocities"
            )

    @property
    def wavelength_m(self) -> float:
        return LIGHT_MPS / self.carrier_hz

    def row_velocities(self, size: int) -> np.ndarray:
        """[size] m/s at the middle of each row, the greatest first."""
        step = (self.velocity_max_mps - self.velocity_min_mps) / size
        return self.velocity_max_mps - step * (np.arange(size) + 0.5)

    def window_samples(self, size: int) -> int:
        """STFT window: one row resolves one Doppler cell, but no longer than `window_s` (rows then share a cell)."""
        row_mps = (self.velocity_max_mps - self.velocity_min_mps) / size
        return max(8, round(self.prf_hz * min(self.window_s, self.wavelength_m / (2 * row_mps))))


@dataclass(frozen=True)
class Segment:
    """An ellipsoid from joint `start` to joint `end`. thickness: its radius over body height."""

    start: str
    end: str
    kind: str  #: torso, arms or legs: what clothing and identity act on
    points: int
    thickness: float
    gain_db: float


def _both(start: str, end: str, kind: str, points: int, thickness: float, gain_db: float) -> list[Segment]:
    return [Segment(f"{s}_{start}", f"{s}_{end}", kind, points, thickness, gain_db) for s in ("left", "right")]


#: Gains set the torso some 10 to 20 dB above the feet, as measured spectrograms show.
SEGMENTS = (
    Segment("neck", "head", "torso", 2, 0.050, -4.0),
    Segment("chest", "neck", "torso", 2, 0.085, 3.0),
    Segment("pelvis", "chest", "torso", 3, 0.080, 3.0),
    Segment("left_shoulder", "right_shoulder", "torso", 3, 0.050, -4.0),
    Segment("left_hip", "right_hip", "torso", 3, 0.055, -4.0),
    *_both("shoulder", "elbow", "arms", 2, 0.022, -6.0),
    *_both("elbow", "wrist", "arms", 2, 0.018, -6.0),
    *_both("wrist", "hand", "arms", 2, 0.018, -6.0),
    *_both("hip", "knee", "legs", 4, 0.036, -6.0),
    *_both("knee", "ankle", "legs", 4, 0.025, -7.0),
    *_both("ankle", "toe", "legs", 3, 0.025, -5.0),
)
_STARTS = [JOINTS.index(s.start) for s in SEGMENTS]
_ENDS = [JOINTS.index(s.end) for s in SEGMENTS]
#: Each point's place along its segment, and the segment it belongs to, [P].
_ALONG = np.concatenate([(np.arange(s.points) + 0.5) / s.points for s in SEGMENTS])
_OF = np.repeat(np.arange(len(SEGMENTS)), [s.points for s in SEGMENTS])
_TORSO = np.array([SEGMENTS[i].kind == "torso" for i in _OF])
_SCINTILLATION = np.array([0.2 if s.kind == "torso" else 0.6 for s in SEGMENTS])  #: of the log amplitude
_SCINTILLATION_S = 0.02
_SEGMENT_SPREAD_DB = 3.0  #: how much a segment's echo differs between windows
_BODY_HZ = 250  #: positions are computed at about this rate and their ranges interpolated to the pulses


def ellipsoid_rcs_m2(cos2_axis: np.ndarray, radius_m: np.ndarray, half_length_m: np.ndarray) -> np.ndarray:
    """Radar cross-section of an ellipsoid of revolution, m^2 (Chen, with a = b).

    cos2_axis: squared cosine of the angle between its axis and the line of sight.
    """
    across = radius_m**2 * (1 - cos2_axis) + half_length_m**2 * cos2_axis
    return np.pi * radius_m**4 * half_length_m**2 / across**2


def echo(
    gait: Gait, window: Window, radar: RadarSettings, samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """(noise-free I/Q of the walker, complex64 [samples], mean power 1; the truth about the window)."""
    ratio = max(1, round(radar.prf_hz / _BODY_HZ))
    time = (np.arange(-(-samples // ratio) + 3) - 1) * ratio / radar.prf_hz
    phase, swing = stride_clock(gait, window, time)
    range_m, amplitude = _scatterers(gait, window, gait.joints(phase, swing))
    turns = _upsample(range_m * (-2 / radar.wavelength_m), ratio)
    turns -= np.rint(turns)
    angle = turns.astype(np.float32) * np.float32(2 * np.pi)
    amplitude *= 10 ** (rng.normal(0, _SEGMENT_SPREAD_DB, len(SEGMENTS)) / 20)[_OF]
    amplitude *= _scintillation(amplitude.shape, time[1] - time[0], rng)
    strength = _upsample(amplitude.astype(np.float32), ratio)
    iq = np.empty(angle.shape[1::-1], np.complex64)
    iq.real = np.einsum("rtp,rtp->tr", strength, np.cos(angle))
    iq.imag = np.einsum("rtp,rtp->tr", strength, np.sin(angle))
    iq = iq.reshape(-1)[:samples]
    span_s = time[-1] - time[0]
    truth = {
        "true_speed_mps": (range_m[0, _TORSO] - range_m[-1, _TORSO]).mean() / span_s,
        "true_cycle_s": span_s / (phase[-1] - phase[0]),
        "true_height_m": gait.person.height_m,
    }
    return iq / np.sqrt(np.mean(np.abs(iq) ** 2)), truth


def _scatterers(gait: Gait, window: Window, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(range in m, amplitude), each [T, P], of every point of the body whose joints are [T, J, 3]."""
    session = gait.session
    aspect = np.radians(session.aspect_deg + window.aspect_offset_deg)
    radar = np.array([np.cos(aspect), np.sin(aspect), 0]) * session.range_m + [0, 0, session.radar_height_m]
    radar[0] += joints[len(joints) // 2, 0, 0]
    axis = joints[:, _ENDS] - joints[:, _STARTS]  # (T, S, 3)
    sight = radar - joints[:, _STARTS]
    length2, along, distance2 = (
        np.einsum("tsx,tsx->ts", a, b) for a, b in ((axis, axis), (axis, sight), (sight, sight))
    )
    radius = np.array([s.thickness for s in SEGMENTS]) * gait.person.height_m * gait.person.girth_gain
    rcs_m2 = ellipsoid_rcs_m2(along**2 / (length2 * distance2), radius, np.sqrt(length2) / 2)
    amplitude = np.sqrt(rcs_m2) / distance2 * _segment_gains(gait)
    range2 = distance2[:, _OF] - 2 * _ALONG * along[:, _OF] + _ALONG**2 * length2[:, _OF]
    return np.sqrt(range2), amplitude[:, _OF]


def _scintillation(shape: tuple[int, int], step_s: float, rng: np.random.Generator) -> np.ndarray:
    """Log-normal amplitude factors [T, P]: moving clothes change what a point reflects within some 50 ms."""
    span = _SCINTILLATION_S / step_s
    noise = gaussian_filter1d(rng.standard_normal(shape, np.float32), span, axis=0, truncate=3)
    return np.exp(noise * (_SCINTILLATION * np.sqrt(2 * np.sqrt(np.pi) * span))[_OF])


def _segment_gains(gait: Gait) -> np.ndarray:
    """[S] amplitude of one point of each segment: person, clothing and share of the segment's echo."""
    person, session = gait.person, gait.session
    kind_db = {
        "torso": session.torso_db,
        "arms": person.arms_db + session.arms_db,
        "legs": person.legs_db + session.legs_db,
    }
    decibel = np.array([s.gain_db + kind_db[s.kind] for s in SEGMENTS])
    return 10 ** (decibel / 20) / np.array([s.points for s in SEGMENTS])


def _upsample(values: np.ndarray, ratio: int) -> np.ndarray:
    """Cubic (four-point Lagrange) interpolation of [T, P] to [ratio, T - 3, P], from the second sample on.

    Element [r, t] lies r / ratio of a step after sample t + 1.
    """
    x = np.arange(ratio) / ratio
    nodes = (-1, 0, 1, 2)
    weights = [np.prod([(x - m) / (n - m) for m in nodes if m != n], axis=0) for n in nodes]
    neighbours = sliding_window_view(values, len(values) - 3, axis=0).swapaxes(1, 2)  # (4, T - 3, P)
    return np.tensordot(np.stack(weights, 1).astype(values.dtype), neighbours, 1)


def receive(
    iq: np.ndarray, snr_db: float, clutter_db: float, radar: RadarSettings, rng: np.random.Generator
) -> np.ndarray:
    """Add white receiver noise and what the surroundings return; complex64 [T].

    Clutter is a constant plus a slow wander of about 1 Hz (moving leaves, oscillator drift): the constant part goes
    when `remove_static` is set, the wander remains as the line at zero Doppler.
    """
    noise, wander = rng.standard_normal((2, 2 * len(iq)), np.float32).view(np.complex64)
    pole = np.exp(-2 * np.pi * 1.0 / radar.prf_hz)
    wander = lfilter([np.sqrt((1 - pole**2) / 2)], [1, -pole], wander)
    clutter = 10 ** (clutter_db / 20) * (wander + 10 * np.exp(2j * np.pi * rng.uniform()))
    signal = iq + clutter + 10 ** (-snr_db / 20) / np.sqrt(2) * noise
    return (signal - signal.mean() if radar.remove_static else signal).astype(np.complex64)


def spectrogram(iq: np.ndarray, size: int, radar: RadarSettings) -> np.ndarray:
    """float32 [size, size] in [-1, 1]: dB below the picture's peak, row 0 the highest approaching velocity.

    Every pixel is one STFT value (Hann window), computed at the middle of its row and column: nothing is resampled.
    """
    length = radar.window_samples(size)
    starts = np.round((np.arange(size) + 0.5) * radar.duration_s / size * radar.prf_hz).astype(int)
    frames = sliding_window_view(iq, length)[starts]
    doppler_hz = 2 * radar.row_velocities(size) / radar.wavelength_m
    kernel = np.exp(-2j * np.pi / radar.prf_hz * np.outer(np.arange(length), doppler_hz))
    kernel *= get_window("hann", length)[:, None]
    power = np.abs(frames @ kernel.astype(np.complex64)).T
    decibel = 20 * np.log10(np.maximum(power / power.max(), 1e-9))
    return (
        (1 + np.maximum(decibel, -radar.dynamic_range_db) * (2 / radar.dynamic_range_db)).clip(-1, 1).astype(np.float32)
    )


def signal_samples(size: int, radar: RadarSettings) -> int:
    """I/Q samples a picture of `size` columns needs."""
    return round(radar.duration_s * radar.prf_hz) + radar.window_samples(size) + 1
