"""Activities, views, carriers and company are what they say, and the truth that is exported is the truth."""

import numpy as np
import pytest

from mdgen.data.dataset import read_dataset
from mdgen.data.simulator import (
    ACTIVITIES,
    RadarSettings,
    Session,
    Window,
    make_scene,
    read_truth,
    sample_person,
    sample_session,
    simulate,
    simulated_truth,
    write_simulated,
)
from mdgen.data.simulator.kinematics import JOINTS
from mdgen.errors import MdgenError
from validation.measures.kinematics import echo_above_floor, envelopes, measure, noise_floor, torso_ridge
from validation.measures.scales import scales_of

TRAIN = {"train": 1.0}
TIME_S = np.arange(0, 3, 0.002)
#: Random projections of the default walkers since the first release: the quickstart rests on them. Other versions of
#: numpy compute their last digits otherwise.
DEFAULT = [-0.532286, -1.068569, 0.390816]


def motion(activity: str, treadmill: bool = False):
    return ACTIVITIES[activity](sample_person(3, 1), sample_session(3, 1, 0), Window(), treadmill)


def made(scene, windows=4, users=2, size=64):
    return simulate(users, 1, windows, size, 1, scene=scene, fractions=TRAIN)


def speeds(data) -> np.ndarray:
    return data.table["true_speed_mps"].to_numpy(float)


def test_the_default_walkers_never_change():
    pixels = simulate(users=3, sessions=4, windows=3, size=64, seed=0).images.ravel()
    directions = np.random.default_rng(0).normal(size=(3, pixels.size)) / np.sqrt(pixels.size)
    assert directions @ pixels == pytest.approx(DEFAULT, abs=1e-5)


@pytest.mark.parametrize("activity", list(ACTIVITIES))
def test_bodies_are_rigid_and_move_smoothly_whatever_they_do(activity):
    joints = motion(activity).joints(TIME_S)
    for start, end in (("left_hip", "left_knee"), ("right_knee", "right_ankle"), ("left_shoulder", "left_elbow")):
        length = np.linalg.norm(joints[:, JOINTS.index(start)] - joints[:, JOINTS.index(end)], axis=1)
        assert np.ptp(length) < 1e-9
    assert np.abs(np.diff(joints, axis=0)).max() < 0.002 * 12


def test_a_runner_is_faster_and_leaves_the_ground():
    walk, run = motion("walk"), motion("run")
    assert run.gait.speed_mps > 1.8 * walk.gait.speed_mps
    assert run.cycle_s(TIME_S) < 0.8 * walk.cycle_s(TIME_S)
    assert run.gait.support < 0.5 < walk.gait.support


def test_a_limp_is_slow_and_uneven():
    walk, limp = motion("walk"), motion("limp")
    assert limp.gait.speed_mps < 0.8 * walk.gait.speed_mps
    assert abs(limp.gait.person.step_asymmetry) > abs(walk.gait.person.step_asymmetry) + 0.01


def test_the_arm_that_carries_a_bag_hardly_swings():
    def swing(name):
        joints = motion(name).joints(TIME_S)
        hand, pelvis = joints[:, JOINTS.index("right_hand"), 0], joints[:, JOINTS.index("pelvis"), 0]
        return np.ptp(hand - pelvis)

    assert swing("carry_bag") < 0.6 * swing("walk")


def test_who_sits_down_keeps_the_feet_where_they_are():
    joints = motion("sit_stand").joints(TIME_S)
    assert np.ptp(joints[:, JOINTS.index("left_ankle")], axis=0).max() == 0
    assert np.ptp(joints[:, JOINTS.index("pelvis"), 2]) > 0.3


def test_a_treadmill_takes_the_progress_away():
    joints = motion("walk", treadmill=True).joints(TIME_S)
    assert np.ptp(joints[:, JOINTS.index("pelvis"), 0]) < 0.15


def test_directions_have_their_sign():
    data = made(make_scene(("walk",), (0, 90, 180)))
    toward, aside, away = (speeds(data)[i::3] for i in range(3))
    assert toward.min() > 0.7
    assert np.abs(aside).max() < 0.6
    np.testing.assert_allclose(away, -toward, atol=0.2)
    assert data.table["view"].tolist()[:3] == ["000", "090", "180"]


@pytest.mark.parametrize("band", [24, 60, 77])
def test_the_torso_is_where_it_should_be_at_any_carrier(band):
    data = made(make_scene(("walk",), (0,), (band,)), windows=6)
    measured = measure(data.images, scales_of(data))["torso_velocity"]
    assert np.abs(measured - speeds(data)).median() < 0.1


def test_several_radars_see_the_same_moment():
    data = made(make_scene(("walk",), (0,), (24, 77)))
    assert set(data.table["device"]) == {"24 GHz", "77 GHz"}
    np.testing.assert_allclose(speeds(data)[::2], speeds(data)[1::2], atol=0.03)
    assert not np.array_equal(data.images[0], data.images[1])


def test_every_activity_is_a_recording_of_its_own_and_leaves_the_others_as_they_are():
    both, alone = made(make_scene(("walk", "limp"))), made(make_scene(("walk",)))
    walks = both.select((both.table["activity"] == "walk").to_numpy())
    np.testing.assert_array_equal(walks.images, alone.images)
    assert both.groups.nunique() == 4


def test_a_companion_adds_echo_and_leaves_the_user_alone():
    one, two = made(make_scene()), made(make_scene(companion=True, radar=RadarSettings()))
    np.testing.assert_array_equal(speeds(one), speeds(two))
    assert not np.array_equal(one.images, two.images)


def test_the_exported_truth_is_what_the_picture_shows():
    data = simulate(4, 1, 4, 64, 2, scene=make_scene(), fractions=TRAIN)
    truth = simulated_truth(4, 1, 4, 64, 2, scene=make_scene())
    scales = scales_of(data)
    pixels = data.images[:, 0].astype(float)
    ridge = scales.velocity(torso_ridge(pixels, scales.decibel))
    trunk = np.mean([truth.radial_of(joint) for joint in ("pelvis", "chest", "neck")], axis=0)
    assert np.median(np.abs(ridge - trunk)) < 0.08
    echo = echo_above_floor(pixels, noise_floor(pixels), scales.decibel)
    upper = scales.velocity(envelopes(echo)[0])
    fastest = np.nanmax(truth.radial_mps, axis=2)
    alike, mirrored = (
        np.median([np.corrcoef(a, b)[0, 1] for a, b in zip(upper, truth, strict=True)])
        for truth in (fastest, fastest[:, ::-1])
    )
    assert alike > 0.35 > 0.2 > mirrored


def test_the_truth_comes_back_from_disk(tmp_path):
    scene = make_scene(("walk", "carry_bag"))
    data = simulate(1, 1, 2, 32, 0, scene=scene, fractions=TRAIN)
    truth = simulated_truth(1, 1, 2, 32, 0, scene=scene)
    write_simulated(data, truth, tmp_path / "d")
    again = read_truth(tmp_path / "d")
    np.testing.assert_array_equal(again.radial_mps, truth.radial_mps)
    assert np.isnan(again.radial_of("bag")[:2]).all()
    assert np.isfinite(again.radial_of("bag")[2:]).all()
    assert len(read_dataset(tmp_path / "d")) == 4


def test_velocities_are_the_derivative_of_positions():
    truth = simulated_truth(1, 1, 1, 256, 0, scene=make_scene())
    moved = np.diff(truth.position_m[0, :, 3], axis=0) / np.diff(truth.time_s)[:, None]
    middle = (truth.velocity_mps[0, 1:, 3] + truth.velocity_mps[0, :-1, 3]) / 2
    assert np.abs(moved - middle).max() < 0.02


@pytest.mark.parametrize(
    "scene",
    [
        {"activities": ("fly",)},
        {"bands_ghz": (25,)},
        {"views_deg": (400,)},
        {"activities": ("walk", "walk")},
        {"bands_ghz": (24, 77), "radar": RadarSettings()},
        {"bands_ghz": (77,), "radar": RadarSettings()},
    ],
)
def test_what_cannot_be_simulated_is_refused(scene):
    with pytest.raises(MdgenError):
        make_scene(**scene)


def test_a_session_stays_as_it_was_drawn_without_conditions():
    assert make_scene().conditions.apply(Session()) == Session()
