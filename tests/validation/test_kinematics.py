"""Kinematics: measurements with known answers, and the gate on honest days and on motion that was tampered with."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.data.simulator import Gait, RadarSettings, Session, sample_person, simulate, simulate_window
from mdgen.data.splits import assign_roles
from validation.blocks.motion import assess_kinematics
from validation.context import Context
from validation.measures.kinematics import autocorrelation, measure
from validation.measures.motion_comparison import compare
from validation.measures.motion_distance import (
    fresh_session_limit,
    joint_distances,
    measure_windows,
    session_distances,
    set_distances,
    signed_shift,
    typical_distances,
)
from validation.measures.plausibility import learn_bounds
from validation.measures.scales import QUANTITIES, Scales, has_axes, scales_of
from validation.results import FAIL, PASS, UNAVAILABLE
from validation.rules import rules_with
from validation.sets import prepare_sets, session_units
from validation.settings import ValidationSettings

AXES = {"velocity_min_mps": -2.0, "velocity_max_mps": 6.0, "duration_s": 3.2, "db_min": -40.0, "db_max": 0.0}


def scales(count: int, size: int = 64) -> Scales:
    one = np.ones(count)
    return Scales(6.0 * one, 8 / size * one, 3.2 / size * one, 20 * one, True)


def stick_walker(speed=1.5, step_s=0.55, reach=2.5, size=64, noise=0.0, direction=1.0, seed=0) -> np.ndarray:
    """[1, 1, size, size]: a constant torso, and a fainter foot that rises from it to `reach` m/s above once a step."""
    rng = np.random.default_rng(seed)
    time = (np.arange(size) + 0.5) * 3.2 / size
    velocity = 6 - (np.arange(size)[:, None] + 0.5) * 8 / size
    foot = direction * (speed + reach * (0.5 - 0.5 * np.cos(2 * np.pi * time / step_s)) ** 2)
    decibel = np.full((size, size), -60.0)
    for ridge, level in ((np.full(size, direction * speed), 0.0), (foot, -14.0)):
        decibel = np.maximum(decibel, level - 30 * (velocity - ridge) ** 2 / 0.15)
    return np.clip(1 + decibel / 20 + noise * rng.normal(size=(size, size)), -1, 1)[None, None].astype(np.float32)


def one(image: np.ndarray, size: int = 64) -> pd.Series:
    return measure(image, scales(1, size)).iloc[0]


@pytest.mark.parametrize(("speed", "step_s"), [(0.9, 0.62), (1.4, 0.55), (2.0, 0.45)])
def test_speed_and_step_of_a_stick_walker_are_read_back(speed, step_s):
    found = one(stick_walker(speed, step_s))
    assert found["torso_velocity"] == pytest.approx(speed, abs=0.04)
    assert found["step_period"] == pytest.approx(step_s, rel=0.03)
    assert found["stride_period"] == pytest.approx(2 * step_s, rel=0.05)
    assert found["upper_envelope"] == pytest.approx(speed + 2.5, abs=0.5)
    assert found["foot_to_torso"] == pytest.approx((speed + 2.5) / speed, rel=0.15)


def test_a_receding_walker_has_negative_speed_and_the_mirrored_asymmetry():
    coming, going = one(stick_walker(1.0, reach=0.9)), one(stick_walker(1.0, reach=0.9, direction=-1.0))
    assert going["torso_velocity"] == pytest.approx(-coming["torso_velocity"], abs=0.03)
    assert coming["asymmetry"] == pytest.approx(-going["asymmetry"], abs=0.02)
    assert coming["lead"] * going["lead"] < 0
    assert going["foot_to_torso"] > 1


def test_louder_noise_raises_the_floor_and_lowers_the_range_by_as_many_decibels():
    quiet = stick_walker(noise=0.05)
    loud = np.maximum(quiet, -0.5)
    assert one(loud)["noise_floor"] - one(quiet)["noise_floor"] == pytest.approx(10, abs=0.6)
    assert one(quiet)["dynamic_range"] - one(loud)["dynamic_range"] == pytest.approx(10, abs=0.6)


def test_periods_of_noise_are_not_measurable():
    noise = np.random.default_rng(0).normal(-0.6, 0.2, (100, 1, 64, 64)).clip(-1, 1).astype(np.float32)
    found = measure(noise, scales(100))
    assert found["step_period"].isna().mean() > 0.97
    assert found["continuity"].abs().max() < 0.2
    constant = measure(np.full((1, 1, 64, 64), -1.0, np.float32), scales(1))
    assert constant.drop(columns=["step_period", "stride_period", "asymmetry"]).notna().all(axis=None)


def test_frozen_columns_are_measured_as_a_standstill():
    frozen = stick_walker(noise=0.05)
    frozen[..., 32:] = frozen[..., 32:33]
    assert one(frozen)["longest_still"] == pytest.approx(31 / 64 * 3.2)
    assert one(stick_walker(noise=0.05))["longest_still"] == 0


def test_autocorrelation_of_a_sine_peaks_at_its_period():
    wave = np.sin(2 * np.pi * np.arange(200) / 20)[None, None]
    correlation = autocorrelation(wave)[0]
    assert correlation[0] == pytest.approx(1)
    assert correlation[10:31].argmax() == 10
    assert correlation[20] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("period", [15.3, 15.7, 16.1])
def test_between_columns_autocorrelation_is_that_of_the_signal(period):
    wave = np.sin(2 * np.pi * np.arange(400) / period)[None, None]
    assert 120 + autocorrelation(wave, 10)[0, 120:200].argmax() == pytest.approx(10 * period, abs=1)


def test_measuring_does_not_depend_on_what_is_measured_beside_it():
    images = np.concatenate([stick_walker(s, noise=0.1, seed=i) for i, s in enumerate(np.linspace(0.8, 2, 300))])
    together = measure(images, scales(300))
    pd.testing.assert_frame_equal(together.iloc[[270]].reset_index(drop=True), measure(images[270:271], scales(1)))


def test_every_measured_column_is_described():
    assert set(one(stick_walker()).index) == set(QUANTITIES)


def test_without_axes_velocities_are_rows_and_times_columns():
    table = make_table(user=["a"])
    bare = SpectrogramSet(stick_walker(1.5, 0.55), table)
    known = SpectrogramSet(bare.images, table.assign(**AXES))
    assert has_axes(known)
    assert not has_axes(bare)
    rows, metres = measure_windows(bare, False).values.iloc[0], measure_windows(known, True).values.iloc[0]
    assert rows["step_period"] * 3.2 / 64 == pytest.approx(metres["step_period"], rel=0.02)
    assert rows["bandwidth"] * 8 / 64 == pytest.approx(metres["bandwidth"])
    assert np.isnan(rows["foot_to_torso"])
    assert (scales_of(bare).unit_name("bandwidth"), scales_of(known).unit_name("bandwidth")) == ("rows", "m/s")


def test_speed_and_step_of_simulated_walkers_hold_at_10_db():
    radar, images, truth = RadarSettings(), [], []
    for user in range(8):
        gait = Gait(sample_person(3, user), Session(snr_db=10.0))
        for window in range(3):
            image, true = simulate_window(gait, np.random.default_rng([user, window]), 64, radar)
            images.append(image[None])
            truth.append((true["true_speed_mps"], true["true_cycle_s"] / 2))
    one = np.ones(len(images))
    found = measure(np.array(images), Scales(5.8 * one, 7.2 / 64 * one, 2.2 / 64 * one, 20 * one, True))
    error = found[["torso_velocity", "step_period"]].to_numpy() / np.array(truth) - 1
    assert (np.abs(error) < 0.05).mean(axis=0).min() >= 0.9


@pytest.fixture(scope="module")
def days() -> SpectrogramSet:
    return simulate(users=4, sessions=8, windows=8, seed=0)


@pytest.fixture(scope="module")
def real(days) -> SpectrogramSet:
    mine = days.select(days.table["session"].isin(["s1", "s2", "s3", "s4", "s5"]).to_numpy())
    return SpectrogramSet(mine.images, mine.table.assign(split=assign_roles(mine.table, seed=0)), "real")


@pytest.fixture(scope="module")
def fresh(days) -> SpectrogramSet:
    return days.select(days.table["session"].isin(["s6", "s7", "s8"]).to_numpy())


def judged(real: SpectrogramSet, synthetic: SpectrogramSet):
    return assess_kinematics(Context(prepare_sets(real, synthetic), ValidationSettings()))


def altered(data: SpectrogramSet, change, user: str | None = None) -> SpectrogramSet:
    rows = np.ones(len(data), bool) if user is None else (data.table["user"] == user).to_numpy()
    images = data.images.copy()
    images[rows] = change(images[rows])
    return data.with_images(images)


def stretched(images: np.ndarray, time: float = 1.0, doppler: float = 1.0) -> np.ndarray:
    """Resampled about the middle of the window and about zero velocity."""
    size = images.shape[-1]
    middle, zero = (size - 1) / 2, 5.8 / 7.2 * size - 0.5
    rows, columns = (np.arange(size) - zero) / doppler + zero, (np.arange(size) - middle) / time + middle
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([ndimage.map_coordinates(x[0], grid, order=1, mode="nearest")[None] for x in images])


def without_feet(images: np.ndarray) -> np.ndarray:
    torso = ndimage.gaussian_filter(images, (0, 0, 1, 1)).argmax(axis=2)[:, :, None]
    rows = np.arange(images.shape[2])[None, None, :, None]
    return np.where(np.abs(rows - torso) > 6, -1, images)


def pendulum(images: np.ndarray) -> np.ndarray:
    count, _, height, width = images.shape
    rng = np.random.default_rng(0)
    phase = 2 * np.pi * (np.arange(width) / 16 + rng.uniform(size=(count, 1)))
    ridge = height / 2 + 10 * np.sin(phase)
    return (1.9 * np.exp(-((np.arange(height)[:, None] - ridge[:, None]) ** 2) / 4) - 1)[:, None]


SABOTAGES = {
    "cadence stretched 15 %": (lambda x: stretched(x, time=1.15), "step period"),
    "speed scaled by 1.15": (lambda x: stretched(x, doppler=1.15), "torso velocity"),
    "speed scaled by 0.87": (lambda x: stretched(x, doppler=0.87), "torso velocity"),
    "Doppler flipped": (lambda x: x[:, :, ::-1], "Doppler axis"),
    "time reversed": (lambda x: x[..., ::-1], "time"),
    "feet erased": (without_feet, "Doppler bandwidth"),
    "noise floor raised 4 dB": (lambda x: np.maximum(x, -0.8), "noise floor"),
    "half frozen": (lambda x: np.concatenate([x[..., :32], np.repeat(x[..., 32:33], 32, 3)], 3), "standstill"),
    "pendulum": (pendulum, "torso swing"),
    "noise": (lambda x: np.random.default_rng(0).normal(-0.7, 0.2, x.shape).clip(-1, 1), "continuity"),
    "columns shuffled": (lambda x: x[..., np.random.default_rng(0).permutation(64)], "periodicity"),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_motion_that_was_tampered_with_fails_by_name(real, fresh, name):
    change, word = SABOTAGES[name]
    gate = judged(real, altered(fresh, change)).gates[0]
    assert gate.status == FAIL
    assert word in gate.note


def test_other_days_of_the_same_people_pass(real, fresh):
    finding = judged(real, fresh)
    gate = finding.gates[0]
    assert gate.status == PASS, gate.note
    assert gate.value < gate.threshold
    assert gate.ci_low <= gate.value <= gate.ci_high
    assert finding.failed_users == []
    assert len(finding.implausible) < 0.05 * len(fresh)
    assert list(finding.per_user.index) == real.users


@pytest.mark.parametrize("role", ["train", "test"])
def test_real_rows_pass_as_synthetic(real, role):
    assert judged(real, real.role(role)).gates[0].status == PASS


def test_one_flipped_user_is_named_alone(real, fresh):
    finding = judged(real, altered(fresh, lambda x: x[:, :, ::-1], "walker_02"))
    assert finding.gates[0].status == FAIL
    assert finding.failed_users == ["walker_02"]
    assert "walker_02" in finding.gates[0].note


def test_one_user_with_a_scaled_axis_is_named_alone(real, fresh):
    finding = judged(real, altered(fresh, lambda x: stretched(x, time=1.15), "walker_03"))
    assert finding.gates[0].status == FAIL
    assert finding.failed_users == ["walker_03"]


def test_the_rule_says_how_much_must_be_measurable(real):
    rule = rules_with({"kinematics": {"measurable": 1.01}})["kinematics"]
    windows = measure_windows(real, True)
    typical = pd.Series(1.0, ["torso_velocity", "step_period", "bandwidth"])
    assert compare(windows, windows, typical, real.users, rule).joint.empty


def test_a_scaled_doppler_axis_stands_out_jointly(real):
    windows = measure_windows(real, True)
    home, sessions = joint_distances(windows, windows, real.users, 0.5)
    assert home.max() < 0.5
    assert len(sessions) == 20
    scaled = windows.where(np.ones(len(windows.user), bool))
    scaled.values[["torso_velocity", "bandwidth"]] *= 1.15
    assert joint_distances(scaled, windows, real.users, 0.5)[0].min() > sessions.quantile(0.9)


def test_impossible_windows_are_listed_with_reasons(real, fresh):
    rows = [3, 40, 71]
    images = fresh.images.copy()
    images[rows] = pendulum(images[rows])
    implausible = judged(real, fresh.with_images(images)).implausible
    assert set(rows) <= set(implausible)
    assert "real windows have" in implausible[3]
    assert len(implausible) < len(rows) + 0.05 * len(fresh)


def test_without_axes_the_gate_still_works_in_pixels_and_says_so(real, fresh):
    bare = [SpectrogramSet(d.images, d.table.drop(columns=list(AXES)), d.name) for d in (real, fresh)]
    finding = judged(*bare)
    assert finding.gates[0].status == PASS
    assert "pixels" in finding.gates[0].note
    assert finding.warnings
    assert judged(bare[0], altered(bare[1], lambda x: stretched(x, time=1.15))).gates[0].status == FAIL


def test_what_real_windows_do_not_show_is_left_out_and_not_failed(real):
    """Single bursts at random times, no gait: no period is asked for."""
    rng = np.random.default_rng(0)
    doppler, time = np.mgrid[:64, :64]

    def bursts(count: int) -> np.ndarray:
        at, top = rng.uniform(15, 50, (2, count, 1, 1))
        ridge = 32 + (top - 32) * np.exp(-((time - at) ** 2) / 40)
        return (1.8 * np.exp(-((doppler - ridge) ** 2) / 6) - 0.9 + 0.05 * rng.normal(size=(count, 64, 64))).clip(-1, 1)

    table = real.table.drop(columns=list(AXES))
    gestures = [SpectrogramSet(bursts(len(real))[:, None].astype(np.float32), table, "gestures") for _ in range(2)]
    gate = judged(*gestures).gates[0]
    assert gate.status == PASS, gate.note
    assert "left out" in gate.note
    assert "step period" in gate.note.split("left out")[1]


def test_one_recording_per_user_gives_no_reference(real, fresh):
    single = real.table.assign(session="s", recording="1", split=np.where(np.arange(len(real)) % 2, "train", "test"))
    found = judged(SpectrogramSet(real.images, single, "single"), fresh).gates[0]
    assert found.status != FAIL
    small = [SpectrogramSet(d.images[:, :, :8, :8], d.table, d.name) for d in (real, fresh)]
    assert judged(*small).gates[0].status == UNAVAILABLE
    few = fresh.select(fresh.table.groupby("user").cumcount().to_numpy() < 3)
    assert judged(real, few).gates[0].status == UNAVAILABLE


def test_the_figures_can_be_drawn(real, fresh):
    finding = judged(real, fresh)
    assert [d.name for d in finding.drawings] == ["kinematics", "motion_traces"]
    for drawing in finding.drawings:
        assert drawing.draw().axes


def test_units_are_sessions_where_all_users_have_two_else_recordings():
    table = make_table(user=list("aabb"), session=["1", "2", "1", "2"], recording=["x", "x", "x", "x"])
    assert session_units(table).tolist() == ["1", "2", "1", "2"]
    alone = table.assign(session="", recording=["x", "y", "x", "y"])
    assert len(set(session_units(alone))) == 2


def test_a_set_is_at_no_distance_from_itself_and_sessions_are_apart(real):
    windows = measure_windows(real, True)
    names = ["torso_velocity", "step_period"]
    assert set_distances(windows, windows, names, real.users).to_numpy() == pytest.approx(0)
    assert (session_distances(windows, names).to_numpy() > 0).all()


def test_what_fresh_sessions_reach_is_more_than_typical_and_most_for_few_users(real):
    windows = measure_windows(real, True)
    sessions = session_distances(windows, ["torso_velocity", "step_period", "bandwidth", "lead"])
    assert sessions.groupby("user").size().tolist() == [5, 5, 5, 5]
    relative = sessions / typical_distances(sessions, windows.scales)
    everybody = fresh_session_limit(relative, np.random.default_rng(0))
    alone = [fresh_session_limit(rows, np.random.default_rng(0)) for _, rows in relative.groupby(level="user")]
    assert everybody > 1.1
    assert max(alone) > everybody


def test_a_signed_shift_is_the_logarithm_of_the_scale(real):
    windows = measure_windows(real, True)
    faster = windows.where(np.ones(len(windows.user), bool))
    faster.values["torso_velocity"] *= 1.15
    shift = signed_shift(faster, windows, "torso_velocity", real.users)
    assert shift.value == pytest.approx(np.log(1.15))
    assert shift.low > 0.06


def test_bounds_pass_the_windows_they_were_learnt_from(real):
    windows = measure_windows(real, True)
    bounds = learn_bounds(windows.values, list(QUANTITIES), windows.scales)
    assert (bounds.outside(windows.values) != "").mean() < 0.02
    assert "noise_floor" not in bounds.table.index
