"""What a moving body returns: the complex echo of its segments at a continuous-wave radar.

Each body segment is an ellipsoid (Chen, "The Micro-Doppler Effect in Radar") whose echo is spread over a
few points along it, so that a segment that turns smears over its own span of velocities and interferes with itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d

from mdgen.data.simulator.activities import BAG, Motion
from mdgen.data.simulator.kinematics import JOINTS
from mdgen.data.simulator.radar import RadarSettings


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
BAG_SEGMENT = Segment("right_hand", BAG, "bag", 3, 0.080, -4.0)
_SCINTILLATION_S = 0.02
_SEGMENT_SPREAD_DB = 3.0  #: how much a segment's echo differs between windows
_BODY_HZ = 250  #: positions are computed at about this rate and their ranges interpolated to the pulses


@dataclass(frozen=True)
class Scatterers:
    """The points that `segments` echo from; P points of S segments."""

    segments: tuple[Segment, ...]

    @cached_property
    def starts(self) -> list[int]:
        """[S] joints at which the segments start."""
        return [(*JOINTS, BAG).index(s.start) for s in self.segments]

    @cached_property
    def ends(self) -> list[int]:
        """[S] joints at which they end."""
        return [(*JOINTS, BAG).index(s.end) for s in self.segments]

    @cached_property
    def along(self) -> np.ndarray:
        """[P] each point's place along its segment, 0 to 1."""
        return np.concatenate([(np.arange(s.points) + 0.5) / s.points for s in self.segments])

    @cached_property
    def segment(self) -> np.ndarray:
        """[P] the segment each point belongs to."""
        return np.repeat(np.arange(len(self.segments)), [s.points for s in self.segments])

    @cached_property
    def torso(self) -> np.ndarray:
        """bool [P]."""
        return np.array([self.segments[i].kind == "torso" for i in self.segment])

    @cached_property
    def scintillation(self) -> np.ndarray:
        """[S] standard deviation of the log amplitude."""
        return np.array([0.2 if s.kind == "torso" else 0.6 for s in self.segments])


@lru_cache
def scatterers(joints: int) -> Scatterers:
    """The scatterers of a body of so many joints: one joint more than `JOINTS` is a bag."""
    return Scatterers(SEGMENTS if joints == len(JOINTS) else (*SEGMENTS, BAG_SEGMENT))


@dataclass(frozen=True)
class Sight:
    """Where the radar stands: `aspect_deg` from the walking direction, so far from the middle of the path.

    path_offset_m: [3], added to the whole body: a second person does not walk in the first one's place.
    """

    aspect_deg: float
    range_m: float
    radar_height_m: float
    path_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def radar_m(self, joints: np.ndarray) -> np.ndarray:
        """Position of the radar, [3], for a body whose joints are [T, J, 3] in the middle of its path at T / 2."""
        aspect = np.radians(self.aspect_deg)
        radar = np.array([np.cos(aspect), np.sin(aspect), 0]) * self.range_m + [0, 0, self.radar_height_m]
        radar[0] += joints[len(joints) // 2, 0, 0]
        return radar - self.path_offset_m


def body_times(samples: int, radar: RadarSettings) -> tuple[np.ndarray, int]:
    """(times in s at which positions are computed, pulses from one to the next); pulse 0 is the second of them."""
    ratio = max(1, round(radar.prf_hz / _BODY_HZ))
    return (np.arange(-(-samples // ratio) + 3) - 1) * ratio / radar.prf_hz, ratio


def echo(
    motion: Motion, sight: Sight, radar: RadarSettings, samples: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """(noise-free I/Q of the body, complex64 [samples]; mean radial speed of the torso in m/s, approaching is +)."""
    time, ratio = body_times(samples, radar)
    joints = motion.joints(time)
    points = scatterers(joints.shape[1])
    range_m, amplitude = _ranges_and_amplitudes(motion, points, joints, sight.radar_m(joints))
    turns = _upsample(range_m * (-2 / radar.wavelength_m), ratio)
    turns -= np.rint(turns)
    angle = turns.astype(np.float32) * np.float32(2 * np.pi)
    amplitude *= 10 ** (rng.normal(0, _SEGMENT_SPREAD_DB, len(points.segments)) / 20)[points.segment]
    amplitude *= _scintillation(points, len(amplitude), time[1] - time[0], rng)
    strength = _upsample(amplitude.astype(np.float32), ratio)
    iq = np.empty(angle.shape[1::-1], np.complex64)
    iq.real = np.einsum("rtp,rtp->tr", strength, np.cos(angle))
    iq.imag = np.einsum("rtp,rtp->tr", strength, np.sin(angle))
    speed = (range_m[0, points.torso] - range_m[-1, points.torso]).mean() / (time[-1] - time[0])
    return iq.reshape(-1)[:samples], float(speed)


def ellipsoid_rcs_m2(cos2_axis: np.ndarray, radius_m: np.ndarray, half_length_m: np.ndarray) -> np.ndarray:
    """Radar cross-section of an ellipsoid of revolution, m^2 (Chen, with a = b).

    cos2_axis: squared cosine of the angle between its axis and the line of sight.
    """
    across = radius_m**2 * (1 - cos2_axis) + half_length_m**2 * cos2_axis
    return np.pi * radius_m**4 * half_length_m**2 / across**2


def _ranges_and_amplitudes(
    motion: Motion, points: Scatterers, joints: np.ndarray, radar_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(range in m, amplitude), each [T, P], of every point of the body whose joints are [T, J, 3]."""
    person = motion.gait.person
    axis = joints[:, points.ends] - joints[:, points.starts]  # (T, S, 3)
    sight = radar_m - joints[:, points.starts]
    length2, along, distance2 = (
        np.einsum("tsx,tsx->ts", a, b) for a, b in ((axis, axis), (axis, sight), (sight, sight))
    )
    radius = np.array([s.thickness for s in points.segments]) * person.height_m * person.girth_gain
    rcs_m2 = ellipsoid_rcs_m2(along**2 / (length2 * distance2), radius, np.sqrt(length2) / 2)
    amplitude = np.sqrt(rcs_m2) / distance2 * _segment_gains(motion, points)
    at, of = points.along, points.segment
    range2 = distance2[:, of] - 2 * at * along[:, of] + at**2 * length2[:, of]
    return np.sqrt(range2), amplitude[:, of]


def _scintillation(points: Scatterers, count: int, step_s: float, rng: np.random.Generator) -> np.ndarray:
    """Log-normal amplitude factors [T, P]: moving clothes change what a point reflects within some 50 ms."""
    span = _SCINTILLATION_S / step_s
    noise = rng.standard_normal((count, len(points.along)), np.float32)
    noise = gaussian_filter1d(noise, span, axis=0, truncate=3)
    return np.exp(noise * (points.scintillation * np.sqrt(2 * np.sqrt(np.pi) * span))[points.segment])


def _segment_gains(motion: Motion, points: Scatterers) -> np.ndarray:
    """[S] amplitude of one point of each segment: person, clothing and share of the segment's echo."""
    person, session = motion.gait.person, motion.gait.session
    kind_db = {
        "torso": session.torso_db,
        "arms": person.arms_db + session.arms_db,
        "legs": person.legs_db + session.legs_db,
        "bag": 0.0,
    }
    decibel = np.array([s.gain_db + kind_db[s.kind] for s in points.segments])
    return 10 ** (decibel / 20) / np.array([s.points for s in points.segments])


def _upsample(values: np.ndarray, ratio: int) -> np.ndarray:
    """Cubic (four-point Lagrange) interpolation of [T, P] to [ratio, T - 3, P], from the second sample on.

    Element [r, t] lies r / ratio of a step after sample t + 1.
    """
    x = np.arange(ratio) / ratio
    nodes = (-1, 0, 1, 2)
    weights = [np.prod([(x - m) / (n - m) for m in nodes if m != n], axis=0) for n in nodes]
    neighbours = sliding_window_view(values, len(values) - 3, axis=0).swapaxes(1, 2)  # (4, T - 3, P)
    return np.tensordot(np.stack(weights, 1).astype(values.dtype), neighbours, 1)
