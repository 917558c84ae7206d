"""A data set's faults are named, and the plan made for it is a recipe that loads."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mdgen.config import load_recipe
from mdgen.data.advice import FINGERPRINT_FILE, PLAN_FILE, RECIPE_FILE, make_plan, write_plan
from mdgen.data.inspect import inspect
from mdgen.data.simulator import simulate


@pytest.fixture(scope="module")
def walkers():
    return simulate(users=3, sessions=4, windows=4, size=32, seed=5)


@pytest.fixture(scope="module")
def facts(walkers):
    return inspect(walkers).fingerprint


def changed(walkers, **columns):
    return replace(walkers, table=walkers.table.assign(**columns))


def test_a_clean_set_has_no_warning(walkers):
    assert inspect(walkers).warnings == []


def test_the_fingerprint_counts_what_there_is(facts):
    assert (facts.windows, facts.users, facts.height, facts.sessions_least) == (48, 3, 32, 4)
    assert facts.roles == ("train", "judge", "val", "test")
    assert facts.axes["duration_s"] == 2.2
    assert facts.independent == 48


def test_overlapping_windows_count_for_what_is_new_in_them(walkers):
    starts = np.tile([0.0, 8.0, 16.0, 24.0], 12)
    facts = inspect(changed(walkers, start_column=starts)).fingerprint
    assert facts.overlap == 0.75
    assert facts.independent == 12 * (1 + 3 / 4)


@pytest.mark.parametrize(
    ("columns", "warning"),
    [
        ({"recording": "", "session": ""}, "recordings are unknown"),
        ({"session": "one"}, "single session"),
        ({"split": ""}, "no roles"),
        ({"duration_s": np.nan}, "axes are not given"),
    ],
)
def test_what_is_missing_is_said(walkers, columns, warning):
    assert any(warning in text for text in inspect(changed(walkers, **columns)).warnings)


def test_leaks_and_mislabelled_copies_are_said(walkers):
    images = walkers.images.copy()
    images[40] = images[1]
    warnings = " ".join(inspect(walkers.with_images(images)).warnings)
    assert "two users" in warnings
    assert "identical" in warnings


def test_an_uneven_set_is_said(walkers):
    few = [0, 4, 8, 12, *np.flatnonzero(walkers.table["user"] != "walker_01")]
    assert any("4 to 16 windows" in text for text in inspect(walkers.select(np.array(few))).warnings)


def test_the_plan_is_a_recipe_that_loads_and_says_why(facts, tmp_path):
    plan = make_plan(facts)
    write_plan(facts, plan, tmp_path)
    assert load_recipe(tmp_path / RECIPE_FILE) == plan.recipe()
    assert json.loads((tmp_path / FINGERPRINT_FILE).read_text())["windows"] == 48
    assert all(decision.reason in (tmp_path / PLAN_FILE).read_text() for decision in plan.settings)


def test_small_sets_train_shorter_and_overlapping_ones_are_cut_anew(facts):
    small, large = (
        make_plan(facts).recipe(),
        make_plan(replace(facts, windows=2000, train_windows=800, train_least=100, independent=2000)).recipe(),
    )
    assert small.denoiser.training.steps < large.denoiser.training.steps
    assert small.denoiser.dropout > large.denoiser.dropout == 0
    assert not large.data.augment.time_shift
    assert make_plan(replace(facts, overlap=0.75)).recipe().data.augment.time_shift is True
    assert make_plan(replace(facts, overlap=0.75, common_course=0.5)).recipe().data.augment.time_shift is False


def test_a_plan_for_data_as_a_recipe_was_measured_on_is_that_recipe(facts):
    counts = {"windows": 1080, "users": 8, "train_windows": 524, "train_least": 56, "independent": 312}
    gait = replace(facts, **counts, overlap=0.75, common_course=0.57)
    plan = make_plan(gait)
    shipped, recommended = load_recipe("gait"), plan.recipe()
    assert plan.base == "gait"
    for part in ("autoencoder", "diffusion"):
        assert getattr(recommended, part) == getattr(shipped, part)
    taught = {"checkpoint_every": shipped.denoiser.training.checkpoint_every}
    training = recommended.denoiser.training.model_copy(update=taught)
    assert recommended.denoiser.model_copy(update={"training": training}) == shipped.denoiser
    assert recommended.generate.model_copy(update={"per_user": shipped.generate.per_user}) == shipped.generate
    assert make_plan(replace(gait, overlap=0.0)).base == "gestures"
    assert make_plan(replace(gait, common_course=0.0)).base == "quickstart"


def test_large_pictures_get_the_large_recipe(facts):
    large = replace(facts, height=256, width=256, native_side=128)
    plan = make_plan(large)
    assert plan.base == "microdoppler128"
    assert any("--size 128" in decision.value for decision in plan.preparation)
    plan.recipe()


def test_a_leaking_split_is_to_be_made_anew(facts):
    split = {d.key: d.value for d in make_plan(replace(facts, leak=0.4)).preparation}["split"]
    assert split == "whole sessions"
