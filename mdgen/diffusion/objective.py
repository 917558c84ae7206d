"""What the denoiser is trained to predict. Times are diffusers' timesteps: from 0 (data) to 1000 (noise).

A noisy sample is alpha x + sigma e, of data x and noise e, and every target is a mixture a x + b e of the two:

    target        a        b       schedule
    epsilon       0        1       betas, alpha^2 + sigma^2 = 1        Ho et al. 2020
    sample        1        0       betas
    v_prediction  -sigma   alpha   betas                               Salimans & Ho 2022
    flow          -1       1       alpha = 1 - t, sigma = t            Lipman et al. 2023, Liu et al. 2023
    edm           sigma    -alpha  flow's, divided by its length       Karras et al. 2022, for data of deviation 1

With normalised data, EDM's preconditioned network is v-prediction with its sign turned, at log-normal noise levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from mdgen.config import DiffusionConfig

TIMESTEPS = 1000
#: Least weight of noise levels above those of equal signal and noise: sampling starts there, so they must be learned.
LEAST_WEIGHT = 0.1

SCHEDULES: dict[str, dict[str, Any]] = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},  # Ho et al. 2020
    "scaled_linear": {"beta_schedule": "scaled_linear", "beta_start": 1.5e-3, "beta_end": 0.0195},  # Rombach 2022
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},  # Nichol & Dhariwal 2021
    # From -6 to 6 (Xu et al. 2022); as numbers, for only DDPM's scheduler has them by name.
    "sigmoid": {"trained_betas": DDPMScheduler(TIMESTEPS, 1e-4, 0.02, "sigmoid").betas.tolist()},
}


@dataclass(frozen=True)
class TrainingPair:
    """Noisy samples [N, C, H, W], timesteps [N], what the denoiser should answer, and the weight [N] of its error."""

    noisy: Tensor
    timestep: Tensor
    target: Tensor
    weight: Tensor


class Objective:
    """The objective of a recipe: noise levels, targets and weights."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.config = config
        if config.has_schedule:
            self._alphas_cumprod = DDPMScheduler(**noise_process(config)).alphas_cumprod.double()

    def pair(self, latents: Tensor, noise: Tensor, generator: torch.Generator) -> TrainingPair:
        """Training samples of latents and noise [N, C, H, W]; their times are drawn stratified over the batch."""
        return self.at(latents, noise, self.times(len(latents), generator).to(latents.device))

    def at(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> TrainingPair:
        """Training samples of latents and noise [N, C, H, W] at timesteps [N]."""
        alpha, sigma = (_wide(scale, latents) for scale in self.scales(timestep))
        a, b = self._mixture(alpha, sigma)
        return TrainingPair(
            alpha * latents + sigma * noise, timestep.to(latents), a * latents + b * noise, self.weight(timestep)
        )

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        """float64 [count] timesteps, in random order; logit-normal ones as in Esser et al. 2024, eq. 19."""
        strata = (torch.randperm(count, generator=generator) + _uniform(count, generator)) / count
        kind = self.config.times or ("uniform" if self.config.has_schedule else "logit_normal")
        if kind == "logit_normal":
            normal = self.config.time_mean + self.config.time_std * torch.special.ndtri(strata.clamp(1e-5, 1 - 1e-5))
            strata = torch.sigmoid(normal)
        times = strata * TIMESTEPS
        return times.floor().clamp(max=TIMESTEPS - 1) if self.config.has_schedule else times

    def scales(self, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """(alpha, sigma) at timesteps, float64 of their shape."""
        if self.config.has_schedule:
            squared = self._alphas_cumprod.to(timestep.device)[timestep.long()]
            return squared.sqrt(), (1 - squared).sqrt()
        sigma = timestep.double() / TIMESTEPS
        length = ((1 - sigma) ** 2 + sigma**2).sqrt() if self.config.objective == "edm" else torch.ones_like(sigma)
        return (1 - sigma) / length, sigma / length

    def clean(self, noisy: Tensor, prediction: Tensor, timestep: Tensor) -> Tensor:
        """The data [N, C, H, W] that a prediction at timesteps [N] stands for."""
        alpha, sigma = (_wide(scale, noisy) for scale in self.scales(timestep))
        a, b = self._mixture(alpha, sigma)
        return (b * noisy - sigma * prediction) / (alpha * b - sigma * a)

    def weight(self, timestep: Tensor) -> Tensor:
        """float32 [N]: 1, or min(SNR, gamma) for the error of the data it implies (Hang et al. 2023, eq. 6).

        An error d of the target is one of sigma d / (alpha b - sigma a) of the data: one closed form for all targets.
        """
        if self.config.weighting == "uniform":
            return torch.ones(timestep.shape, device=timestep.device)
        alpha, sigma = self.scales(timestep)
        a, b = self._mixture(alpha, sigma)
        weight = torch.minimum(alpha**2, self.config.min_snr_gamma * sigma**2) / (alpha * b - sigma * a) ** 2
        return torch.where(alpha < sigma, weight.clamp(min=LEAST_WEIGHT), weight).float()

    def _mixture(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        zero, one = torch.zeros_like(alpha), torch.ones_like(alpha)
        return {
            "epsilon": (zero, one),
            "sample": (one, zero),
            "v_prediction": (-sigma, alpha),
            "flow": (-one, one),
            "edm": (sigma, -alpha),
        }[self.config.objective]


def noise_process(config: DiffusionConfig) -> dict[str, Any]:
    """What samplers must know of an objective: fields of diffusers' schedulers.

    EDM models are sampled along flow's straight paths, see `preconditioned`.
    """
    if not config.has_schedule:
        return {"num_train_timesteps": TIMESTEPS, "prediction_type": "flow_prediction"}
    return {
        "num_train_timesteps": TIMESTEPS,
        "prediction_type": config.objective,
        "rescale_betas_zero_snr": config.zero_terminal_snr,
        **SCHEDULES[config.schedule or "cosine"],
    }


def preconditioned(denoiser: Callable[..., Any], noisy: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
    """Flow's prediction e - x [N, C, H, W], at a point of its path, by a denoiser trained with objective edm."""
    objective = Objective(DiffusionConfig(objective="edm"))
    alpha, sigma = (_wide(scale, noisy) for scale in objective.scales(timestep))
    scaled = (alpha + sigma) * noisy
    answer = denoiser(scaled, timestep, class_labels=condition).sample.float()
    return (sigma - alpha) * scaled - (sigma + alpha) * answer


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """[N] as [N, 1, 1, 1], of the type of `like`."""
    return values.to(like).view(-1, 1, 1, 1)
