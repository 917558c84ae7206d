"""The walking simulator obeys physics and is reproducible."""

import subprocess
import sys

import numpy as np
import pytest

from mdgen.data.dataset import AXIS_COLUMNS
from mdgen.data.simulator import Gait, Person, RadarSettings, sample_person, sample_session, simulate
from mdgen.data.simulator.echo import ellipsoid_rcs_m2
from mdgen.data.simulator.kinematics import JOINTS
from mdgen.data.simulator.people import window_generator
from mdgen.data.simulator.radar import receive, spectrogram
from mdgen.errors import MdgenError

PHASE = np.arange(0, 3, 1 / 512)
BONES = [
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("right_ankle", "right_toe"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("pelvis", "neck"),
]


@pytest.fixture(params=[0, 1, 2, 3])
def gait(request) -> Gait:
    """Four different walkers."""
    return Gait(sample_person(7, request.param), sample_session(7, request.param, 0))


def joint(gait: Gait, name: str) -> np.ndarray:
    return gait.joints(PHASE)[:, JOINTS.index(name)]


def forward_speed(gait: Gait, name: str) -> np.ndarray:
    return np.gradient(joint(gait, name)[:, 0], gait.cycle_s / 512)


@pytest.fixture(scope="module")
def small():
    return simulate(users=3, sessions=4, windows=4, size=64, seed=3)


def test_the_average_walker_has_boulics_cycle():
    gait = Gait(Person(height_m=1.80, speed_mps=1.4))
    assert gait.cycle_s == pytest.approx(1.346 / np.sqrt(1.4 / (0.491 * 1.80)))
    assert gait.cycle_s == pytest.approx(1.069, abs=0.002)


def test_a_stride_is_speed_times_cycle(gait):
    prints = joint(gait, "left_ankle")[[128, 128 + 512, 128 + 1024], 0]  # mid-stance of three strides
    assert np.diff(prints) == pytest.approx(gait.speed_mps * gait.cycle_s, rel=1e-6)


def test_feet_stand_still_in_stance(gait):
    late = gait.person.step_asymmetry
    for side, strike in (("left", 1.0), ("right", 1.5 + late)):
        stance = (strike + 0.05 < PHASE) & (strike + 0.40 > PHASE)
        assert np.abs(forward_speed(gait, f"{side}_ankle")[stance]).max() < 0.05 * gait.speed_mps


def test_feet_reach_a_multiple_of_the_torsos_speed(gait):
    for side in ("left", "right"):
        foot = (forward_speed(gait, f"{side}_ankle") + forward_speed(gait, f"{side}_toe")) / 2
        assert 2.5 < foot.max() / gait.speed_mps < 4.0


def test_the_trunk_never_stops(gait):
    speed = forward_speed(gait, "neck")
    assert speed.min() > 0.6 * gait.speed_mps
    assert speed.max() < 1.5 * gait.speed_mps


@pytest.mark.parametrize("bone", BONES)
def test_segments_are_rigid(gait, bone):
    lengths = np.linalg.norm(joint(gait, bone[0]) - joint(gait, bone[1]), axis=1)
    assert np.ptp(lengths) < 1e-9
    assert lengths[0] > 0.1


def test_the_walk_has_no_jumps(gait):
    step = np.diff(gait.joints(PHASE), axis=0)
    assert np.abs(step).max() < 6 * gait.stride_m / 512


def test_an_ellipsoid_is_brightest_broadside_and_a_sphere_is_not_directive():
    across, along = ellipsoid_rcs_m2(np.array([0.0, 1.0]), np.array(0.05), np.array(0.2))
    assert across > 100 * along
    sphere = ellipsoid_rcs_m2(np.linspace(0, 1, 5), np.array(0.1), np.array(0.1))
    np.testing.assert_allclose(sphere, np.pi * 0.1**2)


def test_a_tone_appears_at_its_velocity():
    radar = RadarSettings()
    time = np.arange(6000) / radar.prf_hz
    velocity = 2.7
    iq = np.exp(2j * np.pi * 2 * velocity / radar.wavelength_m * time).astype(np.complex64)
    rows = spectrogram(iq, 64, radar).argmax(axis=0)
    assert np.abs(radar.row_velocities(64)[rows] - velocity).max() <= 7.2 / 64


def test_static_clutter_is_removed_unless_kept():
    silence = np.full(5000, 1e-6, np.complex64)
    powers = []
    for remove in (True, False):
        iq = receive(silence, 60, -20, RadarSettings(remove_static=remove), np.random.default_rng(0))
        powers.append(np.mean(np.abs(iq) ** 2))
    assert powers[1] > 10 * powers[0]


def test_an_approaching_walker_fills_the_upper_rows(small):
    linear = 10 ** (small.images[:, 0] * 20 / 10)  # 40 dB over [-1, 1]
    above = linear[:, :50].sum(axis=(1, 2)) / linear.sum(axis=(1, 2))  # zero Doppler lies at row 51
    assert above.min() > 0.9


def test_the_torso_ridge_lies_at_the_true_speed(small):
    velocity = RadarSettings().row_velocities(64)
    ridge = velocity[np.median(small.images[:, 0].argmax(axis=1), axis=1).astype(int)]
    assert np.abs(ridge - small.table["true_speed_mps"]).max() < 0.25


def test_a_smaller_simulation_is_part_of_a_larger_one(small):
    part = simulate(users=2, sessions=2, windows=2, size=64, seed=3, fractions={"train": 1.0})
    shared = small.table["user"].isin(["walker_01", "walker_02"]) & small.table["session"].isin(["s1", "s2"])
    rows = np.flatnonzero(shared & (small.table.groupby(["user", "session"]).cumcount() < 2))
    np.testing.assert_array_equal(part.images, small.images[rows])
    assert part.table["true_speed_mps"].tolist() == small.table["true_speed_mps"].iloc[rows].tolist()


def test_another_seed_brings_other_people(small):
    other = simulate(users=3, sessions=4, windows=4, size=64, seed=4)
    assert not set(other.table["true_height_m"]) & set(small.table["true_height_m"])


def test_the_table_keeps_the_contract(small):
    table = small.table
    assert small.images.dtype == np.float32
    assert small.images.shape == (48, 1, 64, 64)
    assert small.images.min() >= -1
    np.testing.assert_allclose(small.images.max(axis=(1, 2, 3)), 1)
    assert table[list(AXIS_COLUMNS)].iloc[0].tolist() == [-1.4, 5.8, 2.2, -40.0, 0.0]
    assert (table.groupby(["user", "session"])["split"].nunique() == 1).all()
    assert (table.groupby("user")["split"].agg(set) == {"train", "judge", "val", "test"}).all()


def test_noise_and_phase_make_windows_of_a_session_differ():
    first, second = (window_generator(0, 0, 0, window).random(4) for window in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("setting", "value"), [("users", 0), ("sessions", 0), ("windows", 0), ("size", 15), ("size", 513), ("seed", -1)]
)
def test_impossible_settings_are_refused_by_name(setting, value):
    with pytest.raises(MdgenError, match=setting):
        simulate(**{"users": 1, "sessions": 4, "windows": 1, "size": 16, setting: value})


@pytest.mark.parametrize("setting", [{"prf_hz": 1000.0}, {"carrier_hz": 77e9}, {"duration_s": 0.0}])
def test_a_radar_that_would_alias_is_refused(setting):
    with pytest.raises(MdgenError, match="use"):
        RadarSettings(**setting)


def test_the_simulator_needs_no_torch():
    code = "import sys, mdgen.data.simulator; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
