"""Variety: what collapses is named, what varies as real windows do passes."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mdgen.data.dataset import SpectrogramSet, make_table
from validation.blocks import diversity
from validation.blocks.diversity import assess_diversity, failing, variety, vendi_score
from validation.context import Context
from validation.measures.copies import Closest, nothing_found, user_shares
from validation.measures.repeats import Repeats, same_pictures
from validation.measures.resampling import Interval
from validation.rules import shipped_rules
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

USERS = ("001", "=cmd()", "$y$")
SIDE = 32
FAST = ValidationSettings(bootstrap_draws=20, null_draws=20, judge_seeds=1, judge_steps=5)


def walkers(roles: dict[str, int], seed: int = 0) -> SpectrogramSet:
    """Swinging ridges with speckle; pace, reach and brightness vary from window to window as they do in people."""
    rng, rows, images = np.random.default_rng(seed), [], []
    doppler, time = np.mgrid[:SIDE, :SIDE]
    for number, user in enumerate(USERS):
        for role, windows in roles.items():
            for window in range(windows):
                height, rate = 8 + 7 * number + rng.normal(0, 1), 2 + 0.5 * number + rng.normal(0, 0.15)
                ridge = height + rng.uniform(1, 4) * np.sin(2 * np.pi * rate * time / SIDE + rng.uniform(0, 6.3))
                envelope = np.exp(-((doppler - ridge) ** 2) / rng.uniform(8, 16))
                speckle = gaussian_filter(rng.normal(size=doppler.shape), 0.8)
                images.append((1.3 * envelope * (1 + 0.9 * speckle / speckle.std()) - 0.9).clip(-1, 1)[None])
                rows.append((user, f"{role}-day", str(window), role))
    user, session, name, split = zip(*rows, strict=True)
    table = make_table(user=user, session=session, recording=name, split=split)
    return SpectrogramSet(np.array(images, np.float32), table, "walkers")


REAL = walkers({"train": 24, "judge": 24, "test": 12})
FRESH = walkers({"train": 30}, seed=7)
FRESH = SpectrogramSet(FRESH.images, make_table(user=FRESH.table["user"].tolist()), "fresh")


def changed(change, users=USERS) -> SpectrogramSet:
    """`change` done to the images of each of `users`."""
    images, rng = FRESH.images.copy(), np.random.default_rng(0)
    for user in users:
        rows = np.flatnonzero(FRESH.table["user"] == user)
        images[rows] = change(images[rows], rng).clip(-1, 1)
    return FRESH.with_images(images)


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(prepare_sets(REAL, FRESH), FAST)


def few(kinds, noise=0.03):
    return lambda x, rng: x[rng.integers(0, kinds, len(x))] + noise * rng.normal(size=x.shape)


def test_fresh_windows_pass_beside_their_ceiling_and_floor(context):
    finding = assess_diversity(context)
    gate = finding.gates[0]
    assert gate.status == "pass"
    assert gate.value == pytest.approx(1, abs=0.25)
    assert gate.ceiling == pytest.approx(1, abs=0.3)
    assert gate.floor < 0.15
    assert finding.failed_users == []
    assert set(finding.per_user.index) == set(USERS)


@pytest.mark.parametrize("kinds", [1, 3, 5])
def test_a_user_collapsed_to_a_few_images_is_named(context, kinds):
    finding = assess_diversity(context.judging(changed(few(kinds), USERS[1:2])))
    assert finding.gates[0].status == "fail"
    assert finding.failed_users == [USERS[1]]
    assert USERS[1] in finding.gates[0].note


def test_one_image_at_every_shift_and_gain_is_one_image(context):
    def wobbled(x, rng):
        rolled = np.stack([np.roll(x[0], s, axis=-1) for s in rng.integers(-6, 7, len(x))])
        return (rolled + 1) * rng.uniform(0.8, 1, (len(x), 1, 1, 1)) - 1

    finding = assess_diversity(context.judging(changed(wobbled, USERS[:1])))
    assert finding.failed_users == [USERS[0]]


@pytest.mark.parametrize(
    "change",
    [
        lambda x, rng: x.mean(axis=0) + 0.1 * rng.normal(size=x.shape),
        lambda x, rng: x.mean(axis=0) + 0.3 * (x - x.mean(axis=0)),
        few(4),
    ],
)
def test_all_users_collapsed_fail(context, change):
    finding = assess_diversity(context.judging(changed(change)))
    assert finding.gates[0].status == "fail"
    assert sorted(finding.failed_users) == sorted(USERS)


def test_images_given_twice_fail(context):
    finding = assess_diversity(context.judging(changed(lambda x, rng: np.roll(x[np.arange(len(x)) // 2], 2, axis=-1))))
    assert finding.gates[0].status == "fail"
    assert "repeat" in finding.gates[0].note


def test_one_picture_given_often_fails_also_beside_training_windows_that_overlap(context, monkeypatch):
    def often(x, rng):
        return np.concatenate([x[:1].repeat(12, axis=0), x[12:]])

    two_in_three = Closest(np.array([9.0, 9.0, 0.0]), np.zeros(3, int))  # as windows of real gait do
    monkeypatch.setitem(context._made, ("repeats", *context.sets.users), two_in_three)
    finding = assess_diversity(context.judging(changed(often)))
    assert finding.gates[0].status == "fail"
    assert "40% of the images are the very picture of another, 0% of training windows" in finding.gates[0].note
    assert assess_diversity(context.judging(changed(often, USERS[:1]))).failed_users == [USERS[0]]


def test_pictures_that_repeat_in_training_may_repeat(context):
    often = changed(lambda x, rng: np.concatenate([x[:1].repeat(9, axis=0), x[9:]]))
    nothing = user_shares(nothing_found(len(often)), often, 7.0)
    rule, same = shipped_rules()["diversity"], same_pictures(often)
    assert same.share == pytest.approx(0.3)
    for usual, users in ((same_pictures(FRESH), sorted(USERS)), (same, [])):
        assert sorted(failing({}, {}, Repeats(nothing, Interval(0, 0, 1), 0.63, same, usual), rule)) == users


def test_a_little_less_variety_does_not_fail(context):
    finding = assess_diversity(context.judging(changed(lambda x, rng: 0.2 * x.mean(axis=0) + 0.8 * x)))
    assert finding.gates[0].status in ("pass", "inconclusive")
    assert finding.failed_users == []


def test_users_with_too_few_images_are_not_judged(context):
    rows = (FRESH.table["user"] != USERS[0]) | (FRESH.table.groupby("user").cumcount() < diversity.FEWEST - 1)
    assert assess_diversity(context.judging(FRESH.select(rows.to_numpy()))).open_users == [USERS[0]]


def test_too_few_images_make_it_unavailable(context):
    rows = FRESH.table.groupby("user").head(3).index.to_numpy()
    assert assess_diversity(context.judging(FRESH.select(rows))).gates[0].status == "unavailable"


def test_vendi_score_counts_what_is_different():
    far = 100 * np.eye(6)
    assert vendi_score(np.zeros((6, 3)), 1) == pytest.approx(1)
    assert vendi_score(far, 1) == pytest.approx(6)
    assert vendi_score(np.repeat(far[:3], 4, axis=0), 1) == pytest.approx(3)
    assert vendi_score(far[np.array([0, 0, 0, 1])], 1) == pytest.approx(4 / 3**0.75)  # exp of the entropy of 3/4, 1/4


def test_variety_of_equal_distributions_is_one_whatever_their_scale_and_numbers():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 6)), rng.normal(size=(90, 6))
    same, scaled = (variety(f * a, f * b, np.random.default_rng(1)) for f in (1, 1000))
    assert same.ratio.value == pytest.approx(1, abs=0.1)
    assert same.ratio.low < 1 < same.ratio.high
    assert scaled.ratio.value == pytest.approx(same.ratio.value)
    assert same.count == 40


def test_variety_needs_windows_that_differ():
    rng = np.random.default_rng(0)
    assert variety(np.ones((20, 4)), rng.normal(size=(20, 4)), rng) is None
    assert variety(rng.normal(size=(20, 4)), rng.normal(size=(diversity.FEWEST - 1, 4)), rng) is None
