"""Averages of weights: closed forms, and any length reconstructed from two profiles."""

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.training.averages import Averages, HalfLife, PowerFunction, best_length, reconstruct, weights_over_steps
from mdgen.training.checkpoint import save_checkpoint


def walk(steps: int, seed: int = 0) -> torch.Tensor:
    """float32 [steps, 5]: weights that wander as under a noisy optimizer."""
    return torch.randn(steps, 5, generator=torch.Generator().manual_seed(seed)).cumsum(0)


@pytest.mark.parametrize("profile", [HalfLife(20), PowerFunction(0.05), PowerFunction(0.15)])
def test_an_average_is_the_sum_of_all_weights_by_its_profile(profile) -> None:
    path = walk(200)
    parameter = torch.zeros(5)
    averages = Averages([parameter], [profile])
    for position in path:
        parameter.copy_(position)
        averages.update()
    weights = weights_over_steps(profile, 200, 250)
    assert weights.sum() == pytest.approx(1)
    assert not weights[200:].any()
    expected = torch.from_numpy(weights[:200, None] * path.double().numpy()).sum(0)
    torch.testing.assert_close(averages.shadows[0][0].double(), expected, rtol=1e-4, atol=1e-4)


def test_a_half_life_halves_and_a_power_function_has_its_relative_deviation() -> None:
    weights = weights_over_steps(HalfLife(30), 1000, 1000)
    assert weights[999 - 30] / weights[999] == pytest.approx(0.5, rel=1e-6)
    for width in (0.03, 0.1, 0.25):
        weights = weights_over_steps(PowerFunction(width), 20000, 20000)
        time = np.arange(1, 20001) / 20000
        deviation = np.sqrt((weights * time**2).sum() - (weights * time).sum() ** 2)
        assert deviation == pytest.approx(width, rel=0.01)


def tracked(tmp_path, lengths: list[float], steps: int = 800) -> dict[float, torch.Tensor]:
    """Averages tracked directly, while snapshots of two other profiles are kept."""
    path, parameter = walk(steps), torch.zeros(5)
    kept = Averages([parameter], [PowerFunction(0.05), PowerFunction(0.1)])
    direct = Averages([parameter], [PowerFunction(length) for length in lengths])
    for step, position in enumerate(path, start=1):
        parameter.copy_(position)
        kept.update()
        direct.update()
        if step % (steps // 8) == 0:
            save_checkpoint(tmp_path, step, kept.snapshot())
    return {length: shadow[0] for length, shadow in zip(lengths, direct.shadows, strict=True)}


def test_an_average_of_any_length_is_reconstructed_from_snapshots_of_two(tmp_path) -> None:
    spread = walk(800).std(0)
    for length, expected in tracked(tmp_path, [0.04, 0.07, 0.12, 0.2]).items():
        (made,) = reconstruct(tmp_path, PowerFunction(length))
        assert ((made - expected).abs() / spread).max() < 0.05, length
    last = walk(800)[-1]
    assert ((last - expected).abs() / spread).max() > 0.1  # the last weights alone would not do


def test_the_best_length_is_the_one_of_the_lowest_score_and_stays_in_place(tmp_path) -> None:
    expected = tracked(tmp_path, [0.12])[0.12]
    parameter = torch.zeros(5)
    averages = Averages([parameter], [])
    scores = best_length(averages, tmp_path, [0.05, 0.12, 0.2], lambda: float((parameter - expected).square().sum()))
    assert min(scores, key=lambda name: scores[name]) == "0.12"
    torch.testing.assert_close(parameter, reconstruct(tmp_path, PowerFunction(0.12))[0])


def test_applied_averages_leave_the_weights_as_they_were() -> None:
    parameter = torch.ones(3)
    averages = Averages([parameter], [HalfLife(2)])
    averages.update()
    parameter.fill_(5)
    with averages.applied():
        assert torch.equal(parameter, torch.ones(3))
    assert torch.equal(parameter, torch.full((3,), 5.0))


def test_without_snapshots_the_error_says_how_to_get_them(tmp_path) -> None:
    with pytest.raises(MdgenError, match="ema_profiles"):
        reconstruct(tmp_path, PowerFunction(0.1))
