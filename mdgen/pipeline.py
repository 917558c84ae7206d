"""The sampler as a diffusers pipeline: user ids in, spectrograms out; saved and loaded with everything it needs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor, nn

from mdgen.config import DiffusionConfig, Recipe
from mdgen.data.folders import read_json
from mdgen.device import autocast
from mdgen.diffusion.guidance import guided_prediction, steered
from mdgen.diffusion.objective import TIMESTEPS, noise_process, preconditioned
from mdgen.diffusion.samplers import build_sampler, evaluations, noise_level, set_steps, start_at, step
from mdgen.errors import MdgenError
from mdgen.models import denoiser as _denoiser  # noqa: F401  diffusers loads parts only from modules imported already
from mdgen.models.autoencoder import works_on_pixels
from mdgen.models.conditioning import Between, UserConditioning, conditions
from mdgen.models.latent_classifier import LatentClassifier
from mdgen.models.latents import denormalise_latents

Pipeline = TypeVar("Pipeline", bound=DiffusionPipeline)


class MicroDopplerPipeline(DiffusionPipeline):
    """Autoencoder, denoiser, conditioning and scheduler; `users` names the user ids, in order.

    objective, process: what the denoiser predicts, and the noise process that samplers step through.
    distilled: the sampler and steps that a distilled denoiser was made for; `None` for one that takes any.

    `MicroDopplerPipeline.from_pretrained(run)` gives back what was trained, and samples as it did before it was saved.
    """

    def __init__(
        self, autoencoder: nn.Module, denoiser: nn.Module, conditioning: UserConditioning, scheduler: Any,
        users: list[str] | None = None, objective: str = "flow", latent_shape: list[int] | None = None,
        distilled: dict[str, Any] | None = None, process: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_modules(
            autoencoder=autoencoder, denoiser=denoiser, conditioning=conditioning, scheduler=scheduler
        )
        self.precision = "fp32"
        self.classifier: LatentClassifier | None = None
        self.classifier_scale = 0.0
        self.weak: MicroDopplerPipeline | None = None
        self.register_to_config(
            users=users,
            objective=objective,
            latent_shape=latent_shape,
            distilled=distilled,
            process=process or noise_process(DiffusionConfig()),
        )

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
        process = noise_process(recipe.diffusion)
        size = denoiser.config.sample_size  # type: ignore[union-attr]
        return cls(
            autoencoder=autoencoder,
            denoiser=denoiser.eval(),
            conditioning=conditioning.eval(),
            scheduler=build_sampler(process, recipe.generate.sampler, clip=works_on_pixels(autoencoder)),
            users=users,
            objective=recipe.diffusion.objective,
            process=process,
            latent_shape=[denoiser.config.in_channels, *size],  # type: ignore[union-attr, list-item]
        )

    @classmethod
    def load(cls, run: Path) -> MicroDopplerPipeline:
        """The pipeline of a run folder; raises `MdgenError` where it is incomplete or its label map was changed."""
        return loaded(cls, run)

    def use_sampler(self, name: str) -> None:
        """Sample by another method from now on; raises `MdgenError` where this model cannot be."""
        if self.config.distilled is not None and name != self.config.distilled["sampler"]:
            raise MdgenError(f"this model was distilled for --sampler {self.config.distilled['sampler']}, not {name}")
        clip = works_on_pixels(self.autoencoder)
        self.register_modules(scheduler=build_sampler(self.config.process, name, clip=clip))

    def evaluations(self, num_inference_steps: int) -> int:
        """Of the denoiser, that so many steps take."""
        return evaluations(self.scheduler, num_inference_steps)

    @torch.no_grad()
    def __call__(
        self,
        user_ids: list[int] | Tensor | Between,
        generators: list[torch.Generator],
        guidance_scale: float = 2.0,
        num_inference_steps: int = 25,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0,
    ) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1] of the users with these ids.

        user_ids: [N], or int64 [N, 1 + labels] for a run with labels (see `UserConditioning`), or places between such.
        generators: one for each sample, so that a sample depends on its own seed and not on its batch.
        guidance_interval: noise levels (0 = data, 1 = noise) at which guidance acts (Kynkaanniemi et al. 2024).
        """
        states = self.trajectory(
            user_ids,
            generators,
            guidance_scale=guidance_scale,
            num_inference_steps=num_inference_steps,
            guidance_interval=guidance_interval,
            guidance_rescale=guidance_rescale,
        )
        return self.decode(deque(states, maxlen=1)[0])

    @torch.no_grad()
    def trajectory(
        self, user_ids: list[int] | Tensor | Between, generators: list[torch.Generator], *, guidance_scale: float = 2.0,
        num_inference_steps: int = 25, guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0, noise: Tensor | None = None, start: Tensor | None = None, strength: float = 1.0,
    ) -> Iterator[Tensor]:  # fmt: skip
        """Latents [N, c, h, w] before the first evaluation of the denoiser and after each.

        noise: in the place of what the generators would draw. start: latents to begin from instead of from pure noise,
        noised so that `strength` of the way is still to go (SDEdit; Meng et al. 2022).
        """
        self.require_settings(guidance_scale, num_inference_steps)
        users = self._placed(user_ids)
        if noise is None:
            noise = randn_tensor((len(generators), *self.config.latent_shape), generator=generators, device=self.device)
        set_steps(self.scheduler, num_inference_steps, self.device)
        timesteps = self.scheduler.timesteps[start_at(self.scheduler, strength) :]
        latents = noise
        if start is not None:
            alpha, sigma = noise_level(self.scheduler, timesteps[0]) if len(timesteps) else (1.0, 0.0)
            latents = alpha * start + sigma * noise
        yield latents
        for timestep in timesteps:
            level = float(timestep) / TIMESTEPS
            scale = guidance_scale if guidance_interval[0] <= level <= guidance_interval[1] else 1.0
            prediction = guided_prediction(
                self._predict, self.conditioning, latents, timestep, users, scale, guidance_rescale,
                self.weak and self.weak.plain,
            )  # fmt: skip
            if self.classifier is not None and guidance_interval[0] <= level <= guidance_interval[1]:
                prediction = self._steered(prediction, latents, timestep, users)
            latents = step(self.scheduler, prediction, timestep, latents, generators)
            yield latents

    def use_weak(self, run: Path, device: torch.device | str = "cpu") -> None:
        """Guide away from a weaker model from now on; raises `MdgenError` for one that does not work on the same
        latents, users and noise."""
        weak = MicroDopplerPipeline.load(run)
        for name in ("users", "latent_shape", "process", "objective"):
            if weak.config[name] != self.config[name]:
                raise MdgenError(f"{run}: cannot guide this model; its {name} are others")
        same = zip(weak.autoencoder.state_dict().values(), self.autoencoder.state_dict().values(), strict=True)
        if not all(torch.equal(a.cpu(), b.cpu()) for a, b in same):
            raise MdgenError(f"{run}: cannot guide this model; its autoencoder is another one")
        self.weak = weak.to(device)

    def plain(self, sample: Tensor, timestep: Tensor, users: Tensor | Between) -> Tensor:
        """What the model predicts of users without guidance."""
        return self._predict(sample, timestep, conditions(self.conditioning, users))

    def use_classifier(self, folder: Path, scale: float) -> None:
        """Guide by the latent classifier in `folder` from now on; raises `MdgenError` where there is none."""
        if not (folder / "config.json").exists():
            raise MdgenError(f"{folder}: no latent classifier; train one with mdgen train-classifier, or use scale 0")
        self.classifier, self.classifier_scale = LatentClassifier.from_pretrained(folder).eval(), scale

    def _steered(self, prediction: Tensor, latents: Tensor, timestep: Tensor, users: Tensor | Between) -> Tensor:
        if isinstance(users, Between):
            raise MdgenError("classifier guidance knows users, not places between them; use classifier_scale 0")
        assert self.classifier is not None
        gradient = self.classifier.to(latents.device).gradient(latents, timestep, users[:, 0])
        alpha, sigma = noise_level(self.scheduler, timestep)
        kind = self.config.process["prediction_type"]
        return steered(prediction, gradient, alpha, sigma, kind, self.classifier_scale)

    def require_settings(self, guidance_scale: float, num_inference_steps: int) -> None:
        """Raise `MdgenError` for guidance or steps that this model was not made for."""
        made_for = self.config.distilled
        if made_for is None:
            self.conditioning.require_guidance(guidance_scale)
        elif guidance_scale != 1 or num_inference_steps != made_for["steps"]:
            raise MdgenError(
                f"this model was distilled to {made_for['steps']} steps with its guidance folded in: use --steps "
                f"{made_for['steps']} --guidance-scale 1, or the run it was distilled from"
            )

    def require_targets(self, diffusion: DiffusionConfig) -> None:
        """Raise `MdgenError` where what `diffusion` asks a denoiser to foretell is not what this one does."""
        if (diffusion.objective, noise_process(diffusion)) != (self.config.objective, dict(self.config.process)):
            raise MdgenError(
                f"the denoiser foretells what objective {self.config.objective} asks for; leave `diffusion.objective` "
                "and the noise schedule as they were in its recipe"
            )

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images in [-1, 1] of normalised latents."""
        images = self.autoencoder.decode(denormalise_latents(self.autoencoder, latents)).sample
        return images.float().clamp(-1, 1)

    def _placed(self, user_ids: list[int] | Tensor | Between) -> Tensor | Between:
        """Complete ids on the pipeline's device; a `ValueError` for one that is not there."""
        if isinstance(user_ids, Between):
            return Between(self._ids(user_ids.first), self._ids(user_ids.second), user_ids.share)
        return self._ids(user_ids)

    def _ids(self, ids: list[int] | Tensor) -> Tensor:
        complete = self.conditioning.complete(torch.as_tensor(ids, device=self.device))
        counts = self.conditioning.null_ids.to(complete.device)
        if bool((complete < 0).any() or (complete > counts).any() or (complete[:, 0] == counts[0]).any()):
            raise ValueError(f"user ids must lie in 0..{counts[0] - 1}, ids of labels in 0..their number (null)")
        return complete

    def _predict(self, sample: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        with autocast(self.precision, sample.device):
            return self.answer(self.denoiser, sample, timestep, condition)

    def answer(self, denoiser: nn.Module, sample: Tensor, timestep: Tensor, condition: Tensor) -> Tensor:
        """What samplers are told of samples at timesteps (one, or [N]), by a denoiser with this one's objective."""
        timesteps = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device).expand(sample.shape[0])
        if self.config.objective == "edm":
            return preconditioned(denoiser, sample, timesteps, condition)
        return denoiser(sample, timesteps, class_labels=condition).sample.float()


def loaded(cls: type[Pipeline], run: Path) -> Pipeline:
    """The pipeline of this class in a run folder; raises `MdgenError` where it is of another class, incomplete or for
    other users."""
    held = class_name(run)
    if held != cls.__name__:
        raise MdgenError(
            f"{run}: holds a {held}, and this needs a {cls.__name__}; give another run: `mdgen train-ldm` makes a "
            "MicroDopplerPipeline, `mdgen baseline` a TokenPipeline"
        )
    logging.disable_progress_bar()
    try:
        pipeline = cls.from_pretrained(str(run), use_safetensors=True)
    except (OSError, ValueError, TypeError) as error:
        raise MdgenError(f"{run}: is no whole model ({error}); restore it, or train its last stage again") from error
    if read_json(run / "users.json") != list(pipeline.config.users):
        raise MdgenError(f"{run}: users.json names other users than the model was trained for; restore it")
    return pipeline


def class_name(run: Path) -> str:
    """Of the pipeline in a run folder; raises `MdgenError` where there is none."""
    file = run / "model_index.json"
    if not file.exists():
        raise MdgenError(f"{run}: holds no trained model; run `mdgen train-vae` and `mdgen train-ldm` first")
    return read_json(file).get("_class_name", "pipeline without a name")
