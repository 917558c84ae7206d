"""What the denoiser is trained to predict. Times are diffusers' timesteps: from 0 (data) to 1000 (noise)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from mdgen.config import DiffusionConfig

TIMESTEPS = 1000


@dataclass(frozen=True)
class TrainingPair:
    """A noisy sample [N, C, H, W], its timestep [N] and what the denoiser should answer."""

    noisy: Tensor
    timestep: Tensor
    target: Tensor


class FlowMatching:
    """Straight paths x_t = (1 - t) x + t e with velocity e - x (Lipman et al. 2023; Liu et al. 2023).

    Times are logit-normal (Esser et al. 2024, eq. 19), drawn stratified over the batch for a steadier gradient.
    """

    def __init__(self, config: DiffusionConfig) -> None:
        self.config = config

    def pair(self, latents: Tensor, noise: Tensor, generator: torch.Generator) -> TrainingPair:
        count = len(latents)
        strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        normal = self.config.time_mean + self.config.time_std * torch.special.ndtri(strata.clamp(1e-5, 1 - 1e-5))
        time = torch.sigmoid(normal).to(latents)
        t = time.view(-1, 1, 1, 1)
        return TrainingPair((1 - t) * latents + t * noise, time * TIMESTEPS, noise - latents)


class VPrediction:
    """v-prediction (Salimans & Ho 2022) under a cosine schedule (Nichol & Dhariwal 2021), by diffusers' scheduler."""

    def __init__(self, config: DiffusionConfig) -> None:
        self.scheduler = DDPMScheduler(TIMESTEPS, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")

    def pair(self, latents: Tensor, noise: Tensor, generator: torch.Generator) -> TrainingPair:
        timestep = torch.randint(TIMESTEPS, (len(latents),), generator=generator).to(latents.device)
        noisy = self.scheduler.add_noise(latents, noise, timestep)
        return TrainingPair(noisy, timestep.to(latents), self.scheduler.get_velocity(latents, noise, timestep))


#: What samplers must know of an objective: fields of diffusers' schedulers.
NOISE_PROCESSES: dict[str, dict[str, Any]] = {
    "flow": {"num_train_timesteps": TIMESTEPS, "prediction_type": "flow_prediction"},
    "v_prediction": {
        "num_train_timesteps": TIMESTEPS,
        "prediction_type": "v_prediction",
        "beta_schedule": "squaredcos_cap_v2",
        "rescale_betas_zero_snr": False,
    },
}


def build_objective(config: DiffusionConfig) -> FlowMatching | VPrediction:
    """The objective of a recipe."""
    return FlowMatching(config) if config.objective == "flow" else VPrediction(config)
