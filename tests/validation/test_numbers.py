"""Distances, error rates, texture and neighbours against closed forms and known answers."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from mdgen.data.texture import fine_energy, texture_ratio
from validation.accuracy import wilson_interval
from validation.distances import frechet_distance, frechet_of_moments, kernel_distance, kernel_test, standardise
from validation.neighbours import near_copy_share, shifted_correlation
from validation.verification import ScoreSet, area_under_roc, equal_error_rate


@pytest.mark.parametrize(
    ("mean_a", "cov_a", "mean_b", "cov_b", "expected"),
    [
        ([0], [[1]], [3], [[4]], 10),
        ([0, 0], np.diag([1, 4]), [1, 2], np.diag([9, 16]), 13),
        (np.zeros(10), 4 * np.eye(10), np.zeros(10), 9 * np.eye(10), 10),
        ([0, 0], np.diag([1, 0]), [0, 0], np.eye(2), 1),
        ([0, 0], np.diag([1, 0]), [0, 0], np.diag([0, 1]), 2),
        ([0, 0], [[2, 1], [1, 2]], [0, 0], np.diag([1, 4]), 0.7712204476543),
        ([1, 2], [[2, 1], [1, 2]], [1, 2], [[2, 1], [1, 2]], 0),
    ],
)
def test_frechet_distance_of_moments_has_its_closed_form(mean_a, cov_a, mean_b, cov_b, expected):
    assert frechet_of_moments(mean_a, cov_a, mean_b, cov_b) == pytest.approx(expected, abs=1e-8)
    assert frechet_of_moments(mean_b, cov_b, mean_a, cov_a) == pytest.approx(expected, abs=1e-8)


def test_frechet_distance_is_the_same_by_both_routes():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 40)), rng.normal(0.5, 2, size=(25, 40))  # fewer images than features
    moments = (a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert frechet_distance(a, b) == pytest.approx(frechet_of_moments(*moments), rel=1e-6)


def test_frechet_distance_scales_rotates_and_shifts_as_it_must():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(80, 6)), rng.normal(size=(90, 6)) @ rng.normal(size=(6, 6))
    rotation, shift = np.linalg.qr(rng.normal(size=(6, 6)))[0], np.arange(6.0)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * frechet_distance(a, b))
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(frechet_distance(a, b))
    assert frechet_distance(a, a + shift) == pytest.approx(shift @ shift)


def test_frechet_distance_of_equal_distributions_has_the_known_bias():
    rng = np.random.default_rng(2)
    count, features = 200, 16
    draws = [frechet_distance(*rng.normal(size=(2, count, features))) for _ in range(60)]
    assert np.mean(draws) == pytest.approx(features * (features + 5) / (2 * count), rel=0.1)


def test_distances_agree_with_torch_fidelity():
    fid = pytest.importorskip("torch_fidelity.metric_fid", exc_type=(ImportError, RuntimeError))
    kid = pytest.importorskip("torch_fidelity.metric_kid", exc_type=(ImportError, RuntimeError))
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(60, 12)), rng.normal(0.3, 1.2, size=(60, 12))
    statistics = [fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    theirs = fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)
    kernel = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    blocks = [kid.kernel_poly(x, y, **kernel) for x, y in ((a, a), (a, b), (b, b))]
    assert kernel_distance(a, b) == pytest.approx(kid.mmd2(*blocks), rel=1e-6)


def test_kernel_distance_is_zero_on_average_for_equal_distributions_and_its_test_says_so():
    rng = np.random.default_rng(4)
    draws = [kernel_distance(*rng.normal(size=(2, 20, 8))) for _ in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
    assert kernel_test(*rng.normal(size=(2, 60, 8)), rng, 100).p_value > 0.01
    assert kernel_test(rng.normal(size=(60, 8)), rng.normal(0.7, 1, size=(60, 8)), rng, 100).p_value < 0.02


def test_standardising_takes_statistics_from_the_reference_alone():
    reference = np.array([[0.0, 5.0], [2.0, 5.0]])
    scaled, other = standardise(reference, reference, np.array([[3.0, 7.0]]))
    np.testing.assert_allclose(scaled, np.sqrt(2) * np.array([[-1, 0], [1, 0]]))
    np.testing.assert_allclose(other, np.sqrt(2) * np.array([[2, 2]]))
    assert scaled.var(axis=0).mean() == pytest.approx(1)


def test_equal_error_rate_of_two_gaussians_is_the_closed_form():
    rng = np.random.default_rng(5)
    genuine, impostor = rng.normal(2, 1, 200_000), rng.normal(0, 1, 200_000)
    assert equal_error_rate(genuine, impostor) == pytest.approx(norm.cdf(-1), abs=2e-3)
    assert area_under_roc(genuine, impostor) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=2e-3)
    assert equal_error_rate(impostor, genuine) == pytest.approx(1 - norm.cdf(-1), abs=2e-3)


@pytest.mark.parametrize(
    ("genuine", "impostor", "expected"), [([2, 3], [0, 1], 0), ([0, 1], [2, 3], 1), ([1], [1], 0.5)]
)
def test_equal_error_rate_at_the_extremes(genuine, impostor, expected):
    assert equal_error_rate(np.array(genuine, float), np.array(impostor, float)) == pytest.approx(expected)


def test_counting_every_user_twice_changes_no_error_rate():
    rng = np.random.default_rng(6)
    users = np.array(["a", "b", "c"]).repeat(4)
    scores = ScoreSet(rng.normal(size=(12, 12)) + (users[:, None] == users), users, users)
    assert scores.equal_error_rate({"a": 2, "b": 2, "c": 2}) == pytest.approx(scores.equal_error_rate())


def test_wilson_interval_matches_the_published_example():
    assert wilson_interval(0.8, 50) == pytest.approx((0.6696, 0.8876), abs=1e-3)
    assert wilson_interval(1.0, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert wilson_interval(0.5, 0) == (0.0, 1.0)


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


def test_near_copies_are_counted_against_held_out_real():
    held_out = np.linspace(0, 0.5, 1001)
    assert near_copy_share(np.array([0.1, 0.9, np.nan, 0.99, 0.2]), held_out) == pytest.approx((0.5, 0.495))
