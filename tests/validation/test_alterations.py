"""Tampering: honest fresh sessions stand at 0, altered ones near 1 by name, and the alterations do what they say."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from striders import fresh, of_user, striders

from validation.blocks.alterations import assess_alterations, failing_users, judge_positions, train_bank
from validation.context import Context
from validation.measures.detector_bank import Position
from validation.measures.detectors import ForEach, ForEverybody, Rows, for_each
from validation.measures.fingerprints import fingerprint, lead_and_lag, mean_velocity, repeats, skewed_changes
from validation.measures.resampling import users_interval
from validation.measures.seams import Seam, worst_seam
from validation.measures.tampering import ALTERATIONS, tolerated
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

NAMED = ("time reversed", "doppler flipped", "cadence slower", "doppler wider", "quantised", "averaged", "floor raised")


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(prepare_sets(striders(), fresh()), ValidationSettings())


def gate(context, synthetic):
    return assess_alterations(context.judging(synthetic)).gates[0]


def position(context, synthetic, name):
    finding = assess_alterations(context.judging(synthetic))
    return next(m.value for m in finding.metrics if m.scope == name)


def placed(context, made):
    """Where the detectors put a set."""
    bank = context.once(("alterations", *context.sets.users), lambda: train_bank(context))
    return bank.place(Rows(made.images, made.table["user"].to_numpy(str), np.full(len(made), "new")))


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_fresh_sessions_pass(context, seed):
    found = gate(context, fresh(seed=seed))
    assert found.status == "pass", found.note
    assert found.value < 0.2


def test_the_generators_own_training_rows_pass(context):
    assert gate(context, striders().role("train")).status == "pass"


@pytest.mark.parametrize(
    "name",
    ["time reversed", "doppler flipped", "cadence slower", "doppler wider", "quantised", "averaged", "floor raised"],
)
def test_an_altered_set_fails_by_the_name_of_the_alteration(context, name):
    made = fresh()
    altered = made.with_images(ALTERATIONS[name](made.images, np.random.default_rng(0)))
    found = gate(context, altered)
    assert found.status == "fail"
    assert name in found.note
    assert position(context, altered, name) > 0.7


def test_unseen_tampering_is_noticed_too(context):
    made, rng = fresh(), np.random.default_rng(0)
    salted = np.where(rng.random(made.images.shape) < 0.03, 1, made.images)
    halved = np.repeat(made.images[..., ::2], 2, axis=-1)
    for images in (salted, halved):
        assert gate(context, made.with_images(images)).status == "fail"


def speckled(count: int, seed: int) -> np.ndarray:
    """Pictures of nothing but speckle over a band, alike at all times."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(count, 1, 32, 48)), (0, 0, 1, 1))
    band = np.exp(-(((np.arange(32) - 15) / 6) ** 2))[:, None]
    return (band * (0.6 + noise) - 0.7).clip(-1, 1).astype(np.float32)


@pytest.mark.parametrize(("axis", "place"), [("column", 20), ("row", 14)])
def test_a_seam_is_found_where_it_is_and_nowhere_else(axis, place):
    real, held_out, images = (speckled(200, seed) for seed in range(3))
    assert worst_seam(images, real, held_out, axis).low < 0.05
    marked = np.moveaxis(images.copy(), -1 if axis == "column" else -2, 0)
    marked[place:] += 0.2
    seam = worst_seam(np.moveaxis(marked, 0, -1 if axis == "column" else -2), real, held_out, axis)
    assert seam.low > 0.15
    assert seam.place == place


def test_exchanged_halves_leave_a_seam_in_the_middle():
    real, held_out, images = (speckled(200, seed) for seed in range(3))
    assert worst_seam(np.roll(images, 24, axis=-1), real, held_out, "column").place == 24


def test_being_no_smoother_than_around_is_no_seam_even_where_real_images_are():
    real, held_out, images = (speckled(200, seed) for seed in range(3))
    for some in (real, held_out):
        some[..., 23:26] = some[..., 22:23]
    assert worst_seam(images, real, held_out, "column").low < 0.05
    assert worst_seam(np.roll(images, 24, axis=-1), real, held_out, "column").low > 0.15


def test_what_an_alteration_leaves_alone_says_nothing_of_it():
    rng = np.random.default_rng(0)
    genuine, altered, others = (rng.normal(size=(200, 30)) for _ in range(3))
    altered[:, 0] += 3
    model, nobody = ForEverybody(genuine, altered), np.full(200, "a")
    strange = others.copy()
    strange[:, 1:] += 4 * rng.choice([-1, 1], 29)
    assert model.scores(strange, nobody).mean() == pytest.approx(model.scores(others, nobody).mean(), abs=0.02)
    assert model.scores(others + 3 * np.eye(30)[0], nobody).mean() > 0.8


def test_a_seam_fails_the_gate_by_its_place(context):
    rule = context.rules["alterations"]
    made = fresh(seed=13)
    positions = placed(context, made)
    faint, clear = (Seam("column", 16, excess, excess - 0.1) for excess in (0.2, 0.5))
    assert judge_positions(positions, rule, len(made), [faint]).gates[0].status == "pass"
    found = judge_positions(positions, rule, len(made), [clear]).gates[0]
    assert found.status == "fail"
    assert "a seam after column 16: +65% roughness" in found.note


def test_a_user_whom_no_detector_knows_is_left_out(context):
    rule = context.rules["alterations"]
    made = fresh(seed=13)
    first, *others = made.users
    unknown = [replace(p, per_user=p.per_user.where(p.per_user.index != first)) for p in placed(context, made)]
    found = judge_positions(unknown, rule, len(made))
    assert found.gates[0].status == "pass"
    assert sorted(found.per_user.index) == sorted(others)


def test_only_detail_that_is_shown_twice_repeats():
    pixels = speckled(5, 0)[:, 0].astype(float)
    half = pixels[..., :24]
    twice, mirrored = (np.concatenate([half, other], axis=-1) for other in (half, half[..., ::-1]))
    assert repeats(pixels).max() < 0.5
    assert repeats(twice)[:, 0].min() > 0.8
    assert repeats(mirrored)[:, 1].min() > 0.8
    assert repeats(twice)[:, 1].max() < 0.5


def test_one_reversed_user_fails_by_name(context):
    made = fresh()
    mine = of_user(made, "cas")[:, None, None, None]
    finding = assess_alterations(context.judging(made.with_images(np.where(mine, made.images[..., ::-1], made.images))))
    assert finding.gates[0].status == "fail"
    assert finding.failed_users == ["cas"]
    assert finding.per_user.loc["cas", "altered_as"] == "time reversed"
    assert finding.per_user.loc["ann", "altered_position"] < 0.5


def test_a_third_of_the_images_reversed_stand_at_a_third(context):
    made = fresh()
    images = made.images.copy()
    images[::3] = images[::3, ..., ::-1]
    assert position(context, made.with_images(images), "time reversed") == pytest.approx(1 / 3, abs=0.1)


def test_the_detectors_are_trained_once_for_one_real_data_set(context):
    said = []
    context.say = said.append
    gate(context, fresh(seed=11))
    gate(context, fresh(seed=12))
    assert said == []


def test_too_few_real_images_are_unavailable_with_the_reason():
    finding = assess_alterations(Context(prepare_sets(striders(sessions=1, windows=2), fresh()), ValidationSettings()))
    assert finding.gates[0].status == "unavailable"
    assert "8 real images to learn from" in finding.gates[0].note


@pytest.mark.parametrize("name", ALTERATIONS)
def test_alterations_keep_shape_range_and_input(name):
    images = striders(("train",), sessions=1, windows=2).images
    before = images.copy()
    made = ALTERATIONS[name](images, np.random.default_rng(0))
    assert made.shape == images.shape
    assert made.dtype == np.float32
    assert np.abs(made).max() <= 1
    assert not np.array_equal(made, images)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", ["time reversed", "doppler flipped"])
def test_flips_undo_themselves(name):
    images = striders(("train",), sessions=1, windows=2).images
    rng = np.random.default_rng(0)
    assert np.array_equal(ALTERATIONS[name](ALTERATIONS[name](images, rng), rng), images)


def test_reordered_columns_are_the_same_columns():
    images = striders(("train",), sessions=1, windows=2).images
    for name in ("columns shuffled", "columns jittered", "wrapped in time"):
        made = ALTERATIONS[name](images, np.random.default_rng(0))
        assert np.allclose(np.sort(made.sum(axis=2)), np.sort(images.sum(axis=2)), atol=1e-4)


def test_imperfections_are_small():
    images = striders(("train",), sessions=1, windows=2).images
    assert np.abs(tolerated(images, np.random.default_rng(0)) - images).mean() < 0.05


def test_second_windows_are_taken_from_the_same_user():
    images = np.repeat([0.0, 0.5], 4).astype(np.float32)[:, None, None, None] * np.ones((1, 1, 16, 16), np.float32)
    users = np.repeat(["a", "b"], 4)
    made = Rows(images, users, users).altered(ALTERATIONS["averaged"], np.random.default_rng(0))
    assert np.array_equal(made, images)


def test_the_order_of_time_changes_the_sign_of_the_asymmetries():
    pixels = striders(("train",), sessions=1, windows=2).images[:, 0].astype(float)
    bands = pixels.reshape(len(pixels), 8, 4, 32).mean(axis=2)
    assert np.allclose(lead_and_lag(bands[..., ::-1]), -lead_and_lag(bands))
    assert np.allclose(skewed_changes(pixels[..., ::-1], bands[..., ::-1]), -skewed_changes(pixels, bands))


def test_the_mean_velocity_finds_a_single_line():
    pixels = np.full((1, 21, 9), -1.0)
    pixels[0, 5] = 1
    assert np.allclose(mean_velocity(pixels), -0.5)


def test_features_are_finite_for_empty_pictures():
    assert np.isfinite(fingerprint(np.full((2, 1, 16, 24), -1.0, np.float32))).all()
    assert np.isfinite(fingerprint(np.zeros((2, 3, 40, 20), np.float32))).all()


def test_the_interval_holds_the_spread_of_users_and_of_real_sessions():
    values = np.array([0.0, 0.1, 0.2, 0.1])
    low, high = users_interval(values, 0.0)
    assert low < 0.1 < high
    wider = users_interval(values, 0.3)
    assert wider[0] < low
    assert wider[1] > high


def test_no_user_fails_within_the_scatter_of_real_sessions(context):
    positions = placed(context, fresh(seed=13))
    assert failing_users([p for p in positions if p.detector.auc > 0.95], 0.8, 0.55) == {}


def test_a_user_with_few_images_does_not_fail():
    detector = SimpleNamespace(name="blurred", turns=False, spread=0.05)
    users = pd.Series({"many": 1.0, "few": 1.0})
    position = Position(detector, 1.0, 0.9, 1.1, users, 0 * users, pd.Series({"many": 10, "few": 9}))
    assert failing_users([position], 0.8, 0.55) == {"many": "blurred"}


def test_a_detector_for_each_person_knows_ways_that_differ_between_people():
    """Of two people who move in opposite ways, and of one who moves in neither, reversal is the opposite sign."""
    rng, users = np.random.default_rng(0), np.repeat(["left", "right", "still"], 60)
    way = np.repeat([1.0, -1.0, 0.0], 60)[:, None] * np.ones(8)

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        return way + rng.normal(size=(180, 8)), -way + rng.normal(size=(180, 8))

    genuine, altered = drawn()
    unseen, reversed_ = drawn()
    everybody = ForEverybody(genuine, altered)
    assert abs(everybody.scores(unseen, users).mean() - everybody.scores(reversed_, users).mean()) < 0.2
    known = (unseen, Rows(unseen, users, np.char.add(users, np.tile(["1", "2"], 90))))
    detector = for_each("time reversed", ForEach(genuine, altered, users), known, reversed_, users)
    assert detector is not None
    assert detector.blind == ["still"]
    assert detector.auc > 0.95
    assert np.abs(detector.sessions).max() < 0.2
    assert (detector.model.scores(unseen[:3], np.full(3, "stranger")) == 0.5).all()
