"""Walkers simulated again and again while a radar is fitted: only what is fitted differs between two looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mdgen.data.simulator.activities import ACTIVITIES
from mdgen.data.simulator.echo import Sight, echo
from mdgen.data.simulator.people import Session, Window, sample_person, sample_session, sample_window, window_generator
from mdgen.data.simulator.radar import RadarSettings, receive, relative_db, shown, signal_samples
from mdgen.data.simulator.scene import Conditions

KINDS = ("torso_db", "arms_db", "legs_db")
_SILENT_DB = -300.0


@dataclass(frozen=True)
class Settings:
    """A point of the search."""

    radar: RadarSettings
    conditions: Conditions


@dataclass(frozen=True)
class Probe:
    """A walker before the radar; only the settings of the search differ between two looks at it."""

    user: int
    session: Session
    window: Window
    aspect_deg: float
    seed: int

    @classmethod
    def draw(cls, seed: int, number: int, view_deg: float) -> Probe:
        session, window = sample_session(seed, number, 0), sample_window(window_generator(seed, number, 0, 0))
        return cls(number, session, window, view_deg + session.aspect_deg + window.aspect_offset_deg, seed)

    def echoes(self, size: int, radar: RadarSettings) -> np.ndarray:
        """Echo of torso, arms and legs apart, complex64 [3, T], mean power of their sum 1."""
        parts = []
        for kind in KINDS:
            alone = replace(self.session, **{other: _SILENT_DB for other in KINDS if other != kind})
            motion = ACTIVITIES["walk"](sample_person(self.seed, self.user), alone, self.window, False)
            sight = Sight(self.aspect_deg, self.session.range_m, self.session.radar_height_m)
            rng = window_generator(self.seed, self.user, 0, 0, 1)
            parts.append(echo(motion, sight, radar, signal_samples(size, radar), rng)[0])
        return np.stack(parts) / np.sqrt(np.mean(np.abs(np.sum(parts, axis=0)) ** 2))

    def picture(self, echoes: np.ndarray, size: int, settings: Settings) -> np.ndarray:
        """float32 [size, size] in [-1, 1]."""
        radar, conditions = settings.radar, settings.conditions
        gains = [10 ** (getattr(conditions, kind) / 20) for kind in KINDS]
        iq = np.tensordot(gains, echoes, 1)
        session = conditions.apply(self.session)
        noise = window_generator(self.seed, self.user, 0, 0, 2)
        iq = receive(iq / np.sqrt(np.mean(np.abs(iq) ** 2)), session.snr_db, session.clutter_db, radar, noise)
        return shown(relative_db(iq, size, radar) + radar.peak_db, radar.dynamic_range_db)


def pictures_of(probes: list[Probe], size: int, settings: Settings) -> np.ndarray:
    return np.stack([probe.picture(probe.echoes(size, settings.radar), size, settings) for probe in probes])
