"""A model that diffusers saved, as a run to fine-tune from: its networks and noise schedule, with users of our own.

Taken are `AutoencoderKL` (folder `vae`; without one the model works on pixels) and `UNet2DModel` or
`UNet2DConditionModel` (folder `unet`), as safetensors. Colour networks are made gray where the pictures are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, ModelMixin, UNet2DConditionModel, UNet2DModel
from torch import nn

from mdgen.config import Recipe, checked
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import LabelMap
from mdgen.diffusion.objective import SCHEDULES, TIMESTEPS
from mdgen.errors import MdgenError
from mdgen.models.autoencoder import PixelAutoencoder
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import LatentCrossUNet, LatentUNet
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import warn
from mdgen.run import Run, training_data
from mdgen.training.autoencoder import picture_shape, save_autoencoder
from mdgen.training.autoencoder_check import check_autoencoder, latent_scales, measure_latents
from mdgen.training.denoiser import build_conditioning, publish

#: What diffusers' schedulers call the target -> `diffusion.objective`.
_OBJECTIVES = {"epsilon": "epsilon", "v_prediction": "v_prediction", "sample": "sample"}
#: Noise levels that differ by no more are the same, but for rounding.
SAME_LEVEL = 1e-4


def adopt(folder: Path, data: SpectrogramSet, run: Run, recipe: Recipe) -> None:
    """Make `run`, a run of the users of role `train`, of the diffusers model in `folder`.

    Its users are not learned yet: `fine_tune` with `fine_tuning.learn: all` (which its recipe says) teaches them.
    Raises `MdgenError` where the parts are others, or do not fit the pictures or one another.
    """
    rows = training_data(data)
    shape = picture_shape(rows)
    autoencoder = _autoencoder(folder, rows, recipe.autoencoder.whitening)
    with torch.no_grad():
        latents = autoencoder.encode(torch.from_numpy(rows.images[:1])).latent_dist.mean  # type: ignore[operator]
    denoiser, known_classes = _denoiser(folder, tuple(latents.shape[1:]))
    recipe = _as_adopted(recipe, folder, autoencoder, denoiser, shape[1] // latents.shape[2])
    labels = LabelMap.of(rows.table, rows.users, recipe.conditioning.names())
    torch.manual_seed(recipe.seed)
    conditioning = build_conditioning(recipe, len(rows.users), labels, denoiser)
    _nobody_as_before(conditioning, known_classes)
    pipeline = MicroDopplerPipeline.assemble(autoencoder, denoiser, conditioning, recipe, rows.users)
    _try_out(pipeline, folder)
    run.claim(recipe, rows)
    with run.locked():
        save_autoencoder(autoencoder, run)
        publish(pipeline, run)
        check_autoencoder(autoencoder, data, run)


def _autoencoder(folder: Path, rows: SpectrogramSet, whitening: float) -> nn.Module:
    """With the statistics of its latents of these pictures: the one number it came with was another data set's."""
    channels = rows.images.shape[1]
    if not (folder / "vae").exists():
        return PixelAutoencoder(channels, [0.0] * channels, [1.0] * channels, rows.images.shape[2:])
    autoencoder = _loaded(AutoencoderKL, folder / "vae")
    if channels == 1 and autoencoder.config.in_channels == 3:
        _make_gray(autoencoder, autoencoder.encoder, autoencoder.decoder)
    if autoencoder.config.in_channels != channels:
        raise MdgenError(f"{folder}: is for {autoencoder.config.in_channels} channels, the pictures have {channels}")
    mean, std = measure_latents(autoencoder.eval(), rows.images)
    scales = latent_scales(std, whitening)
    autoencoder.register_to_config(latents_mean=mean, latents_std=scales, sample_size=rows.images.shape[2:])
    return autoencoder


def _denoiser(folder: Path, latent_shape: tuple[int, ...]) -> tuple[LatentUNet | LatentCrossUNet, torch.Tensor | None]:
    """The U-Net as one of ours, and the mean of its class embeddings where it had some: our users stand there."""
    kind = _config(folder / "unet").get("_class_name")
    ours: dict[str, Any] = {
        "UNet2DModel": (UNet2DModel, LatentUNet, {"class_embed_type": "identity", "num_class_embeds": None}),
        "UNet2DConditionModel": (UNet2DConditionModel, LatentCrossUNet, {}),
    }
    if kind not in ours:
        raise MdgenError(f"{folder / 'unet'}: is a {kind}; adopted are {' and '.join(ours)}")
    theirs, cls, changed = ours[kind]
    given = _loaded(theirs, folder / "unet")
    channels, *size = latent_shape
    if channels == 1 and given.config.in_channels == 3:
        _make_gray(given, given, given)
    if given.config.in_channels != channels or given.config.out_channels != channels:
        raise MdgenError(f"{folder}: its U-Net is for {given.config.in_channels} channels, the latents have {channels}")
    network = cls.from_config({**given.config, **changed, "sample_size": tuple(size)})
    classes = {name: value for name, value in given.state_dict().items() if name.startswith("class_embedding.")}
    network.load_state_dict({name: value for name, value in given.state_dict().items() if name not in classes})
    embedded = kind == "UNet2DModel" and list(classes) == ["class_embedding.weight"]
    return network, classes["class_embedding.weight"].mean(0) if embedded else None


def _as_adopted(
    recipe: Recipe, folder: Path, autoencoder: nn.Module, denoiser: LatentUNet | LatentCrossUNet, downsample: int
) -> Recipe:
    """The recipe with what the parts are: it decides how they learn on."""
    content = recipe.model_dump(by_alias=True)
    pixels = isinstance(autoencoder, PixelAutoencoder)
    content["autoencoder"] |= {"kind": "none" if pixels else "kl", "latent_channels": denoiser.config.in_channels}
    content["autoencoder"] |= {} if pixels else {"downsample": downsample, "floor_margin": 0.0}
    content["denoiser"] |= {"kind": "unet-cross" if denoiser.takes_tokens else "unet", "attention": []}
    content["diffusion"] |= _diffusion(folder)
    content["fine_tuning"] |= {"learn": "all", "rank": 0}
    return checked(Recipe, content, str(folder))


def _diffusion(folder: Path) -> dict[str, Any]:
    config = _config(folder / "scheduler", "scheduler_config.json")
    if str(config.get("_class_name", "")).startswith("FlowMatch"):
        return {"objective": "flow", "schedule": None, "zero_terminal_snr": False, "times": None}
    objective = _OBJECTIVES.get(config.get("prediction_type", "epsilon"))
    if objective is None:
        raise MdgenError(f"{folder}: predicts {config['prediction_type']!r}; known are {', '.join(_OBJECTIVES)}")
    schedule = _nearest_schedule(folder, config)
    zero = bool(config.get("rescale_betas_zero_snr")) and objective != "epsilon"
    return {"objective": objective, "schedule": schedule, "zero_terminal_snr": zero, "times": None}


def _nearest_schedule(folder: Path, config: dict[str, Any]) -> str:
    """That of our schedules whose noise levels are nearest to those of a scheduler; says so where they are others."""
    try:
        given = _noise_levels(config)
    except NotImplementedError as error:
        raise MdgenError(
            f"{folder}: noise schedule {config['beta_schedule']!r} is not known; give trained_betas"
        ) from error
    steps = torch.linspace(0, len(given) - 1, TIMESTEPS).round().long()
    distances = {name: float((_noise_levels(ours) - given[steps]).abs().max()) for name, ours in SCHEDULES.items()}
    nearest = min(distances, key=distances.__getitem__)
    told = config.get("beta_schedule") or config.get("trained_betas")
    if not told or len(given) != TIMESTEPS or distances[nearest] > SAME_LEVEL:
        warn(f"{folder}: its noise schedule is not one of ours; it has to learn {nearest!r} instead, the nearest")
    return nearest


def _noise_levels(config: dict[str, Any]) -> torch.Tensor:
    """Standard deviation of the noise at every step of a scheduler, before any rescaling to zero SNR."""
    fields = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    scheduler = DDPMScheduler(**{key: config[key] for key in fields if config.get(key) is not None})
    return (1 - scheduler.alphas_cumprod).sqrt()


def _nobody_as_before(conditioning: UserConditioning, classes: torch.Tensor | None) -> None:
    """Nobody in particular is what the model knew: no class, or the mean of its classes."""
    with torch.no_grad():
        rows = conditioning.embedding.weight
        rows += 0.0 if classes is None else classes
        rows[-1] = torch.zeros_like(rows[-1]) if classes is None else classes


def _try_out(pipeline: MicroDopplerPipeline, folder: Path) -> None:
    try:
        pipeline([0], [torch.Generator().manual_seed(0)], guidance_scale=1.0, num_inference_steps=1)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(f"{folder}: does not work on latents of {pipeline.config.latent_shape} ({reason})") from error


def _make_gray(model: ModelMixin, first: Any, last: Any) -> None:
    """Three colours in, or out, as one: exact for pictures whose colours are equal, and for the mean of those drawn."""
    with torch.no_grad():
        for module, name, weight in (
            (first, "conv_in", first.conv_in.weight.sum(1, keepdim=True)),
            (last, "conv_out", last.conv_out.weight.mean(0, keepdim=True)),
        ):
            old = getattr(module, name)
            new = nn.Conv2d(weight.shape[1], weight.shape[0], old.kernel_size, old.stride, old.padding)
            new.weight.copy_(weight)
            assert new.bias is not None
            new.bias.copy_(old.bias.mean(0, keepdim=True) if name == "conv_out" else old.bias)
            setattr(module, name, new)
    model.register_to_config(in_channels=1, out_channels=1)  # type: ignore[attr-defined]


def _loaded(cls: Any, folder: Path) -> Any:
    """Safetensors alone: nothing that is unpickled."""
    if _config(folder).get("_class_name") != cls.__name__:
        raise MdgenError(f"{folder}: is a {_config(folder).get('_class_name')}; expected is {cls.__name__}")
    try:
        return cls.from_pretrained(str(folder), use_safetensors=True, local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(f"{folder}: cannot be loaded as {cls.__name__} from safetensors ({reason})") from error


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MdgenError(
            f"{folder}: has no readable {name}; a model saved by diffusers has folders unet, scheduler and perhaps vae"
        ) from error
