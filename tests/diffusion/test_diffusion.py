"""Objectives, samplers, guidance: what they promise in formulas, checked in numbers."""

import pytest
import torch

from mdgen.config import DiffusionConfig
from mdgen.diffusion.guidance import guided_prediction
from mdgen.diffusion.objective import build_objective
from mdgen.diffusion.samplers import build_sampler
from mdgen.errors import MdgenError
from mdgen.models.conditioning import UserConditioning

PAIRS = [("flow", "euler"), ("flow", "heun"), ("flow", "dpm++"), ("v_prediction", "dpm++"), ("v_prediction", "ddim")]


@pytest.mark.parametrize(("objective", "sampler"), [*PAIRS, ("v_prediction", "ddpm")])
def test_a_perfect_denoiser_samples_the_one_picture_it_knows(objective: str, sampler: str) -> None:
    """For data that are a single point the exact prediction is known at every (noisy, timestep)."""
    point = torch.full((1, 1, 4, 4), 0.7)
    scheduler = build_sampler(objective, sampler)
    scheduler.set_timesteps(30)
    alphas = build_objective(DiffusionConfig(objective="v_prediction")).scheduler.alphas_cumprod  # type: ignore[union-attr]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(point.shape, generator=generator) * getattr(scheduler, "init_noise_sigma", 1.0)
    for t in scheduler.timesteps:
        if objective == "flow":
            sigma = t / 1000
            prediction = (x - point) / max(sigma, 1e-3)
        else:
            alpha, sigma = alphas[int(t)].sqrt(), (1 - alphas[int(t)]).sqrt()
            noise = (x - alpha * point) / sigma
            prediction = alpha * noise - sigma * point
        extra = {"generator": generator} if sampler == "ddpm" else {}
        x = scheduler.step(prediction, t, x, return_dict=False, **extra)[0]
    torch.testing.assert_close(x, point, atol=0.02, rtol=0)


def test_a_flow_target_leads_from_the_noisy_sample_back_to_the_data() -> None:
    latents, noise = torch.randn(64, 2, 4, 4), torch.randn(64, 2, 4, 4)
    pair = build_objective(DiffusionConfig()).pair(latents, noise, torch.Generator().manual_seed(0))
    t = (pair.timestep / 1000).view(-1, 1, 1, 1)
    torch.testing.assert_close(pair.noisy - t * pair.target, latents)
    assert 0 < pair.timestep.min() < 250
    assert 750 < pair.timestep.max() < 1000


def test_a_sampler_that_does_not_fit_the_objective_is_refused_with_those_that_do() -> None:
    with pytest.raises(MdgenError, match="ddim, ddpm, dpm"):
        build_sampler("v_prediction", "heun")


def test_a_sampler_survives_saving_unchanged(tmp_path) -> None:
    for objective, sampler in PAIRS:
        scheduler = build_sampler(objective, sampler)
        scheduler.save_pretrained(tmp_path / sampler)
        again = type(scheduler).from_pretrained(tmp_path / sampler)
        for each in (scheduler, again):
            each.set_timesteps(7)
        torch.testing.assert_close(again.timesteps, scheduler.timesteps)
        torch.testing.assert_close(again.sigmas, scheduler.sigmas) if hasattr(again, "sigmas") else None


def test_guidance_moves_every_channel_for_every_user_and_none_at_scale_one() -> None:
    users = torch.arange(4)
    conditioning = UserConditioning(4, 6, condition_dropout=0.1)
    torch.nn.init.normal_(conditioning.embedding.weight)
    mix = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))

    def predict(sample: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return sample + (condition @ mix)[:, :, None, None]

    sample = torch.randn(4, 3, 2, 2)
    t = torch.tensor(500.0)
    plain = predict(sample, t, conditioning(users))
    torch.testing.assert_close(guided_prediction(predict, conditioning, sample, t, users, 1.0), plain)
    moved = guided_prediction(predict, conditioning, sample, t, users, 2.0) - plain
    assert moved.abs().amax(dim=(2, 3)).min() > 1e-4  # [user, channel]
    twice = guided_prediction(predict, conditioning, sample, t, users, 3.0) - plain
    torch.testing.assert_close(twice, 2 * moved)
