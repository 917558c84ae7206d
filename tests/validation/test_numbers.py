"""Error rates, texture and neighbours against closed forms and known answers."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_curve

from mdgen.data.texture import fine_energy, texture_ratio
from validation.measures.neighbours import shifted_correlation
from validation.measures.recognition import effective_count, telling_apart, wilson_interval
from validation.measures.scores import ScoreSet, area_under_roc


def pairs(genuine, impostor):
    """One enrolled row of a against rows of a and of b."""
    probes = np.repeat(["a", "b"], [len(genuine), len(impostor)])
    return ScoreSet(np.r_[genuine, impostor][None], np.array(["a"]), probes)


def test_equal_error_rate_of_two_gaussians_is_the_closed_form():
    rng = np.random.default_rng(5)
    genuine, impostor = rng.normal(2, 1, 200_000), rng.normal(0, 1, 200_000)
    assert pairs(genuine, impostor).equal_error_rate() == pytest.approx(norm.cdf(-1), abs=2e-3)
    assert area_under_roc(genuine, impostor) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=2e-3)
    assert pairs(impostor, genuine).equal_error_rate() == pytest.approx(1 - norm.cdf(-1), abs=2e-3)


@pytest.mark.parametrize(
    ("genuine", "impostor", "expected"), [([2, 3], [0, 1], 0), ([0, 1], [2, 3], 1), ([1], [1], 0.5)]
)
def test_equal_error_rate_at_the_extremes(genuine, impostor, expected):
    assert pairs(genuine, impostor).equal_error_rate() == pytest.approx(expected)


def test_counting_every_user_twice_changes_no_error_rate():
    rng = np.random.default_rng(6)
    users = np.array(["a", "b", "c"]).repeat(4)
    scores = ScoreSet(rng.normal(size=(12, 12)) + (users[:, None] == users), users, users)
    assert scores.equal_error_rate({"a": 2, "b": 2, "c": 2}) == pytest.approx(scores.equal_error_rate())


def test_equal_error_rate_of_users_drawn_anew_is_that_of_weighted_pairs_even_where_scores_repeat():
    rng = np.random.default_rng(7)
    users = np.array(["a", "b", "c", "d"]).repeat(5)
    scores = ScoreSet(rng.normal(size=(20, 20)).round(1) + (users[:, None] == users), users, users)
    drawn = {"a": 2, "b": 1, "d": 3}
    times, same = np.array([drawn.get(user, 0) for user in users]), users[:, None] == users
    weights = np.where(same, times, times[:, None] * times)
    false_accept, true_accept, _ = roc_curve(same.ravel(), scores.scores.ravel(), sample_weight=weights.ravel())
    rate = scores.equal_error_rate(drawn)
    assert np.interp(rate, false_accept, true_accept) == pytest.approx(1 - rate)
    assert np.isnan(scores.equal_error_rate({"a": 2}))


def test_wilson_interval_matches_the_published_example():
    assert wilson_interval(0.8, 50) == pytest.approx((0.6696, 0.8876), abs=1e-3)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert wilson_interval(0.5, 0) == (0.0, 1.0)


def test_twice_chance_tells_people_apart_but_of_two_halfway_to_certainty():
    assert [telling_apart(people) for people in (2, 3, 4, 10)] == pytest.approx([0.75, 2 / 3, 0.5, 0.2])


def test_a_mean_over_users_is_as_uncertain_as_the_users_with_few_images_make_it():
    assert effective_count([20, 20, 20]) == pytest.approx(60)
    assert effective_count([1000, *11 * [10]]) == pytest.approx(131, abs=0.5)
    assert effective_count([20, 0]) == pytest.approx(20)
    assert effective_count([0]) == 0


def test_fine_energy_holds_only_the_upper_half_of_the_frequencies():
    column = np.arange(64)
    slow, fast = np.sin(2 * np.pi * 8 * column / 64), np.sin(2 * np.pi * 24 * column / 64)
    images = np.broadcast_to(np.stack([slow, fast])[:, None, None, :], (2, 1, 64, 64))
    np.testing.assert_allclose(fine_energy(images, -1), [0, 0.5], atol=1e-12)  # a sine has power 1/2
    np.testing.assert_allclose(fine_energy(images, -2), [0, 0], atol=1e-12)


def test_texture_ratio_is_one_for_the_same_process_and_tells_the_blurred_axis():
    rng = np.random.default_rng(7)
    real, fresh = rng.normal(size=(2, 40, 1, 32, 32))
    blurred = (fresh + np.roll(fresh, 1, axis=-1)) / 2
    assert texture_ratio(real, fresh) == pytest.approx({"time": 1, "doppler": 1}, abs=0.05)
    ratios = texture_ratio(real, blurred)
    assert ratios["time"] < 0.25
    assert ratios["doppler"] == pytest.approx(0.5, abs=0.05)  # half of the power is gone at all Doppler frequencies


def test_a_shifted_copy_correlates_perfectly_and_a_stranger_does_not():
    rng = np.random.default_rng(8)
    long = rng.normal(size=(1, 1, 16, 48)).astype(np.float32)
    reference, query = long[..., 5:37], 2 * long[..., :32] + 1  # other gain and offset too
    best, shift = shifted_correlation(query, np.concatenate([reference, reference[:, :, ::-1]]), max_shift=8)
    assert best[0, 0] == pytest.approx(1, abs=1e-5)
    assert shift[0, 0] == 5
    assert best[0, 1] < 0.4
