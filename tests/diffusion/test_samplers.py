"""Every sampler on a Gaussian whose exact denoiser is known: it must arrive at its mean and covariance, at its order.

On N(m, S) the denoiser is affine and deterministic samplers are affine maps of the noise, so two points for each
direction give the mean and covariance of what is sampled exactly, without drawing anything.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mdgen.config import DiffusionConfig
from mdgen.diffusion.objective import noise_process
from mdgen.diffusion.samplers import METHODS, build_sampler, evaluations, noise_level, set_steps, step
from mdgen.errors import MdgenError

MEAN = torch.tensor([0.7, -0.3, 1.5], dtype=torch.float64)
#: Deviations along the axes in which the covariance is diagonal.
STD = torch.tensor([0.4, 0.7, 1.6], dtype=torch.float64)
PROCESSES: dict[str, dict[str, Any]] = {
    "flow": noise_process(DiffusionConfig()),
    "v_prediction": noise_process(DiffusionConfig(objective="v_prediction")),
    "epsilon": noise_process(DiffusionConfig(objective="epsilon", schedule="linear")),
    "sample": noise_process(DiffusionConfig(objective="sample")),
}


def pairs(*, stochastic: bool) -> list[tuple[str, str]]:
    return [
        (process, name)
        for process in PROCESSES
        for name, method in METHODS.items()
        if method.stochastic == stochastic and (method.betas is not None or process == "flow")
    ]


def predict(kind: str, x: Tensor, clean: Tensor, alpha: float, sigma: float) -> Tensor:
    """What a network of this kind says of x when it believes that the data are `clean`."""
    noise = (x - alpha * clean) / sigma
    v_prediction = alpha * noise - sigma * clean
    return {"flow_prediction": noise - clean, "v_prediction": v_prediction, "epsilon": noise, "sample": clean}[kind]


def sampled(process: str, name: str, steps: int, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard noise [N, 3] to data, by the exact denoiser, or for consistency samplers the exact consistency function.

    It starts from the exact marginal of the first level, which need not quite be standard noise.
    """
    scheduler = build_sampler(PROCESSES[process], name)
    set_steps(scheduler, steps)
    mean, std = MEAN.to(z)[:, None, None], STD.to(z)[:, None, None]
    alpha, sigma = noise_level(scheduler, scheduler.timesteps[0])
    x = alpha * mean + (alpha**2 * std**2 + sigma**2).sqrt() * z[..., None, None]
    for t in scheduler.timesteps:
        alpha, sigma = noise_level(scheduler, t)
        deviation = (alpha**2 * std**2 + sigma**2).sqrt()
        gain = std / deviation if METHODS[name].consistency else alpha * std**2 / deviation**2
        clean = mean + gain * (x - alpha * mean)
        x = step(scheduler, predict(PROCESSES[process]["prediction_type"], x, clean, alpha, sigma), t, x, generator)
    return x[..., 0, 0]


def error(mean: Tensor, std: Tensor) -> float:
    """Deviation of mean and standard deviation from the data's, in units of the latter."""
    return float(torch.cat([(mean - MEAN) / STD, std / STD - 1]).norm())


def error_of_map(process: str, name: str, steps: int) -> float:
    middle, right = sampled(process, name, steps, torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, 3))
    return error(middle, right - middle)


@pytest.mark.parametrize(("process", "name"), pairs(stochastic=False))
def test_mean_and_covariance_converge_at_the_order_the_sampler_claims(process: str, name: str) -> None:
    few = 80 if process == "flow" else 10  # schedules of betas know a thousand times: nothing falls for ever
    coarse, fine = (error_of_map(process, name, steps) for steps in (few, 8 * few))
    assert fine < (0.06 if METHODS[name].order == 1 else 0.004)
    assert math.log(coarse / fine, 8) > METHODS[name].order - 0.3, (coarse, fine)


@pytest.mark.parametrize(("process", "name"), pairs(stochastic=True))
def test_samplers_that_add_noise_converge_too(process: str, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(40_000, 3, generator=generator)

    def deviation(steps: int) -> float:
        x = sampled(process, name, steps, noise, generator).double()
        return error(x.mean(dim=0), x.std(dim=0))

    if METHODS[name].consistency:
        assert deviation(1) < 0.03
        assert deviation(4) < 0.03
    else:
        coarse, fine = deviation(10), deviation(80)
        assert fine < 0.15
        assert math.log(coarse / fine, 8) > METHODS[name].order - 0.3, (coarse, fine)


def test_steps_that_do_not_divide_a_thousand_lose_nothing() -> None:
    for process, name in pairs(stochastic=False):
        assert error_of_map(process, name, 12) < 1.1 * error_of_map(process, name, 10), (process, name)


def test_ddim_on_straight_paths_is_euler() -> None:
    noise = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sampled("flow", "ddim", 7, noise), sampled("flow", "euler", 7, noise))


def test_evaluations_are_one_a_step_and_two_for_heun() -> None:
    for process, name in [*pairs(stochastic=False), *pairs(stochastic=True)]:
        assert evaluations(build_sampler(PROCESSES[process], name), 10) == (19 if name == "heun" else 10), name


@pytest.mark.parametrize("process", list(PROCESSES))
def test_a_sampler_survives_saving_unchanged(process: str, tmp_path) -> None:
    noise = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for name in ("dpm++", "unipc", "ddim"):
        scheduler = build_sampler(PROCESSES[process], name)
        scheduler.save_pretrained(tmp_path / name)
        again = type(scheduler).from_pretrained(tmp_path / name)
        for each in (scheduler, again):
            set_steps(each, 7)
        torch.testing.assert_close(again.timesteps, scheduler.timesteps)
        torch.testing.assert_close(again.sigmas, scheduler.sigmas)
        torch.testing.assert_close(
            step(again, noise, again.timesteps[0], noise), step(scheduler, noise, scheduler.timesteps[0], noise)
        )


def test_a_sampler_that_does_not_fit_is_refused_with_those_that_do() -> None:
    with pytest.raises(MdgenError, match="ddim, ddpm, dpm"):
        build_sampler(PROCESSES["v_prediction"], "euler")
    with pytest.raises(MdgenError, match="unipc"):
        build_sampler(PROCESSES["flow"], "dopri")
