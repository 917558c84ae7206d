"""A data set of simulated people: the embedded default, made in seconds without any file or network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet, make_table, write_dataset
from mdgen.data.folders import atomic_folder
from mdgen.data.simulator.activities import ACTIVITIES, Motion
from mdgen.data.simulator.echo import Sight, body_times, echo
from mdgen.data.simulator.kinematics import Gait, Walk
from mdgen.data.simulator.people import (
    Person,
    Session,
    Window,
    sample_companion,
    sample_person,
    sample_session,
    sample_window,
    window_generator,
)
from mdgen.data.simulator.radar import RadarSettings, receive, signal_samples, spectrogram
from mdgen.data.simulator.scene import Scene, Sensor
from mdgen.data.simulator.truth import Truth, stack_tracks, track, write_truth
from mdgen.errors import MdgenError

#: How far behind the user a companion walks, and how far to the side, at most; m.
_BEHIND_M, _ASIDE_M = (1.0, 3.0), 1.0


def simulate(
    users: int = 12,
    sessions: int = 6,
    windows: int = 20,
    size: int = 64,
    seed: int = 0,
    *,
    fractions: dict[str, float] | None = None,
    scene: Scene = Scene(),
) -> SpectrogramSet:
    """Simulate `users` x `sessions` x activities x `windows` moments, each seen by every sensor of the scene.

    fractions: share of each role, see `mdgen.data.splits.assign_roles`. Picture (user, session, activity, window,
    sensor) depends on the seed, the scene and the size only, so a smaller set is part of a larger one. Beside the
    contract's columns the table has `activity`, `view` (aspect in degrees), `device` where there are several carriers,
    and the truth of each window: `true_speed_mps` (mean radial speed of the torso), `true_cycle_s` (mean duration of a
    stride or repetition), `true_height_m`. Raises `MdgenError` for impossible settings, and for too few windows to give
    every role some.
    """
    from mdgen.data.splits import assign_roles

    _check(users, sessions, windows, size, seed)
    moments = list(_moments(users, sessions, windows, scene))
    table = _keys(moments, scene)
    table["split"] = assign_roles(table, fractions, seed)
    seen = [_observe(look, size) for look in _looks(moments, seed, scene)]
    table = pd.concat([table, pd.DataFrame([facts for _, facts in seen])], axis=1)
    return SpectrogramSet(np.stack([image for image, _ in seen])[:, None], table, _name(scene, users))


def simulated_truth(
    users: int = 12, sessions: int = 6, windows: int = 20, size: int = 64, seed: int = 0, *, scene: Scene = Scene()
) -> Truth:
    """Where every joint is in every column of the pictures that `simulate` draws for the same numbers and scene."""
    _check(users, sessions, windows, size, seed)
    moments = _moments(users, sessions, windows, scene)
    return stack_tracks([track(look.motion, look.sight, size, look.radar) for look in _looks(moments, seed, scene)])


def write_simulated(data: SpectrogramSet, truth: Truth | None, out: Path) -> None:
    """The data set in the contract, with `truth.npz` where it is given; all of it or nothing."""
    with atomic_folder(out) as folder:
        write_dataset(data, folder)
        if truth is not None:
            write_truth(truth, folder)


def simulate_window(
    gait: Gait, rng: np.random.Generator, size: int, radar: RadarSettings
) -> tuple[np.ndarray, dict[str, float]]:
    """One spectrogram of a gait, float32 [size, size] in [-1, 1], and the physical truth about it."""
    window = sample_window(rng)
    sight = _sight(gait.session, window, Sensor(0, radar))
    image, truth = _observe(_Look(Walk(gait, window), window, sight, radar, rng), size)
    return image, {name: value for name, value in truth.items() if name.startswith("true_")}


@dataclass(frozen=True)
class _Moment:
    """One window of one activity. stream: the numbers of its random stream."""

    user: int
    session: int
    activity: str
    window: int

    @property
    def stream(self) -> tuple[int, ...]:
        number = list(ACTIVITIES).index(self.activity)
        return (self.user, self.session, self.window, *([number] if number else []))


def _moments(users: int, sessions: int, windows: int, scene: Scene) -> Iterator[_Moment]:
    """Users outermost, windows innermost."""
    for user in range(users):
        for session in range(sessions):
            for activity in scene.activities:
                for window in range(windows):
                    yield _Moment(user, session, activity, window)


def _keys(moments: list[_Moment], scene: Scene) -> pd.DataFrame:
    """The key columns and labels, one row per moment and sensor. All an activity's windows are one recording."""
    rows = [(moment, sensor) for moment in moments for sensor in scene.sensors]
    table = make_table(
        user=[f"walker_{m.user + 1:02d}" for m, _ in rows],
        session=[f"s{m.session + 1}" for m, _ in rows],
        recording=[str(scene.activities.index(m.activity) + 1) for m, _ in rows],
    )
    table = table.assign(activity=[m.activity for m, _ in rows], view=[sensor.view for _, sensor in rows])
    devices = [sensor.device for _, sensor in rows]
    return table.assign(device=devices) if len(set(devices)) > 1 else table


@dataclass(frozen=True)
class _Company:
    """A second person: how they move, and where they walk beside the first, [3] m."""

    motion: Motion
    offset_m: tuple[float, float, float]


@dataclass(frozen=True)
class _Look:
    """A moment as one radar sees it. rng: of its echo and noise. company: who else is there."""

    motion: Motion
    window: Window
    sight: Sight
    radar: RadarSettings
    rng: np.random.Generator
    company: _Company | None = None


def _looks(moments: Iterable[_Moment], seed: int, scene: Scene) -> Iterator[_Look]:
    """Every moment before every sensor, in the order of the table."""
    people: dict[int, Person] = {}
    for moment in moments:
        person = people.setdefault(moment.user, sample_person(seed, moment.user))
        session = scene.conditions.apply(sample_session(seed, moment.user, moment.session))
        base = window_generator(seed, *moment.stream)
        window = sample_window(base)
        motion = ACTIVITIES[moment.activity](person, session, window, scene.treadmill)
        company = _company(seed, moment, session) if scene.companion else None
        for number, sensor in enumerate(scene.sensors):
            rng = window_generator(seed, *moment.stream, 0, number) if number else base
            yield _Look(motion, window, _sight(session, window, sensor), sensor.radar, rng, company)


def _company(seed: int, moment: _Moment, session: Session) -> _Company:
    person, circumstances, window = sample_companion(seed, moment.user, moment.session, moment.window)
    place = np.random.default_rng([seed, *moment.stream, 5])
    behind, aside = place.uniform(*_BEHIND_M), place.uniform(-_ASIDE_M, _ASIDE_M)
    same_radar = replace(circumstances, range_m=session.range_m, radar_height_m=session.radar_height_m)
    return _Company(Walk(Gait(person, same_radar), window), (-behind, aside, 0.0))


def _sight(session: Session, window: Window, sensor: Sensor) -> Sight:
    aspect = session.aspect_deg + window.aspect_offset_deg + sensor.aspect_deg
    return Sight(aspect, session.range_m, session.radar_height_m)


def _observe(look: _Look, size: int) -> tuple[np.ndarray, dict[str, float]]:
    """(picture, axes and truths for the table)."""
    motion, sight, radar, rng, company = look.motion, look.sight, look.radar, look.rng, look.company
    session, samples = motion.gait.session, signal_samples(size, radar)
    iq, speed = echo(motion, sight, radar, samples, rng)
    level = np.sqrt(np.mean(np.abs(iq) ** 2))
    if company:
        iq = iq + echo(company.motion, replace(sight, path_offset_m=company.offset_m), radar, samples, rng)[0]
    iq = receive(iq / level, session.snr_db + look.window.snr_offset_db, session.clutter_db, radar, rng)
    facts = {
        "velocity_min_mps": radar.velocity_min_mps,
        "velocity_max_mps": radar.velocity_max_mps,
        "duration_s": radar.duration_s,
        "db_min": -radar.dynamic_range_db,
        "db_max": 0.0,
        "true_speed_mps": speed,
        "true_cycle_s": motion.cycle_s(body_times(samples, radar)[0]),
        "true_height_m": motion.gait.person.height_m,
    }
    return spectrogram(iq, size, radar), facts


def _name(scene: Scene, users: int) -> str:
    return f"{users} simulated walkers" if scene.activities == ("walk",) else f"{users} simulated people"


def _check(users: int, sessions: int, windows: int, size: int, seed: int) -> None:
    """Raise `MdgenError` for settings nothing can be simulated with."""
    limits = {"users": (users, 1, 9999), "sessions": (sessions, 1, 999), "windows": (windows, 1, 9999)}
    limits |= {"size": (size, 16, 512), "seed": (seed, 0, 2**63 - 1)}
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise MdgenError(f"simulate: {name} = {value} is impossible; use {low} to {high}")
