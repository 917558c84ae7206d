"""Objectives: marginals, targets and weights, checked against their definitions for everything that combines."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mdgen.config import DiffusionConfig, load_recipe
from mdgen.diffusion.objective import LEAST_WEIGHT, TIMESTEPS, Objective, noise_process, preconditioned
from mdgen.diffusion.samplers import build_sampler, set_steps, step
from mdgen.errors import MdgenError

CONTINUOUS = [{"objective": "flow"}, {"objective": "edm", "time_mean": -0.5, "time_std": 1.2}]
DISCRETE = [
    {"objective": objective, "schedule": schedule, "zero_terminal_snr": zero}
    for objective in ("epsilon", "sample", "v_prediction")
    for schedule in ("linear", "scaled_linear", "cosine", "sigmoid")
    for zero in (False, True)
    if not (zero and objective == "epsilon")
]


def named(fields: dict) -> str:
    return "-".join(f"{value}" for value in fields.values())


def grid(config: DiffusionConfig) -> Tensor:
    """Timesteps over the whole range, in rising order, without the very ends where they are no noise levels."""
    return torch.arange(TIMESTEPS) if config.has_schedule else torch.linspace(1, TIMESTEPS - 1, TIMESTEPS)


@pytest.mark.parametrize("fields", [*CONTINUOUS, *DISCRETE], ids=named)
def test_targets_lead_back_to_the_data_and_noisy_samples_have_their_marginal(fields: dict) -> None:
    objective = Objective(DiffusionConfig(**fields))
    generator = torch.Generator().manual_seed(0)
    data, noise = (torch.randn(400, 1, 16, 16, generator=generator, dtype=torch.float64) for _ in range(2))
    pair = objective.pair(data, noise, generator)
    alpha, sigma = objective.scales(pair.timestep)
    safe = alpha > 1e-3 if fields["objective"] == "epsilon" else alpha > -1  # there epsilon says nothing of the data
    again = objective.clean(pair.noisy, pair.target, pair.timestep)
    torch.testing.assert_close(again[safe], data[safe], atol=1e-6, rtol=0)
    expected = (alpha**2 + sigma**2).sqrt()
    measured = pair.noisy.square().mean((1, 2, 3)).sqrt()
    assert ((measured / expected - 1).abs() < 0.25).all()
    assert float((measured / expected).mean()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("fields", [*CONTINUOUS, *DISCRETE], ids=named)
def test_the_signal_to_noise_ratio_falls_with_time_and_reaches_zero_where_promised(fields: dict) -> None:
    config = DiffusionConfig(**fields)
    alpha, sigma = Objective(config).scales(grid(config))
    ratio = alpha / sigma
    assert (ratio.diff() < 0).all()
    if config.has_schedule:
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))
        assert (float(alpha[-1]) == 0) == config.zero_terminal_snr


@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
def test_min_snr_weighs_the_error_of_the_data_alike_whatever_is_predicted(schedule: str) -> None:
    config = {"schedule": schedule, "weighting": "min_snr"}
    timestep = torch.arange(0, 1000, 7)
    weights = {}
    for name in ("epsilon", "sample", "v_prediction"):
        objective = Objective(DiffusionConfig(objective=name, **config))
        alpha, sigma = objective.scales(timestep)
        noisy, target = torch.zeros(len(timestep), 1, 1, 1).double(), torch.ones(len(timestep), 1, 1, 1).double()
        slope = (objective.clean(noisy, target, timestep) - objective.clean(noisy, 0 * target, timestep)).flatten()
        weights[name] = objective.weight(timestep).double() / slope**2  # of the squared error of the data
    snr = (alpha / sigma) ** 2
    learned = snr > 0.2  # below, the floor holds
    for weight in weights.values():
        torch.testing.assert_close(weight[learned], snr.clamp(max=5)[learned], rtol=1e-4, atol=1e-6)


def test_min_snr_is_its_published_closed_form_for_each_target_and_never_zero_at_pure_noise() -> None:
    timestep = torch.arange(1000)
    alpha, sigma = Objective(DiffusionConfig(objective="v_prediction")).scales(timestep)
    snr = (alpha / sigma) ** 2
    capped = snr.clamp(max=5)
    forms = {"epsilon": capped / snr, "sample": capped, "v_prediction": capped / (snr + 1)}
    for name, form in forms.items():
        weight = Objective(DiffusionConfig(objective=name, weighting="min_snr")).weight(timestep).double()  # type: ignore[arg-type]
        torch.testing.assert_close(weight, torch.where(snr < 1, form.clamp(min=LEAST_WEIGHT), form), rtol=1e-4, atol=0)
    terminal = DiffusionConfig(objective="v_prediction", weighting="min_snr", zero_terminal_snr=True)
    assert float(Objective(terminal).weight(torch.tensor([999]))) == pytest.approx(LEAST_WEIGHT)
    time = torch.linspace(10, 500, 50)
    flow = Objective(DiffusionConfig(weighting="min_snr")).weight(time).double()
    t = time.double() / 1000
    torch.testing.assert_close(flow, (((1 - t) / t) ** 2).clamp(max=5) * t**2, rtol=1e-4, atol=0)


def test_edm_is_v_prediction_with_its_sign_turned() -> None:
    data, noise = torch.randn(8, 2, 4, 4), torch.randn(8, 2, 4, 4)
    objective = Objective(DiffusionConfig(objective="edm"))
    pair = objective.pair(data, noise, torch.Generator().manual_seed(0))
    alpha, sigma = (scale.view(-1, 1, 1, 1).float() for scale in objective.scales(pair.timestep))
    torch.testing.assert_close(pair.target, -(alpha * noise - sigma * data))
    level = (pair.timestep / (1000 - pair.timestep)).view(-1, 1, 1, 1)  # sigma of Karras et al.
    torch.testing.assert_close(pair.noisy, (data + level * noise) / (1 + level**2).sqrt(), atol=1e-4, rtol=1e-4)


def test_logit_normal_times_of_edm_are_log_normal_noise_levels() -> None:
    objective = Objective(DiffusionConfig(objective="edm", time_mean=-0.5, time_std=1.2))
    times = objective.times(20000, torch.Generator().manual_seed(0))
    logarithm = (times / (1000 - times)).log()
    assert float(logarithm.mean()) == pytest.approx(-0.5, abs=0.01)
    assert float(logarithm.std()) == pytest.approx(1.2, abs=0.01)


def test_times_cover_the_whole_schedule_evenly_in_every_batch() -> None:
    objective = Objective(DiffusionConfig(objective="epsilon"))
    times = objective.times(10, torch.Generator().manual_seed(0))
    assert sorted((times / 100).int().tolist()) == list(range(10))


@pytest.mark.parametrize("sampler", ["dpm++", "heun"])
def test_a_perfect_edm_network_is_sampled_along_straight_paths(sampler: str) -> None:
    """Of data N(0.3, 0.5^2): the network's exact answer is known, and so are the mean and deviation to arrive at."""
    mean, std = 0.3, 0.5

    class Exact:
        def __call__(self, sample: Tensor, timestep: Tensor, class_labels: Tensor):
            alpha, sigma = (s.view(-1, 1, 1, 1).float() for s in objective.scales(timestep))
            gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
            clean = mean + gain * (sample - alpha * mean)
            self.sample = sigma * clean - alpha * (sample - alpha * clean) / sigma
            return self

    objective = Objective(DiffusionConfig(objective="edm"))
    scheduler = build_sampler(noise_process(DiffusionConfig(objective="edm")), sampler)
    set_steps(scheduler, 60)
    x = start = torch.linspace(-2, 2, 5).view(5, 1, 1, 1)
    for t in scheduler.timesteps:
        x = step(scheduler, preconditioned(Exact(), x, t.float().expand(5), torch.zeros(5, 1)), t, x)
    torch.testing.assert_close(x, mean + std * start, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"objective": "epsilon", "zero_terminal_snr": True}, "says nothing of the data"),
        ({"objective": "flow", "schedule": "linear"}, "has no schedule"),
        ({"objective": "edm", "zero_terminal_snr": True}, "reaches pure noise anyway"),
        ({"objective": "edm", "times": "uniform"}, "no upper end"),
    ],
)
def test_what_does_not_combine_is_refused_with_the_reason(fields: dict, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        DiffusionConfig(**fields)
    with pytest.raises(MdgenError, match=reason):
        load_recipe(None, [f"diffusion.{key}={value}" for key, value in fields.items()])
