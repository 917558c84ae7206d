"""The baseline's sampler as a diffusers pipeline: user ids in, spectrograms out, code after code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from mdgen.config import GenerateConfig
from mdgen.device import autocast
from mdgen.errors import MdgenError
from mdgen.models.conditioning import UserConditioning
from mdgen.models.prior import Past, TokenPrior
from mdgen.models.vq_autoencoder import VQAutoencoder
from mdgen.pipeline import MicroDopplerPipeline, class_name, loaded


class TokenPipeline(DiffusionPipeline):
    """Vector-quantised autoencoder, autoregressive prior of its codes, conditioning; called like the diffusion one."""

    def __init__(
        self, autoencoder: VQAutoencoder, prior: TokenPrior, conditioning: UserConditioning,
        users: list[str] | None = None, temperature: float = 1.0, top_k: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_modules(autoencoder=autoencoder, prior=prior, conditioning=conditioning)
        self.precision = "fp32"
        self.register_to_config(users=users, temperature=temperature, top_k=top_k)

    @classmethod
    def load(cls, run: Path) -> TokenPipeline:
        """The pipeline of a run folder; raises `MdgenError` where it is incomplete or its label map was changed."""
        return loaded(cls, run)

    def use_sampler(self, name: str) -> None:
        """There is one way to sample it: code after code."""

    def require_settings(self, guidance_scale: float, num_inference_steps: int) -> None:
        """Raise `MdgenError` for guidance that this model was not trained for."""
        self.conditioning.require_guidance(guidance_scale)

    def evaluations(self, num_inference_steps: int) -> int:
        """Of the prior: one a code, whatever the steps."""
        return self.prior.tokens

    @torch.no_grad()
    def __call__(
        self,
        user_ids: list[int] | Tensor,
        generators: list[torch.Generator],
        guidance_scale: float = 1.0,
        num_inference_steps: int = 0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0,
    ) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] of the users with these ids.

        guidance_scale: of log-probabilities, as of diffusion's predictions. The other settings are those of diffusion,
        which this model has no use for.
        """
        codes = self.sample_codes(torch.as_tensor(user_ids, device=self.device), generators, guidance_scale)
        latents = self.autoencoder.codebook.look_up(codes)
        return self.autoencoder.decode_quantised(latents).sample.float().clamp(-1, 1)

    @torch.no_grad()
    def sample_codes(self, ids: Tensor, generators: list[torch.Generator], guidance_scale: float = 1.0) -> Tensor:
        """int64 [N, h, w]: codes drawn one after the other, each by a number that its sample's generator drew."""
        self.conditioning.require_guidance(guidance_scale)
        ids = self.conditioning.complete(ids)
        draws = torch.stack([torch.rand(self.prior.tokens, generator=g) for g in generators]).to(self.device)
        guided = guidance_scale != 1
        condition = self.conditioning(torch.cat([ids, self.conditioning.nobody(ids)]) if guided else ids)
        code, past, drawn = None, list[Past](), []
        for position in range(self.prior.tokens):
            with autocast(self.precision, self.device):
                logits, past = self.prior.following(code, condition, past)
            logits = logits.float()
            if guided:
                told, untold = logits.log_softmax(-1).chunk(2)
                logits = untold + guidance_scale * (told - untold)
            drawn.append(self._choose(logits, draws[:, position]))
            code = drawn[-1].repeat(2) if guided else drawn[-1]
        return torch.stack(drawn, dim=1).view(len(ids), *self.prior.config.sample_size)

    def _choose(self, logits: Tensor, draws: Tensor) -> Tensor:
        """The code [N] at which the cumulated probability passes a draw in [0, 1)."""
        if self.config.top_k:
            least = logits.topk(min(self.config.top_k, logits.shape[1])).values[:, -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        cumulated = (logits / self.config.temperature).double().softmax(-1).cumsum(-1)
        chosen = torch.searchsorted(cumulated, (draws.double() * cumulated[:, -1])[:, None], right=True)[:, 0]
        return chosen.clamp(max=logits.shape[1] - 1)


def load_pipeline(run: Path) -> MicroDopplerPipeline | TokenPipeline:
    """The pipeline of a run folder, whichever kind of model it holds."""
    return TokenPipeline.load(run) if class_name(run) == TokenPipeline.__name__ else MicroDopplerPipeline.load(run)


def settings_in_effect(pipeline: MicroDopplerPipeline | TokenPipeline, settings: GenerateConfig) -> GenerateConfig:
    """What samples are really made with, as their table says it; raises `MdgenError` for what a baseline cannot do."""
    if isinstance(pipeline, MicroDopplerPipeline):
        return settings
    if settings.weak_run or settings.classifier_scale:
        raise MdgenError("the baseline has no guidance but --guidance-scale: unset weak_run and classifier_scale")
    return settings.model_copy(update={"sampler": "autoregressive", "steps": pipeline.prior.tokens})


def drawing_settings(pipeline: MicroDopplerPipeline | TokenPipeline) -> dict[str, Any]:
    """How a baseline draws its codes, where not simply by their probabilities."""
    config = pipeline.config
    plain = {"temperature": 1.0, "top_k": 0}
    return {name: config[name] for name, value in plain.items() if config.get(name, value) != value}
