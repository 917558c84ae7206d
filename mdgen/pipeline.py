"""The sampler as a diffusers pipeline: user ids in, spectrograms out; saved and loaded with everything it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from mdgen.config import Recipe
from mdgen.device import autocast
from mdgen.diffusion.guidance import guided_prediction
from mdgen.diffusion.objective import TIMESTEPS
from mdgen.diffusion.samplers import build_sampler
from mdgen.errors import MdgenError
from mdgen.models import denoiser as _denoiser  # noqa: F401  diffusers loads parts only from modules imported already
from mdgen.models.autoencoder import denormalise_latents
from mdgen.models.conditioning import Between, UserConditioning


class MicroDopplerPipeline(DiffusionPipeline):
    """Autoencoder, denoiser, conditioning and scheduler; `users` names the user ids, in order.

    `MicroDopplerPipeline.from_pretrained(run)` gives back what was trained, and samples as it did before it was saved.
    """

    def __init__(
        self, autoencoder: nn.Module, denoiser: nn.Module, conditioning: UserConditioning, scheduler: Any,
        users: list[str] | None = None, objective: str = "flow", latent_shape: list[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_modules(
            autoencoder=autoencoder, denoiser=denoiser, conditioning=conditioning, scheduler=scheduler
        )
        self.precision = "fp32"
        self.register_to_config(users=users, objective=objective, latent_shape=latent_shape)

    @classmethod
    def assemble(
        cls,
        autoencoder: nn.Module,
        denoiser: nn.Module,
        conditioning: UserConditioning,
        recipe: Recipe,
        users: list[str],
    ) -> MicroDopplerPipeline:
        """The pipeline of freshly trained parts."""
        size = denoiser.config.sample_size  # type: ignore[union-attr]
        return cls(
            autoencoder=autoencoder,
            denoiser=denoiser.eval(),
            conditioning=conditioning.eval(),
            scheduler=build_sampler(recipe.diffusion.objective, recipe.generate.sampler),
            users=users,
            objective=recipe.diffusion.objective,
            latent_shape=[denoiser.config.in_channels, *size],  # type: ignore[union-attr, list-item]
        )

    @classmethod
    def load(cls, run: Path) -> MicroDopplerPipeline:
        """The pipeline of a run folder; raises `MdgenError` where it is incomplete or its label map was changed."""
        if not (run / "model_index.json").exists():
            raise MdgenError(f"{run}: holds no trained model; run `mdgen train-vae` and `mdgen train-ldm` first")
        logging.disable_progress_bar()
        pipeline = cls.from_pretrained(str(run))
        users = json.loads((run / "users.json").read_text(encoding="utf-8"))
        if users != list(pipeline.config.users):
            raise MdgenError(f"{run}: users.json names other users than the model was trained for; restore it")
        return pipeline

    def use_sampler(self, name: str) -> None:
        """Sample by another method from now on."""
        self.register_modules(scheduler=build_sampler(self.config.objective, name))

    @torch.no_grad()
    def __call__(
        self,
        user_ids: list[int] | Tensor | Between,
        generators: list[torch.Generator],
        guidance_scale: float = 2.0,
        num_inference_steps: int = 25,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
    ) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] of the users with these ids.

        user_ids: [N], or int64 [N, 1 + labels] for a run with labels (see `UserConditioning`), or places between such.
        generators: one for each sample, so that a sample depends on its own seed and not on its batch.
        guidance_interval: noise levels (0 = data, 1 = noise) at which guidance acts (Kynkaanniemi et al. 2024).
        """
        self.conditioning.require_guidance(guidance_scale)
        if isinstance(user_ids, Between):
            users: Tensor | Between = Between(self._ids(user_ids.first), self._ids(user_ids.second), user_ids.share)
        else:
            users = self._ids(user_ids)
        latents = randn_tensor((len(generators), *self.config.latent_shape), generator=generators, device=self.device)
        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        latents = latents * self.scheduler.init_noise_sigma if hasattr(self.scheduler, "init_noise_sigma") else latents
        for timestep in self.scheduler.timesteps:
            level = float(timestep) / TIMESTEPS
            scale = guidance_scale if guidance_interval[0] <= level <= guidance_interval[1] else 1.0
            prediction = guided_prediction(self._predict, self.conditioning, latents, timestep, users, scale)
            latents = self._step(prediction, timestep, latents, generators)
        return self.decode(latents)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images in [-1, 1] of normalised latents."""
        images = self.autoencoder.decode(denormalise_latents(self.autoencoder, latents)).sample
        return images.float().clamp(-1, 1)

    def _ids(self, ids: list[int] | Tensor) -> Tensor:
        """int64 [N, 1 + labels] on the pipeline's device; a `ValueError` for an id that is not there."""
        complete = self.conditioning.complete(torch.as_tensor(ids, device=self.device))
        counts = self.conditioning.null_ids.to(complete.device)
        if bool((complete < 0).any() or (complete > counts).any() or (complete[:, 0] == counts[0]).any()):
            raise ValueError(f"user ids must lie in 0..{counts[0] - 1}, ids of labels in 0..their number (null)")
        return complete

    def _predict(self, sample: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        timesteps = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device).expand(len(sample))
        with autocast(self.precision, sample.device):
            return self.denoiser(sample, timesteps, class_labels=condition).sample.float()

    def _step(self, prediction: Tensor, timestep: Tensor, latents: Tensor, generators: list[torch.Generator]) -> Tensor:
        stochastic = {"generator": generators} if "DDPM" in type(self.scheduler).__name__ else {}
        return self.scheduler.step(prediction, timestep, latents, return_dict=False, **stochastic)[0]
