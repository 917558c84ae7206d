"""Distances and neighbourhoods on features: closed forms, invariances, and what other libraries say."""

import numpy as np
import pytest
import torch

from validation.measures.distances import (
    cross_distances,
    frechet_distance,
    frechet_distance_infinite,
    frechet_of_moments,
    half_of_each,
    kernel_distance,
    kernel_test,
    paired_distances,
    polynomial_kernel,
    standardise,
    standardise_columns,
)
from validation.measures.neighbourhoods import neighbourhoods, radii
from validation.networks.inception import inception_score


@pytest.fixture(scope="module")
def features() -> tuple[np.ndarray, np.ndarray]:
    """Synthetic and real vectors, 90 and 80 of 12 features."""
    rng = np.random.default_rng(3)
    return rng.normal(0.3, 1.2, size=(90, 12)), rng.normal(size=(80, 12))


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


def test_kernel_distance_is_zero_on_average_for_equal_distributions_and_its_interval_knows_others():
    rng = np.random.default_rng(4)
    draws = [kernel_distance(*rng.normal(size=(2, 20, 8))) for _ in range(400)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
    equal = kernel_test(*rng.normal(size=(2, 60, 8)), rng, 100)
    assert equal.ci_low < 0 < equal.ci_high
    assert kernel_test(rng.normal(size=(60, 8)), rng.normal(0.7, 1, size=(60, 8)), rng, 100).ci_low > 0


def test_standardising_takes_statistics_from_the_reference_alone():
    reference = np.array([[0.0, 5.0], [2.0, 5.0]])
    scaled, other = standardise(reference, reference, np.array([[3.0, 7.0]]))
    np.testing.assert_allclose(scaled, np.sqrt(2) * np.array([[-1, 0], [1, 0]]))
    np.testing.assert_allclose(other, np.sqrt(2) * np.array([[2, 2]]))
    assert scaled.var(axis=0).mean() == pytest.approx(1)


def test_a_set_has_full_precision_recall_and_coverage_against_itself_and_density_above_one():
    real = np.random.default_rng(0).normal(size=(60, 4))
    found = neighbourhoods(real, real, k=5)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(6 / 5)


def test_repeated_vectors_count_as_inside_their_own_ball():
    same = np.ones((20, 3))
    assert neighbourhoods(same, same).coverage == 1


def test_repeated_vectors_are_at_no_distance_whatever_a_matrix_product_rounds():
    far = 100 + np.random.default_rng(0).normal(size=(8, 1280))
    repeated = np.repeat(far, 6, axis=0)
    assert not radii(repeated, k=5).any()
    assert neighbourhoods(repeated, repeated).density == pytest.approx(6 / 5)
    assert neighbourhoods(repeated, far + 1e-9).density == 0


def test_coverage_of_equal_distributions_is_the_known_share_and_density_is_one():
    rng = np.random.default_rng(1)
    found = [neighbourhoods(*rng.normal(size=(2, 400, 3)), k=5) for _ in range(5)]
    assert np.mean([f.coverage for f in found]) == pytest.approx(1 - 2**-5, abs=0.01)
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.05)


def test_collapse_keeps_precision_and_loses_recall_and_coverage():
    rng = np.random.default_rng(2)
    real, fresh = rng.normal(size=(2, 200, 4))
    collapsed = neighbourhoods(real, 0.1 * fresh)
    assert collapsed.precision > 0.95
    assert collapsed.recall < 0.2
    assert collapsed.coverage < 0.3


def test_neighbourhoods_need_more_vectors_than_neighbours():
    with pytest.raises(ValueError, match="more than 5"):
        neighbourhoods(np.zeros((5, 2)), np.zeros((50, 2)))


def test_neighbourhoods_agree_with_prdc(features):
    prdc = pytest.importorskip("prdc")
    synthetic, real = features
    theirs = prdc.compute_prdc(real, synthetic, nearest_k=5)
    assert vars(neighbourhoods(real, synthetic, k=5)) == pytest.approx(theirs, rel=1e-6)


def test_neighbourhoods_agree_with_torch_fidelity(features):
    prc = pytest.importorskip("torch_fidelity.metric_prc", exc_type=(ImportError, RuntimeError))
    synthetic, real = features
    theirs = prc.prc_features_to_metric(
        torch.from_numpy(synthetic), torch.from_numpy(real), prc_neighborhood=3, prc_batch_size=10, save_cpu_ram=True,
        verbose=False,
    )  # fmt: skip
    ours = neighbourhoods(real, synthetic, k=3)
    assert (ours.precision, ours.recall) == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-6)


class Rows(torch.nn.Module):
    """Passes feature vectors through; the trial image of torchmetrics becomes zeros."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.ndim == 2 else torch.zeros(len(x), self.num_features)


def test_distances_agree_with_torchmetrics(features):
    fid = pytest.importorskip("torchmetrics.image.fid", exc_type=(ImportError, RuntimeError))
    kid = pytest.importorskip("torchmetrics.image.kid", exc_type=(ImportError, RuntimeError))
    synthetic, real = (torch.from_numpy(x) for x in features)
    metric = fid.FrechetInceptionDistance(feature=Rows(12), normalize=True).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(synthetic, real=False)
    assert frechet_distance(*features) == pytest.approx(float(metric.compute()), rel=1e-6)
    theirs = float(kid.poly_mmd(real, synthetic[: len(real)]))  # knows equal sizes only
    assert kernel_distance(real.numpy(), synthetic[: len(real)].numpy()) == pytest.approx(theirs, rel=1e-6)


def test_inception_score_has_its_closed_forms():
    assert inception_score(np.eye(10)) == pytest.approx(10)
    assert inception_score(np.full((20, 10), 0.1)) == pytest.approx(1)
    assert inception_score(np.eye(10)[[0, 1] * 5]) == pytest.approx(2)
    assert inception_score(0.9 * np.eye(10) + 0.01) == pytest.approx(6.06356, abs=1e-5)


def test_the_inception_score_of_a_set_sorted_by_user_is_that_of_all_its_users():
    assert inception_score(np.repeat(np.eye(12), 100, axis=0)) == pytest.approx(12, rel=0.05)


@pytest.mark.parametrize("count", [40, 1200])
def test_inception_score_agrees_with_torch_fidelity(count):
    isc = pytest.importorskip("torch_fidelity.metric_isc", exc_type=(ImportError, RuntimeError))
    logits = torch.from_numpy(np.random.default_rng(4).normal(size=(count, 7)))
    theirs = isc.isc_features_to_metric(logits, splits=10 if count >= 1000 else 1)
    ours = inception_score(torch.softmax(logits, 1).numpy())
    assert ours == pytest.approx(theirs["inception_score_mean"], rel=1e-6)


def test_many_distances_from_one_kernel_are_those_of_each_pair():
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40, 6))
    kernel, sides = polynomial_kernel(features, features), np.arange(40) // 10 == np.arange(4)[:, None]
    matrix = cross_distances(kernel, sides[:2], sides[2:])
    for i in range(2):
        for j in range(2):
            assert matrix[i, j] == pytest.approx(kernel_distance(features[sides[i]], features[sides[2 + j]]))
    np.testing.assert_allclose(paired_distances(kernel, sides[:2], sides[2:]), np.diag(matrix))


def test_halves_take_half_of_each_set_and_at_least_two():
    members = np.zeros((3, 30), bool)
    members[0, :10], members[1, 10:13], members[2] = True, True, True
    half = half_of_each(members, np.random.default_rng(6))
    assert half.sum(axis=1).tolist() == [5, 2, 15]
    assert not (half & ~members).any()


def test_interval_of_the_kernel_distance_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(7)
    truth = kernel_distance(rng.normal(size=(3000, 4)), rng.normal(0.4, 1, size=(3000, 4)))
    tests = [kernel_test(rng.normal(size=(50, 4)), rng.normal(0.4, 1, size=(50, 4)), rng, 60) for _ in range(60)]
    assert np.mean([t.ci_low <= truth <= t.ci_high for t in tests]) > 0.85


def test_frechet_distance_of_equal_distributions_extrapolates_to_zero():
    rng = np.random.default_rng(8)
    found = [frechet_distance_infinite(*rng.normal(size=(2, 400, 8)), rng) for _ in range(6)]
    biased = 8 * 13 / (2 * 400)
    assert abs(np.mean(found)) < 0.3 * biased


def test_extrapolation_needs_five_images_for_each_feature():
    rng = np.random.default_rng(9)
    assert frechet_distance_infinite(*rng.normal(size=(2, 79, 8)), rng) is None
    assert frechet_distance_infinite(*rng.normal(size=(2, 80, 8)), rng) is not None


def test_columns_of_different_units_are_scaled_one_by_one_and_gaps_become_the_median():
    reference = np.column_stack([np.arange(5.0), 1000 * np.arange(5.0)])
    (scaled,) = standardise_columns(reference, np.array([[4.0, np.nan], [2.0, 4000.0]]))
    np.testing.assert_allclose(scaled, [[1, 0], [0, 1]])
