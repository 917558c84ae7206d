"""Shortcuts: marks, floors and gains that give the user away are caught; fresh sessions are not."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from striders import fresh, of_user, striders

from mdgen.data.dataset import make_table
from validation.blocks.shortcuts import _faults, _measure, assess_shortcuts, dataset_warnings, device_accuracy
from validation.context import Context
from validation.measures.background import (
    NAMES,
    Layout,
    background,
    corners,
    fixed_pattern,
    steadiest_row,
    zero_line,
    zero_row,
)
from validation.networks.background_model import forest, identity_within
from validation.rules import shipped_rules
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

QUIET = {"roles": ("train",), "sessions": 1, "windows": 3}


class Known(Context):
    """A context whose judge is known to be right nine times in ten."""

    def recognition(self, real):
        return SimpleNamespace(macro=0.9)


@pytest.fixture(scope="module")
def context() -> Context:
    return Known(prepare_sets(striders(), fresh()), ValidationSettings())


def assess(context, synthetic):
    return assess_shortcuts(context.judging(synthetic))


def marked(level, rows=slice(0, 2), columns=slice(None)):
    made = fresh()
    images = made.images.copy()
    images[:, :, rows, columns] = np.maximum(images[:, :, rows, columns], level)
    return made.with_images(images)


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_fresh_sessions_pass(context, seed):
    gate = assess(context, fresh(seed=seed)).gates[0]
    assert gate.status == "pass", gate.note
    assert gate.floor == 0.25


def test_the_generators_own_training_rows_pass(context):
    assert assess(context, striders().role("train")).gates[0].status == "pass"


def test_photographs_are_judged_though_each_is_a_recording_of_its_own():
    real = striders()
    real = replace(real, table=real.table.assign(recording=[f"photograph {row}" for row in range(len(real))]))
    gate = assess(Known(prepare_sets(real, fresh()), ValidationSettings()), fresh()).gates[0]
    assert gate.status == "pass", gate.note


def test_a_raised_floor_fails_by_name(context):
    made = fresh()
    gate = assess(context, made.with_images(made.images + 0.15 * (1 - made.images))).gates[0]
    assert gate.status == "fail"
    assert "quiet level" in gate.note


def test_a_constant_bright_row_fails(context):
    assert "shifted" in assess(context, marked(-0.4)).gates[0].note


def test_a_watermark_in_a_corner_fails(context):
    gate = assess(context, marked(-0.6, slice(0, 4), slice(0, 4))).gates[0]
    assert gate.status == "fail"


def test_a_row_planted_for_one_user_fails_that_user(context):
    made = fresh()
    images = made.images.copy()
    images[of_user(made, "ben"), :, 1] = -0.3
    finding = assess(context, made.with_images(images))
    assert finding.failed_users == ["ben"]
    assert finding.gates[0].status == "fail"


def test_of_a_single_user_with_images_enough_only_its_own_limits_count(context):
    made = marked(-0.9).select(of_user(fresh(), "ben") | (np.arange(len(fresh())) % 24 < 4))
    found = _measure(context.judging(made))
    assert found.shifts.per_user.index.tolist() == ["ben"]
    low, high = (found.shifts.table[end].abs() for end in ("ci_low", "ci_high"))
    assert (np.minimum(low, high) > shipped_rules()["shortcuts"]["shift"]).any()
    assert not any("shifted" in note for note in _faults(found, {}, shipped_rules()["shortcuts"]))


def test_a_code_of_the_user_in_the_floor_is_found_within_the_set(context):
    made = fresh()
    floor = (-1 + 0.02 * (1 + made.labels(made.users)))[:, None, None, None]
    gate = assess(context, made.with_images(np.maximum(made.images, floor))).gates[0]
    assert gate.status == "fail"
    assert "tells users apart" in gate.note


def test_a_user_with_few_images_does_not_hide_what_gives_the_others_away(context):
    made = fresh()
    floor = (-1 + 0.02 * (1 + made.labels(made.users)))[:, None, None, None]
    few = (~of_user(made, "ben")) | (of_user(made, "ben").cumsum() <= 3)
    gate = assess(context, made.with_images(np.maximum(made.images, floor)).select(few)).gates[0]
    assert "tells users apart" in gate.note
    assert "not told apart there: ben" in gate.note


def test_the_level_profile_of_one_session_in_every_image_fails(context):
    made, train = fresh(), striders().role("train")
    images = made.images - made.images.mean(axis=3, keepdims=True)
    for user in made.users:
        images[of_user(made, user)] += train.images[of_user(train, user)][:4].mean(axis=(0, 3))[None, ..., None]
    gate = assess(context, made.with_images(images.clip(-1, 1))).gates[0]
    assert gate.status == "fail"
    assert "planted" in gate.note


def test_few_synthetic_images_are_unavailable(context):
    gate = assess(context, fresh(sessions=1, windows=4)).gates[0]
    assert gate.status == "unavailable"
    assert "4 synthetic images" in gate.note


def test_a_shortcut_of_the_real_data_is_a_warning_not_a_failure():
    real, made = striders(), fresh()
    for data in (real, made):
        data.images[:, :, :2] += 0.1 * data.labels(data.users)[:, None, None, None]
    finding = assess_shortcuts(Known(prepare_sets(real, made), ValidationSettings()))
    assert finding.gates[0].status == "pass", finding.gates[0].note
    assert any("real data have a shortcut" in text for text in finding.warnings)


def test_a_device_of_every_users_own_is_a_warning():
    table = make_table(user=["a", "b"] * 4, split=["train"] * 4 + ["test"] * 4).assign(device=["x", "y"] * 4)
    assert device_accuracy(table) == 1
    assert device_accuracy(table.assign(device="x")) == 0.5
    assert device_accuracy(table.drop(columns="device")) is None
    rule = shipped_rules()["shortcuts"]
    assert "device alone" in dataset_warnings(0.5, 0.9, 0.5, rule, table)[0]
    assert dataset_warnings(0.5, 0.9, 0.5, rule, table.assign(device="x")) == []


def test_identity_within_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    users = np.repeat(["a", "b", "c"], 20)
    code = pd.Series(users).map({"a": 0.0, "b": 1.0, "c": 2.0}).to_numpy()[:, None]
    assert identity_within(code + 0.01 * rng.normal(size=(60, 1)), users, 20, 0).mean > 0.95
    assert identity_within(rng.normal(size=(60, 1)), users, 20, 0).mean == pytest.approx(1 / 3, abs=0.15)
    assert identity_within(code[:4], users[:4], 20, 0) is None
    assert identity_within(code[:45], users[:45], 20, 0).accuracy.index.tolist() == ["a", "b"]


def test_the_quiet_rows_are_those_without_motion():
    layout = Layout.of(striders(**QUIET))
    assert layout.quiet.sum() == 5
    assert not layout.quiet[12:24].any()


def test_zero_velocity_is_found_on_the_axes():
    assert zero_row({"velocity_min_mps": -1.0, "velocity_max_mps": 3.0}, 64) == 48
    assert zero_row({"velocity_min_mps": 1.0, "velocity_max_mps": 3.0}, 64) == -1
    assert zero_row({}, 64) == -1


def test_lines_corners_and_lasting_marks_are_measured():
    rows = np.zeros((1, 9))
    rows[0, 4] = 0.5
    assert zero_line(rows, 4) == pytest.approx([0.5])
    assert zero_line(rows, -1) == pytest.approx([0])
    pixels = np.full((1, 24, 24), -1.0)
    pixels[0, :2, -2:] = 1
    assert [float(c[0]) for c in corners(pixels)] == [-1, 1, -1, -1]
    noisy = np.random.default_rng(0).normal(0, 0.3, (1, 24, 24))
    noisy[0, 3] = 0.5
    assert steadiest_row(noisy, np.median(noisy, axis=2)) == pytest.approx([0])
    quiet = np.full((9, 4, 8), -1.0)
    quiet[0] = 1
    quiet[:, 2] = 0
    assert fixed_pattern(quiet)[:4] == pytest.approx([0, 0, 1, 0])


def test_backgrounds_of_any_shape_are_finite_and_named():
    images = np.full((2, 3, 16, 40), -1.0, np.float32)
    data = striders(**QUIET)
    assert background(data.images, Layout.of(data)).shape == (len(data), len(NAMES))
    assert np.isfinite(background(images, Layout(np.arange(16) < 3, -1))).all()


def test_the_small_model_is_the_same_for_the_same_seed():
    x, y = np.random.default_rng(0).normal(size=(30, 3)), np.repeat(["a", "b"], 15)
    assert np.array_equal(forest(1).fit(x, y).predict_proba(x), forest(1).fit(x, y).predict_proba(x))
