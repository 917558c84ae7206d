"""How a person walks: joint positions of the global walking model of Boulic, Thalmann and Thalmann (1990).

"A global human walking model with real-time kinematic personification", The Visual Computer 6, 344-358. Joint angles
are periodic curves over the cycle fraction; here they drive rigid segments, and the stance leg is turned about its hip
so that the foot stands exactly still while the trunk passes over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from mdgen.data.simulator.people import Person, Session, Window

JOINTS = (
    *("pelvis", "chest", "neck", "head"),
    *("left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    *("right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    *("left_hip", "left_knee", "left_ankle", "left_toe", "right_hip", "right_knee", "right_ankle", "right_toe"),
)
#: Segment lengths over body height (Boulic et al.; `shin` and `thigh` together are the hip height).
PROPORTIONS = {
    **{"head": 0.130, "shoulders": 0.259, "torso": 0.288, "hips": 0.191, "thigh": 0.245, "shin": 0.246},
    **{"foot": 0.143, "upper_arm": 0.188, "forearm": 0.152, "hand": 0.100},
}
#: Relative speed V / hip height, in 1/s: the model holds up to 3; its slow gait, below 0.5, has other constants.
RELATIVE_SPEED_RANGE = (0.5, 3.0)
_GRID = 1024
ANKLE_HEIGHT = 0.04


@dataclass(frozen=True)
class Gait:
    """One person's walk in one session, as curves over the cycle fraction (0 = heel strike of the left foot)."""

    person: Person
    session: Session = field(default_factory=Session)
    #: Parts of the leg's cycle: foot flat on the ground, and swing leg wholly its own.
    flat: ClassVar[tuple[float, float]] = (0.0, 0.42)
    free: ClassVar[tuple[float, float]] = (0.58, 0.72)
    #: The pelvis is highest 0.125 cycles after half of this, twice a cycle.
    bob_phase: ClassVar[float] = 0.35

    @property
    def hip_height_m(self) -> float:
        return (PROPORTIONS["thigh"] + PROPORTIONS["shin"]) * self.person.height_m

    @property
    def speed_mps(self) -> float:
        return self.person.speed_mps * self.session.speed_gain

    @property
    def relative_speed(self) -> float:
        """RV = V / hip height, 1/s, kept where the constants hold."""
        return float(np.clip(self.speed_mps / self.hip_height_m, *RELATIVE_SPEED_RANGE))

    @property
    def cycle_s(self) -> float:
        """Duration of a stride (two steps): 1.346 / sqrt(RV) s for the average walker, times the person's own gain."""
        return 1.346 / np.sqrt(self.relative_speed) * self.person.cycle_gain * self.session.cycle_gain

    @property
    def stride_m(self) -> float:
        return self.speed_mps * self.cycle_s

    @property
    def support(self) -> float:
        """Part of the cycle a foot is on the ground: Ds = 0.752 Tc - 0.143 s, over Tc."""
        return 0.752 - 0.143 / self.cycle_s

    def joints(self, phase: np.ndarray, swing: np.ndarray | float = 1.0) -> np.ndarray:
        """Joint positions, float64 [T, J, 3] in m: x forward from where phase is 0, y left, z up from the ground.

        phase: float64 [T] cycles, increasing. swing: gain of the knee's flexion in swing, [T] or a number.
        """
        at = {name: np.zeros((len(phase), 3)) for name in JOINTS}
        self._trunk(at, phase)
        for side, shift in self._sides:
            self._leg(at, side, phase - shift, swing)
            self._arm(at, side, phase - shift)
        return np.stack([at[name] for name in JOINTS], axis=1)

    @property
    def _sides(self) -> tuple[tuple[str, float], tuple[str, float]]:
        """The legs and the cycle fraction of their heel strike."""
        return ("left", 0.0), ("right", 0.5 + self.person.step_asymmetry)

    def length_m(self, segment: str) -> float:
        return PROPORTIONS[segment] * self.person.height_m

    def surge_m(self, phase: np.ndarray) -> np.ndarray:
        """Fore-and-aft motion of the pelvis about uniform walking.

        Boulic's amplitude of 0.021 hip heights, twice a cycle. The phase puts the greatest speed at the end of double
        support, where the real spectrograms show it; the second harmonic points the crests of the speed.
        """
        angle = 4 * np.pi * (phase - 0.08 - self.person.surge_lag)
        shape = np.sin(angle) + self.person.surge_sharpness / 2 * np.sin(2 * angle)
        return 0.021 * self.hip_height_m * self.person.surge_gain * shape

    def _trunk(self, at: dict[str, np.ndarray], phase: np.ndarray) -> None:
        """Pelvis translation and torsion, and the upper body that counters it."""
        person, speed = self.person, self.relative_speed
        bob = 0.015 * speed * (np.sin(2 * np.pi * (2 * phase - self.bob_phase)) - 1) * person.bob_gain
        sway = -0.032 * np.sin(2 * np.pi * (phase - 0.1)) * person.sway_gain
        at["pelvis"][:, 0] = self.stride_m * phase + self.surge_m(phase)
        at["pelvis"][:, 1] = sway * self.hip_height_m
        at["pelvis"][:, 2] = (1 + bob) * self.hip_height_m + ANKLE_HEIGHT * person.height_m
        lean = np.radians(person.lean_deg)
        up = np.array([np.sin(lean), 0.0, np.cos(lean)])
        at["chest"] = at["pelvis"] + 0.6 * self.length_m("torso") * up
        at["neck"] = at["pelvis"] + self.length_m("torso") * up
        at["head"] = at["neck"] + self.length_m("head") * np.array([0.1, 0.0, 0.995])
        turn = np.radians(4 * speed) * np.cos(2 * np.pi * phase)
        across(at, "hip", at["pelvis"], self.length_m("hips") / 2, -turn)
        across(at, "shoulder", at["neck"], self.length_m("shoulders") / 2, turn)

    def _leg(self, at: dict[str, np.ndarray], side: str, phase: np.ndarray, swing: np.ndarray | float) -> None:
        swing = swing * (1 + self.person.knee_difference * (0.5 if side == "left" else -0.5))
        turn = look_up(self._turns[side], phase)
        hip = look_up(self._angles["hip"], phase) + turn
        knee = look_up(self._angles["knee"], phase)
        knee = knee * (1 + (swing - 1) * look_up(self._free, phase))
        pitch = hip - knee + look_up(self._angles["ankle"], phase)
        at[f"{side}_knee"] = at[f"{side}_hip"] + self.length_m("thigh") * hanging(hip)
        at[f"{side}_ankle"] = at[f"{side}_knee"] + self.length_m("shin") * hanging(hip - knee)
        at[f"{side}_toe"] = at[f"{side}_ankle"] + 0.75 * self.length_m("foot") * hanging(pitch + np.radians(75))

    def _arm(self, at: dict[str, np.ndarray], side: str, phase: np.ndarray) -> None:
        """The arm swings against the leg of its side, by 0.75 of Boulic's angle at a gain of 1."""
        gain = (self.person.left_arm_gain if side == "left" else self.person.right_arm_gain) * self.session.arm_gain
        phase = phase - self.person.arm_lag
        swing = 0.75 * 9.88 * self.relative_speed * gain
        shoulder = np.radians(3 - swing / 2 - swing * np.cos(2 * np.pi * phase))
        elbow = look_up(self._angles["elbow"], phase) * (0.5 + 0.5 * gain)
        at[f"{side}_elbow"] = at[f"{side}_shoulder"] + self.length_m("upper_arm") * hanging(shoulder)
        at[f"{side}_wrist"] = at[f"{side}_elbow"] + self.length_m("forearm") * hanging(shoulder + elbow)
        at[f"{side}_hand"] = at[f"{side}_wrist"] + self.length_m("hand") * hanging(shoulder + elbow)

    @cached_property
    def _angles(self) -> dict[str, np.ndarray]:
        """Boulic's joint angles in rad over one cycle of the joint's own leg, each [_GRID]; flexion is positive.

        The knee bends to 58 degrees at 0.73, not to 70 at 0.75 as in open ports of the model: with that the feet
        outrun those of measured spectrograms. Shorter strides bend it less. The ankle drops 12 degrees less at speed.
        """
        person, support = self.person, self.support
        stride = person.cycle_gain * self.session.cycle_gain
        fast = max(0.0, (self.relative_speed - 1.3) / 1.7)
        slow = min(1.0, self.relative_speed / 1.3)
        hip = [(0.5, -15), (0.9, 25 + 5 * fast)]
        knee = [(0.0, 3), (0.17, 3 + 22 * fast), (0.40, 3), (0.73 + person.knee_lag, 58)]
        ankle = [(0.0, -3), (0.08, -18 + 12 * fast), (0.5, 8), (support, -20), (0.85, -3)]
        elbow = [(0.05, 6 + 8 * slow), (0.5, 20 + 24 * slow), (0.9, 8 + 9 * slow)]
        return {
            "hip": np.radians(periodic_curve(hip)) * person.hip_gain,
            "knee": np.radians(periodic_curve(knee)) * person.knee_gain * stride,
            "ankle": np.radians(periodic_curve(ankle)) * person.ankle_gain,
            "elbow": np.radians(periodic_curve(elbow)),
        }

    @cached_property
    def _free(self) -> np.ndarray:
        """[_GRID]: 1 in the middle of the swing, 0 while the foot carries weight, smooth between."""
        return periodic_curve([(0.0, 0), (self.support, 0), (0.75, 1), (0.90, 0.2), (0.97, 0)])

    @cached_property
    def _turns(self) -> dict[str, np.ndarray]:
        return {side: self._stance_turn(shift) for side, shift in self._sides}

    def _stance_turn(self, shift: float) -> np.ndarray:
        """[_GRID] rad added to the hip of the leg that strikes at `shift`, so that its ankle stands still in stance.

        The ankle hangs `reach` below its hip at `angle` from the vertical, so turning the leg by
        asin(x / reach) - angle puts it x in front of the hip. x falls as the hip moves on over a fixed print.
        """
        phase = np.linspace(*self.flat, 64)
        thigh, shin = self.length_m("thigh"), self.length_m("shin")
        hip, knee = look_up(self._angles["hip"], phase), look_up(self._angles["knee"], phase)
        reach = np.sqrt(thigh**2 + shin**2 + 2 * thigh * shin * np.cos(knee))
        angle = hip - np.arcsin(shin * np.sin(knee) / reach)
        passed = self._hip_path_m(phase + shift, shift)
        footprint = np.mean(reach * np.sin(angle) + passed)
        turn = np.arcsin(np.clip((footprint - passed) / reach, -0.95, 0.95)) - angle
        return periodic_curve([*zip(phase, turn, strict=True), (self.free[0], 0.0), (self.free[1], 0.0)], smooth=0.006)

    def _hip_path_m(self, phase: np.ndarray, shift: float) -> np.ndarray:
        """x of the hip of the leg that strikes at `shift`, from where that leg's cycle began; phase [T] in cycles."""
        turn = np.radians(4 * self.relative_speed) * np.cos(2 * np.pi * phase)
        side = 1 if shift == 0 else -1
        swing = side * self.length_m("hips") / 2 * np.sin(turn)
        return self.stride_m * (phase - shift) + self.surge_m(phase) + swing


@dataclass(frozen=True)
class Walk:
    """One window of a gait: where every joint is at any time. treadmill: the belt takes the progress away."""

    gait: Gait
    window: Window
    treadmill: bool = False

    def joints(self, time_s: np.ndarray) -> np.ndarray:
        """Joint positions, float64 [T, J, 3] in m; x forward, y left, z up from the ground."""
        phase, swing = stride_clock(self.gait, self.window, time_s)
        joints = self.gait.joints(phase, swing)
        if self.treadmill:
            joints[..., 0] -= (self.gait.stride_m * phase)[:, None]
        return joints

    def cycle_s(self, time_s: np.ndarray) -> float:
        """Mean duration of a stride over the span of `time_s`."""
        phase = stride_clock(self.gait, self.window, time_s)[0]
        return float((time_s[-1] - time_s[0]) / (phase[-1] - phase[0]))


def stride_clock(gait: Gait, window: Window, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(phase in cycles, swing gain), each [T]: strides of unequal length run through smoothly."""
    ends = np.concatenate([[0.0], np.cumsum(window.stride_gains)]) * gait.cycle_s
    phase = PchipInterpolator(ends, np.arange(len(ends)), extrapolate=True)(time_s + window.start_phase * gait.cycle_s)
    steps = np.asarray(window.swing_gains)
    return phase, np.interp(2 * phase, np.arange(len(steps)), steps)


def across(at: dict[str, np.ndarray], joint: str, middle: np.ndarray, half_m: float, turn: np.ndarray) -> None:
    """Put a left and a right joint about `middle` into `at`; a positive `turn` (rad) brings the right one forward."""
    half = half_m * np.stack([-np.sin(turn), np.cos(turn), np.zeros_like(turn)], axis=1)
    at[f"left_{joint}"], at[f"right_{joint}"] = middle + half, middle - half


def periodic_curve(points: Sequence[tuple[float, float]], smooth: float = 0.012) -> np.ndarray:
    """[_GRID]: the periodic monotone cubic through (cycle fraction in [0, 1), value) points, its kinks rounded off.

    smooth: standard deviation of the rounding, in cycles (0.012 is about 12 ms of walking).
    """
    x, y = np.array(sorted(points)).T
    cycles = np.concatenate([x - 1, x, x + 1])
    values = PchipInterpolator(cycles, np.tile(y, 3))(np.arange(_GRID) / _GRID)
    return gaussian_filter1d(values, smooth * _GRID, mode="wrap")


def look_up(table: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """A [_GRID] curve of one cycle at `phase` [T], linear between its points."""
    return np.interp(phase % 1, np.arange(_GRID + 1) / _GRID, np.append(table, table[0]))


def hanging(angle: np.ndarray) -> np.ndarray:
    """[T, 3]: the direction of a segment that hangs down at 0 and points forward at pi / 2."""
    return np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=1)
