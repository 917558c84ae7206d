"""The walking simulator: the embedded default data. Needs numpy, scipy and pandas only, and only when it is used."""

from mdgen.data.simulator.kinematics import Gait
from mdgen.data.simulator.people import Person, Session, Window, sample_person, sample_session
from mdgen.data.simulator.radar import RadarSettings
from mdgen.data.simulator.simulate import simulate, simulate_window

__all__ = [
    "Gait",
    "Person",
    "RadarSettings",
    "Session",
    "Window",
    "sample_person",
    "sample_session",
    "simulate",
    "simulate_window",
]
