"""What people do in front of the radar: walk, run, limp, carry a bag, sit down and stand up, wave an arm.

Every activity is a `Motion`: the positions of all joints at any time. Gaits are Boulic's with other constants; the
others stand on their feet. Their constants are set by plausibility, not measured, unless a source is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar, Protocol

import numpy as np

from mdgen.data.simulator.kinematics import (
    ANKLE_HEIGHT,
    JOINTS,
    Gait,
    Walk,
    across,
    hanging,
    periodic_curve,
)
from mdgen.data.simulator.people import Person, Session, Window

#: A bag's bottom hangs this far below the hand; the joint follows `JOINTS`.
BAG, BAG_LENGTH_M = "bag", 0.35


class Motion(Protocol):
    """One window of an activity."""

    @property
    def gait(self) -> Gait:
        """Whose body moves, in which session."""

    def joints(self, time_s: np.ndarray) -> np.ndarray:
        """Joint positions, float64 [T, J, 3] in m, in the order of `JOINTS` (and `BAG`); x forward, y left, z up."""

    def cycle_s(self, time_s: np.ndarray) -> float:
        """Mean duration of one repetition over the span of `time_s`."""


@dataclass(frozen=True)
class RunningGait(Gait):
    """A jog: flight between the steps, deep knees, bent elbows. Joint angles after Novacheck (1998)."""

    flat: ClassVar[tuple[float, float]] = (0.0, 0.30)
    free: ClassVar[tuple[float, float]] = (0.42, 0.60)
    bob_phase: ClassVar[float] = 0.55  #: lowest in mid stance, highest in flight

    @property
    def speed_mps(self) -> float:
        return 2.2 * super().speed_mps

    @property
    def cycle_s(self) -> float:
        """Near 165 steps a minute whatever the speed: runners lengthen their stride first."""
        return 0.73 * (2.75 / self.speed_mps) ** 0.2 * self.person.cycle_gain * self.session.cycle_gain

    @property
    def support(self) -> float:
        return 0.36

    def surge_m(self, phase: np.ndarray) -> np.ndarray:
        """A runner brakes and pushes off within a few per cent of the speed."""
        return 0.4 * super().surge_m(phase)

    @cached_property
    def _angles(self) -> dict[str, np.ndarray]:
        person = self.person
        hip = [(0.0, 30), (0.2, 10), (0.38, -12), (0.80, 45), (0.94, 36)]
        knee = [(0.0, 18), (0.14, 42), (0.36, 18), (0.68 + person.knee_lag, 100), (0.94, 16)]
        ankle = [(0.0, 5), (0.16, 22), (0.40, -22), (0.65, 0), (0.9, 5)]
        return {
            "hip": np.radians(periodic_curve(hip)) * person.hip_gain,
            "knee": np.radians(periodic_curve(knee)) * person.knee_gain,
            "ankle": np.radians(periodic_curve(ankle)) * person.ankle_gain,
            "elbow": np.radians(periodic_curve([(0.05, 80), (0.5, 100)])),
        }

    @cached_property
    def _free(self) -> np.ndarray:
        return periodic_curve([(0.0, 0), (self.support, 0), (0.68, 1), (0.90, 0.2), (0.97, 0)])


@dataclass(frozen=True)
class CarryBag:
    """Walking with a bag in the right hand: that arm hardly swings, and what it holds echoes too."""

    walk: Walk

    @property
    def gait(self) -> Gait:
        return self.walk.gait

    def joints(self, time_s: np.ndarray) -> np.ndarray:
        joints = self.walk.joints(time_s)
        hand = joints[:, JOINTS.index("right_hand")]
        return np.concatenate([joints, (hand - [0, 0, BAG_LENGTH_M])[:, None]], axis=1)

    def cycle_s(self, time_s: np.ndarray) -> float:
        return self.walk.cycle_s(time_s)


@dataclass(frozen=True)
class Standing:
    """What is done on the spot: feet fixed, body built upon them from angles in rad.

    angles: maps phase [T] in cycles to shank, thigh and trunk lean (0 = upright, positive = forward, forward, forward
    of the vertical) and, for each side, shoulder (0 = hanging, pi / 2 = forward) and elbow flexion.
    """

    gait: Gait
    window: Window
    period_s: float
    angles: Callable[[Person, np.ndarray], dict[str, np.ndarray]]

    def cycle_s(self, time_s: np.ndarray) -> float:
        """One tempo throughout."""
        return self.period_s * self.gait.person.cycle_gain * self.gait.session.cycle_gain * self.window.stride_gains[0]

    def joints(self, time_s: np.ndarray) -> np.ndarray:
        gait, phase = self.gait, time_s / self.cycle_s(time_s) + self.window.start_phase
        angle = self.angles(gait.person, phase)
        at: dict[str, np.ndarray] = {}
        ground = np.tile([0.0, 0.0, ANKLE_HEIGHT * gait.person.height_m], (len(time_s), 1))
        still = np.zeros(len(time_s))
        shin, thigh = (
            -gait.length_m("shin") * hanging(-angle["shank"]),
            -gait.length_m("thigh") * hanging(angle["thigh"]),
        )
        lean = -hanging(-angle["lean"] - np.radians(gait.person.lean_deg))
        at["pelvis"] = ground + shin + thigh
        for joint, middle in (("ankle", ground), ("knee", ground + shin), ("hip", at["pelvis"])):
            across(at, joint, middle, gait.length_m("hips") / 2, still)
        across(at, "toe", ground + np.array([0.75 * gait.length_m("foot"), 0, 0]), gait.length_m("hips") / 2, still)
        at["chest"] = at["pelvis"] + 0.6 * gait.length_m("torso") * lean
        at["neck"] = at["pelvis"] + gait.length_m("torso") * lean
        at["head"] = at["neck"] + gait.length_m("head") * lean
        across(at, "shoulder", at["neck"], gait.length_m("shoulders") / 2, still)
        for side in ("left", "right"):
            upper, lower = angle[f"{side}_shoulder"], angle[f"{side}_shoulder"] + angle[f"{side}_elbow"]
            at[f"{side}_elbow"] = at[f"{side}_shoulder"] + gait.length_m("upper_arm") * hanging(upper)
            at[f"{side}_wrist"] = at[f"{side}_elbow"] + gait.length_m("forearm") * hanging(lower)
            at[f"{side}_hand"] = at[f"{side}_wrist"] + gait.length_m("hand") * hanging(lower)
        return np.stack([at[name] for name in JOINTS], axis=1)


def _sit_and_stand(person: Person, phase: np.ndarray) -> dict[str, np.ndarray]:
    """Down and up once a cycle, with a rest in both positions; the trunk leans most on the way."""
    swing = np.sin(2 * np.pi * phase) * 1.5
    seated = 0.5 + 0.5 * np.sin(np.pi / 2 * np.clip(swing, -1, 1))
    arm = np.radians(5 + 40 * seated)
    return {
        "shank": np.radians(12) * seated,
        "thigh": np.radians(82) * seated * person.knee_gain,
        "lean": np.radians(42) * 4 * seated * (1 - seated) * person.hip_gain,
        **{f"{side}_shoulder": arm for side in ("left", "right")},
        **{f"{side}_elbow": np.radians(10) + arm / 2 for side in ("left", "right")},
    }


def _wave(person: Person, phase: np.ndarray) -> dict[str, np.ndarray]:
    """The right forearm goes to and fro in front of the shoulder; the rest of the body gives way a little."""
    swing = np.sin(2 * np.pi * phase)
    return {
        "shank": np.radians(0.5) * swing,
        "thigh": np.radians(-0.5) * swing,
        "lean": np.radians(1.0) * swing * person.sway_gain,
        "left_shoulder": np.radians(3) + np.radians(1.5) * swing,
        "left_elbow": np.full_like(phase, np.radians(10)),
        "right_shoulder": np.radians(75) + np.radians(8) * np.sin(2 * np.pi * (phase - 0.1)),
        "right_elbow": np.radians(60) + np.radians(38) * swing * np.sqrt(person.right_arm_gain),
    }


@lru_cache(maxsize=64)
def _gait(kind: type[Gait], person: Person, session: Session) -> Gait:
    """One gait for all windows of a session, because its curves are worked out once."""
    return kind(person, session)


def _walk(person: Person, session: Session, window: Window, treadmill: bool) -> Motion:
    return Walk(_gait(Gait, person, session), window, treadmill)


def _run(person: Person, session: Session, window: Window, treadmill: bool) -> Motion:
    return Walk(_gait(RunningGait, person, session), window, treadmill)


def _limp(person: Person, session: Session, window: Window, treadmill: bool) -> Motion:
    """One leg hurts, the same in every session: its knee stays stiff, and the other foot hurries to the ground."""
    side = 1 if person.knee_difference >= 0 else -1
    limping = replace(
        person,
        speed_mps=0.7 * person.speed_mps,
        cycle_gain=1.05 * person.cycle_gain,
        step_asymmetry=person.step_asymmetry + 0.06 * side,
        knee_difference=person.knee_difference + 0.5 * side,
        hip_gain=0.9 * person.hip_gain,
        surge_gain=1.4 * person.surge_gain,
        sway_gain=1.8 * person.sway_gain,
    )
    return Walk(_gait(Gait, limping, session), window, treadmill)


def _carry_bag(person: Person, session: Session, window: Window, treadmill: bool) -> Motion:
    laden = replace(
        person,
        speed_mps=0.95 * person.speed_mps,
        right_arm_gain=0.15 * person.right_arm_gain,
        lean_deg=person.lean_deg + 2,
    )
    return CarryBag(Walk(_gait(Gait, laden, session), window, treadmill))


def _sit_stand(person: Person, session: Session, window: Window, treadmill: bool) -> Motion:
    return Standing(_gait(Gait, person, session), window, 3.0, _sit_and_stand)


def _arm_wave(person: Person, session: Session, window: Window, treadmill: bool) -> Motion:
    return Standing(_gait(Gait, person, session), window, 0.8, _wave)


#: Name -> the motion of a person in a session and a window. The first is the default, and numbers keep their meaning.
ACTIVITIES: dict[str, Callable[[Person, Session, Window, bool], Motion]] = {
    "walk": _walk,
    "run": _run,
    "limp": _limp,
    "carry_bag": _carry_bag,
    "sit_stand": _sit_stand,
    "arm_wave": _arm_wave,
}
#: What stays where it is.
ON_THE_SPOT = ("sit_stand", "arm_wave")
#: Greatest speed of any part of the body, m/s, with room to spare: half the axis a radar needs.
FASTEST_MPS = {"walk": 5.8, "run": 9.6, "limp": 5.8, "carry_bag": 5.8, "sit_stand": 3.0, "arm_wave": 3.0}
