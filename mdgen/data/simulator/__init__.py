"""The simulator of people before a radar: the embedded default data. Needs numpy, scipy and pandas only."""

from mdgen.data.simulator.activities import ACTIVITIES
from mdgen.data.simulator.kinematics import Gait
from mdgen.data.simulator.people import Person, Session, Window, sample_person, sample_session
from mdgen.data.simulator.radar import RadarSettings
from mdgen.data.simulator.scene import Conditions, Scene, Sensor, make_scene, whole_numbers
from mdgen.data.simulator.simulate import simulate, simulate_window, simulated_truth, write_simulated
from mdgen.data.simulator.truth import Truth, read_truth

__all__ = [
    "ACTIVITIES",
    "Conditions",
    "Gait",
    "Person",
    "RadarSettings",
    "Scene",
    "Sensor",
    "Session",
    "Truth",
    "Window",
    "make_scene",
    "read_truth",
    "sample_person",
    "sample_session",
    "simulate",
    "simulate_window",
    "simulated_truth",
    "whole_numbers",
    "write_simulated",
]
