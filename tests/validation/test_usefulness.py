"""Usefulness on made-up people: what honest windows, useless ones and other people's teach, and how sure that is."""

import numpy as np
import pandas as pd
import pytest

from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from validation.blocks.usefulness import assess_usefulness, unseen_rows
from validation.context import Context
from validation.measures.augmentation import augmentation_gate, gains, small_gain
from validation.measures.learning import (
    RATIOS,
    REAL,
    SHIFTED,
    SYNTHETIC,
    Labelled,
    Pools,
    available_budgets,
    describe,
    learning_curve,
    macro,
    random_places,
    recognised,
    time_shifted,
)
from validation.measures.resampling import Interval, macro_intervals
from validation.measures.transfer import Transfer, equal_counts, failing_users, least_of_real, tstr_gate
from validation.results import ADVISORY, FAIL, INCONCLUSIVE, PASS, UNAVAILABLE
from validation.rules import shipped_rules
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

PEOPLE = ("a", "<b>", "$c", "d")
FAST = ValidationSettings(judge_seeds=2, judge_steps=30, learning_draws=3, learning_budgets=(2,), bootstrap_draws=100)
RULES = shipped_rules()


def swings(roles=ROLES, sessions=2, windows=5, seed=0, size=32) -> SpectrogramSet:
    """Ridges that swing at each person's own rate and height, in noise; sessions differ a little."""
    rng = np.random.default_rng(seed)
    doppler, time = np.mgrid[:size, :size]
    rows, images = [], []
    for number, user in enumerate(PEOPLE):
        for role in roles:
            for session in range(sessions):
                height = 6 + 5 * number + rng.normal(0, 0.3)
                for _ in range(windows):
                    ridge = height + 2 * np.sin(2 * np.pi * (2 + number) * time / size + rng.uniform(0, 6.3))
                    image = 1.6 * np.exp(-((doppler - ridge) ** 2) / 3) - 0.8 + 0.3 * rng.normal(size=ridge.shape)
                    images.append(image.clip(-1, 1))
                    rows.append((user, f"{role}{session}", "", role))
    user, session, recording, split = zip(*rows, strict=True)
    table = make_table(user=user, session=session, recording=recording, split=split)
    return SpectrogramSet(np.array(images, np.float32)[:, None], table, "swings")


def renamed(data: SpectrogramSet, names: dict[str, str]) -> SpectrogramSet:
    return SpectrogramSet(data.images, data.table.assign(user=data.table["user"].replace(names)), "renamed")


@pytest.fixture(scope="module")
def honest() -> SpectrogramSet:
    return swings(("train",), sessions=3, seed=9)


@pytest.fixture(scope="module")
def context(honest) -> Context:
    return Context(prepare_sets(swings(), honest), FAST)


@pytest.fixture(scope="module")
def found(context):
    return assess_usefulness(context)


def clouds(count: int, users: int = 6, seed: int = 0, spread: float = 1.0) -> Labelled:
    """Gaussian clouds about the corners of a simplex, `count` points each."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"u{k}" for k in range(users)], count)
    return Labelled(np.repeat(3 * np.eye(users, 8), count, axis=0) + spread * rng.normal(size=(len(names), 8)), names)


def test_users_of_one_picture_each_are_learned_and_one_picture_of_all_is_not():
    pictures = Labelled(np.repeat(np.eye(3, 8), 5, axis=0), np.repeat(["a", "b", "c"], 5))
    assert recognised(pictures, pictures)[0].all()
    alike = Labelled(np.ones((15, 8)), pictures.users)
    assert recognised(alike, alike)[0].sum() == 5


def transfer(real: dict[str, float], synthetic: dict[str, float], windows: int = 60) -> Transfer:
    """Exactly these shares recognised, over three recordings of each user and one seed."""
    users = np.repeat(list(real), windows)
    groups = np.char.add(users, np.tile(np.repeat(["1", "2", "3"], windows // 3), len(real)))

    def right(shares: dict[str, float]) -> np.ndarray:
        place = np.tile(np.random.default_rng(0).permutation(windows), len(shares))
        return (place < np.repeat([round(share * windows) for share in shares.values()], windows))[None]

    return Transfer(right(real), right(synthetic), users, groups, dict.fromkeys(real, 40))


def judged(case: Transfer, **kwargs):
    rule = RULES["tstr"]
    scores = case.synthetic - rule["least_share"] * case.real
    margins = macro_intervals(scores, case.users, case.groups, np.random.default_rng(0))
    return tstr_gate(case, margins, rule, 0.25, failing_users(case.per_user, rule["user_share"]), **kwargs)


def test_the_interval_of_equal_scores_is_a_point():
    users = np.repeat(["a", "b"], 6)
    intervals = macro_intervals(np.ones((3, 12)), users, users, np.random.default_rng(0))
    assert intervals == (Interval(1.0, 1.0, 1.0), Interval(1.0, 1.0, 1.0))


def test_the_mean_counts_users_not_windows():
    users = np.array(["a"] * 9 + ["b"])
    here, elsewhere = macro_intervals((users == "a")[None], users, np.arange(10), np.random.default_rng(0))
    assert here == elsewhere == Interval(0.5, 0.0, 1.0)


def test_one_recording_of_each_user_leaves_the_interval_wide():
    users = np.repeat(list("abcd"), 20)
    alike = np.tile(np.arange(20) < 11, 4)[None]
    here, _ = macro_intervals(alike, users, users, np.random.default_rng(0))
    assert here.low < 0.5 < 0.6 < here.high
    unlike = np.repeat([True, True, True, False], 20)[None]
    here, _ = macro_intervals(unlike, users, users, np.random.default_rng(0))
    assert here.high - here.low > 0.5


def test_windows_of_one_recording_do_not_narrow_the_interval_by_their_number():
    rng = np.random.default_rng(0)
    users = np.repeat(["a", "b", "c", "d"], 60)
    by_recording = np.tile(np.repeat(np.arange(3), 20), 4)
    shares = rng.random((4, 3))[np.repeat(np.arange(4), 60), by_recording][None]
    together, _ = macro_intervals(shares, users, by_recording, rng)
    apart, _ = macro_intervals(shares, users, np.arange(240), rng)
    assert together.high - together.low > apart.high - apart.low


def test_the_interval_covers_the_truth_nineteen_times_in_twenty():
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(20), 12)
    groups = np.repeat(np.arange(60), 4)
    inside = 0
    for _ in range(100):
        chance = (0.7 + 0.1 * rng.normal(size=20)[:, None] + 0.05 * rng.normal(size=(20, 3))).clip(0, 1)
        _, interval = macro_intervals((rng.random(240) < np.repeat(chance, 4))[None], users, groups, rng)
        inside += interval.low <= 0.7 <= interval.high
    assert inside >= 88


def test_random_places_draw_the_same_number_of_each_user_and_nest():
    users = np.array(list("aaaabbbbbbcc"))
    places = random_places(users, np.random.default_rng(0))
    assert pd.Series(users[places < 2]).value_counts().to_dict() == {"a": 2, "b": 2, "c": 2}
    assert not ((places < 2) & ~(places < 3)).any()


def test_budgets_end_with_all_there_is():
    assert available_budgets(np.repeat(["a", "b"], 40), (5, 10, 20, 50)) == [5, 10, 20, 40]
    assert available_budgets(np.repeat(["a", "b"], 4), (5, 10)) == [4]


def test_features_do_not_depend_on_when_the_window_starts():
    images = np.random.default_rng(0).random((3, 1, 32, 32), np.float32)
    assert np.allclose(describe(images, 64), describe(np.roll(images, 7, axis=-1), 64), atol=1e-4)


def test_a_time_shift_moves_columns_and_changes_nothing_else():
    image = np.broadcast_to(np.linspace(-1, 1, 32, dtype=np.float32)[:, None], (1, 1, 32, 32))
    for shifted in time_shifted(image.copy(), 64, seed=0):
        assert np.allclose(shifted, image)


def test_a_time_shift_goes_as_far_in_large_images_as_in_those_the_networks_see():
    images = np.full((200, 1, 64, 64), -1, np.float32)
    images[..., 32] = 1
    large = images.repeat(2, axis=2).repeat(2, axis=3)
    for small, shrunk in zip(time_shifted(images, 64, 0), time_shifted(large, 64, 0), strict=True):
        np.testing.assert_array_equal(small, shrunk)
        assert set(small[:, 0, 0].argmax(axis=1)) == set(range(24, 41))


def test_clouds_apart_are_told_apart_and_shuffled_names_teach_nothing():
    known, test = clouds(30), clouds(200, seed=1)
    assert recognised(known, test)[0].mean() > 0.9
    rng = np.random.default_rng(0)
    shuffled = [recognised(Labelled(known.features, rng.permutation(known.users)), test)[0] for _ in range(20)]
    assert np.mean(shuffled) == pytest.approx(1 / 6, abs=0.1)


def test_nothing_is_learned_from_one_user_or_from_one_window_each():
    assert not recognised(clouds(30, users=1), clouds(5))[0].any()
    assert not recognised(clouds(1), clouds(5))[0].any()


def curves_of(synthetic: Labelled, spread: float = 1.0):
    real = clouds(20, spread=spread)
    pools = Pools(real, [Labelled(real.features + 0.01, real.users)], synthetic)
    tests = {"unseen": clouds(60, seed=2, spread=spread), "val": clouds(30, seed=3, spread=spread)}
    curves = learning_curve(pools, tests, [3, 20], draws=4, rng=np.random.default_rng(0))
    on_val = {key: macro(right, tests["val"].users) for key, right in curves["val"].items()}
    return curves["unseen"], tests["unseen"].users, on_val


def augmented(synthetic: Labelled):
    unseen, users, on_val = curves_of(synthetic)
    found = gains(unseen, users, on_val)
    rng = np.random.default_rng(0)
    few, full = (macro_intervals(gain.difference, users, users, rng) for gain in (small_gain(found, 20), found[-1]))
    return augmentation_gate(small_gain(found, 20), few, found[-1], full[0], RULES["augmentation_gain"])


def test_more_windows_of_the_same_kind_help_and_pass():
    gate = augmented(clouds(60, seed=5))
    assert gate.status == PASS
    assert gate.ci_low > 0


def test_windows_under_wrong_names_hurt_and_fail():
    wrong = clouds(60, seed=5)
    gate = augmented(Labelled(wrong.features, np.roll(wrong.users, 60)))
    assert gate.status == FAIL
    assert "hurt" in gate.note


def test_every_arm_is_there_at_every_budget_and_all_real_windows_are_the_same_in_every_draw():
    unseen, _, _ = curves_of(clouds(60, seed=5))
    assert {arm for _, arm in unseen} == {REAL, SHIFTED, SYNTHETIC, *RATIOS}
    assert (unseen[20, REAL] == unseen[20, REAL][0]).all()


def test_the_ratio_is_chosen_on_val_even_where_another_is_better_on_unseen_windows():
    users = np.array(["a", "a", "b", "b"])
    unseen = {(5, arm): np.ones((2, 4), bool) for arm in (REAL, SHIFTED, *RATIOS)}
    unseen[5, "3x synthetic"][:] = False
    on_val = {(5, arm): 0.5 for _, arm in unseen} | {(5, "3x synthetic"): 0.9}
    gain = gains(unseen, users, on_val)[0]
    assert gain.arm == "3x synthetic"
    assert gain.difference.mean() == -1


def test_a_classifier_with_nothing_to_gain_is_no_reason_to_wait():
    users = np.repeat(["a", "b"], 10)
    unseen = {(budget, arm): np.ones((2, 20), bool) for budget in (5, 9) for arm in (REAL, SHIFTED, *RATIOS)}
    found = gains(unseen, users, {})
    wavering = (Interval(0.0, -0.01, 0.01), Interval(0.0, -0.02, 0.02))
    gate = augmentation_gate(small_gain(found, 20), wavering, found[-1], wavering[0], RULES["augmentation_gain"])
    assert gate.status == ADVISORY


@pytest.mark.parametrize(("low", "said"), [(-0.05, "they hurt these users"), (0.05, "the interval holds zero")])
def test_what_the_interval_of_the_gain_says_is_told(low, said):
    users = np.repeat(["a", "b"], 10)
    right = np.arange(20) % 2 == 0  # there is something to gain
    unseen = {(5, arm): np.tile(right, (2, 1)) for arm in (REAL, SHIFTED, *RATIOS)}
    found = gains(unseen, users, {})
    here, elsewhere = Interval(-0.2, -0.35, low), Interval(-0.2, -0.4, 0.1)
    gate = augmentation_gate(found[0], (here, elsewhere), found[0], here, RULES["augmentation_gain"])
    assert (gate.status, said in gate.note) == (INCONCLUSIVE, True)


def test_as_good_as_real_passes_and_far_worse_fails():
    shares = {f"u{k:02}": 0.8 for k in range(12)}
    assert judged(transfer(shares, shares)).status == PASS
    worse = judged(transfer(shares, dict.fromkeys(shares, 0.5)))
    assert worse.status == FAIL
    assert worse.ci_high < worse.threshold == pytest.approx(0.72)


def test_a_little_worse_than_asked_for_on_few_users_is_inconclusive():
    real = {f"u{k}": 0.8 for k in range(6)}
    assert judged(transfer(real, dict(zip(real, (0.9, 0.9, 0.8, 0.5, 0.5, 0.5), strict=True)))).status == INCONCLUSIVE


def test_one_user_that_is_not_taught_fails_by_name_whatever_the_mean():
    real = {f"u{k:02}": 0.8 for k in range(12)}
    case = transfer(real, dict.fromkeys(real, 0.95) | {"u03": 0.05})
    gate = judged(case)
    assert gate.value > gate.ceiling
    assert gate.status == FAIL
    assert "u03" in gate.note
    assert failing_users(case.per_user, RULES["tstr"]["user_share"]) == ["u03"]


def test_a_user_whom_real_windows_hardly_teach_either_does_not_fail():
    real = {f"u{k:02}": 0.8 for k in range(12)} | {"u00": 0.1}
    case = transfer(real, real | {"u00": 0.0})
    assert failing_users(case.per_user, RULES["tstr"]["user_share"]) == []


def test_a_day_teaches_no_less_than_real_days_do():
    usual, odd = pd.Series({"a": 0.8, "b": 0.7, "c": 0.1}), pd.Series({"a": 0.8, "b": 0.175, "c": 0.0})
    assert least_of_real(usual, odd) == least_of_real(odd, usual) == pytest.approx(0.25)
    assert least_of_real(usual, usual) == 1
    assert least_of_real(odd * 0, usual * 0) == 1


def test_where_real_windows_teach_nothing_nothing_is_decided():
    nothing = {f"u{k}": 0.25 for k in range(4)}
    assert judged(transfer(nothing, nothing)).status == INCONCLUSIVE


def test_two_people_can_pass_and_fail():
    real, nothing = {"a": 0.95, "b": 0.95}, {"a": 0.5, "b": 0.5}
    assert judged(transfer(real, real)).status == PASS
    assert judged(transfer(real, nothing)).status == FAIL
    assert judged(transfer(nothing, nothing)).status == INCONCLUSIVE


def test_doubtful_roles_make_a_pass_advisory_and_leave_a_failure():
    real = {f"u{k:02}": 0.8 for k in range(12)}
    assert judged(transfer(real, real), advisory="unknown sessions").status == ADVISORY
    assert judged(transfer(real, dict.fromkeys(real, 0.3)), advisory="unknown sessions").status == FAIL


def test_rows_that_share_a_recording_with_the_training_set_are_not_unseen():
    data = swings(sessions=1)
    table = data.table.copy()
    mine = (table["user"] == "a") & (table["split"] == "judge")
    table.loc[mine, "session"] = "train0"
    unseen = unseen_rows(SpectrogramSet(data.images, table, "shared"), ["a", "d"])
    assert set(zip(unseen.table["user"], unseen.table["split"], strict=True)) == {
        ("a", "test"), ("d", "test"), ("d", "judge")
    }  # fmt: skip


def test_either_classifier_learns_from_the_same_number_of_windows():
    real = swings()
    made = real.select((real.table["user"] != "d").to_numpy() & (np.arange(len(real)) % 8 == 0))
    counts = equal_counts(real.role("train"), made)
    assert counts == {"a": 5, "<b>": 5, "$c": 5, "d": 10}


def test_fresh_windows_are_as_good_as_real_ones(found):
    assert [gate.name for gate in found.gates] == ["tstr", "augmentation_gain"]
    assert found.gates[0].status == PASS
    assert not found.failed_users
    assert found.gates[1].status in (PASS, ADVISORY)
    assert found.gates[0].floor == pytest.approx(1 / len(PEOPLE), abs=0.2)
    assert set(found.per_user.index) == set(PEOPLE)


def test_its_figures_can_be_drawn(found):
    for drawing in found.drawings:
        drawing.draw().canvas.draw()


def test_two_swapped_users_fail_by_name(context, honest):
    swapped = assess_usefulness(context.judging(renamed(honest, {"a": "d", "d": "a"})))
    assert swapped.gates[0].status == FAIL
    assert set(swapped.failed_users) == {"a", "d"}


def test_all_names_moved_on_fail_both_gates(context, honest):
    moved = assess_usefulness(context.judging(renamed(honest, dict(zip(PEOPLE, PEOPLE[1:] + PEOPLE[:1], strict=True)))))
    assert [gate.status for gate in moved.gates] == [FAIL, FAIL]


def test_a_user_without_synthetic_images_fails_by_name(context, honest):
    fewer = honest.select((honest.table["user"] != "d").to_numpy())
    found = assess_usefulness(context.judging(fewer))
    assert found.gates[0].status == FAIL
    assert "no synthetic images of: d" in found.gates[0].note
    assert found.failed_users == ["d"]


def test_four_windows_per_user_are_too_few(context, honest):
    few = honest.select(random_places(honest.table["user"].to_numpy(), np.random.default_rng(0)) < 4)
    assert {gate.status for gate in assess_usefulness(context.judging(few)).gates} == {UNAVAILABLE}


def test_the_same_seed_gives_the_same_finding(context, found, honest):
    again = assess_usefulness(context.judging(honest))
    assert again.gates == found.gates
    assert again.metrics == found.metrics
