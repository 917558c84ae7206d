"""A recipe before it is trained: what will not go together, what is unwise, and what it will take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mdgen.check.remarks import Remark, failed, passed, warned
from mdgen.config import AutoencoderConfig, Recipe, TrainingConfig
from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from mdgen.data.recordings import ALIGNED, common_course
from mdgen.diffusion.objective import noise_process
from mdgen.diffusion.samplers import build_sampler
from mdgen.errors import MdgenError
from mdgen.generate import STRONG_GUIDANCE
from mdgen.plan import TrainingPlan, plan_training

#: Minutes on this CPU above which a stage is called long.
_LONG_MINUTES = 24 * 60
#: Steps below which ancestral sampling is coarse.
_ANCESTRAL_STEPS = 100


def stand_in(size: int, channels: int = 1, users: int = 10) -> SpectrogramSet:
    """Noise in the shape of a small data set with all roles: enough to build and time networks."""
    rng = np.random.default_rng(0)
    rows = [(f"user {u}", role) for u in range(users) for role in ROLES for _ in range(4)]
    images = rng.uniform(-1, 1, (len(rows), channels, size, size)).astype(np.float32)
    table = make_table(user=[u for u, _ in rows], recording=[r for _, r in rows], split=[r for _, r in rows])
    return SpectrogramSet(images, table, f"stand-in of {size}x{size} pictures")


def check_recipe(recipe: Recipe, data: SpectrogramSet) -> list[Remark]:
    """Everything about a recipe that can be known without training; its networks are built and a step is timed."""
    remarks = [passed(f"recipe {recipe.name!r} is valid; tried on {data.name}")]
    remarks += _cuts(recipe, data)
    remarks += _sampling(recipe)
    remarks += _autoencoder(recipe.autoencoder)
    for name, training in (("autoencoder", recipe.autoencoder.training), ("denoiser", recipe.denoiser.training)):
        remarks += _training(name, training, data)
    return remarks + _networks(recipe, data)


def _cuts(recipe: Recipe, data: SpectrogramSet) -> Iterator[Remark]:
    shared = common_course(data)
    if recipe.data.augment.time_shift is True and shared > ALIGNED:
        what = f"windows begin at one phase of a step (they share {shared:.0%} of their course); cut anew they will not"
        yield warned(what, "set data.augment.time_shift=auto")


def _sampling(recipe: Recipe) -> Iterator[Remark]:
    objective, generate = recipe.diffusion.objective, recipe.generate
    try:
        build_sampler(noise_process(recipe.diffusion), generate.sampler)
        yield passed(f"sampler {generate.sampler} samples {objective} models")
    except MdgenError as error:
        yield failed(str(error), "set generate.sampler")
    if generate.guidance_scale != 1 and recipe.diffusion.condition_dropout == 0:
        yield failed(
            f"guidance scale {generate.guidance_scale:g} without condition dropout: there will be no null user",
            "set diffusion.condition_dropout=0.1, or generate.guidance_scale=1",
        )
    if generate.guidance_scale > STRONG_GUIDANCE:
        yield warned(f"guidance scale {generate.guidance_scale:g} costs variety", "use 1.5 to 4")
    if generate.sampler == "ddpm" and generate.steps < _ANCESTRAL_STEPS:
        yield warned(f"ddpm in {generate.steps} steps leaves noise", f"use {_ANCESTRAL_STEPS} or more, or dpm++")


def _autoencoder(config: AutoencoderConfig) -> Iterator[Remark]:
    adversarial, training = config.adversarial, config.training
    if config.perceptual != "none" and config.perceptual_weight == 0:
        yield warned(f"perceptual={config.perceptual} with weight 0 does nothing", "set perceptual_weight=0.5")
    if config.perceptual == "none" and config.perceptual_weight > 0:
        yield warned("perceptual_weight without a perceptual distance does nothing", "set perceptual=effnet-lite0")
    if config.kind in ("patch", "kl", "vector") and config.kl_weight > 0.1:
        yield warned(f"kl_weight {config.kl_weight:g} blurs and may empty the latents", "use 1e-4 to 1e-2")
    if config.kind == "vq" and config.normalisation == "batch" and training.micro_batch_size != "auto":
        yield warned("normalisation=batch depends on micro_batch_size", "use normalisation=group")
    if training.precision == "fp16":
        yield warned("autoencoders overflow in fp16", "set autoencoder.training.precision=fp32 or auto")
    if adversarial.weight == 0:
        return
    if adversarial.start + adversarial.ramp >= 1:
        yield warned(
            "the adversarial weight never reaches its full value before the run ends",
            "lower adversarial.start or adversarial.ramp",
        )
    if not adversarial.adaptive and adversarial.weight > 0.5:
        yield warned(
            f"a fixed adversarial weight of {adversarial.weight:g} outweighs mean losses",
            "set adversarial.adaptive=true, or a weight below 0.1",
        )
    if training.compile:
        yield failed("compile cannot follow gradients taken inside a loss", "set autoencoder.training.compile=false")


def _training(name: str, config: TrainingConfig, data: SpectrogramSet) -> Iterator[Remark]:
    if config.checkpoint_every > config.steps:
        yield warned(
            f"{name}: no checkpoint before the end", f"set {name}.training.checkpoint_every below {config.steps}"
        )
    if 0 < config.ema_half_life * config.steps < 1:
        yield warned(f"{name}: the average is shorter than a step", f"train longer, or {name}.training.ema_half_life=0")
    if config.final == "best" and not (data.table["split"] == "val").any():
        yield failed(f"{name}: final=best needs rows of role val", "import with val=.1, or set final=last")


def _networks(recipe: Recipe, data: SpectrogramSet) -> list[Remark]:
    try:
        plan = plan_training(recipe, data)
    except MdgenError as error:
        return [failed("networks cannot be built", str(error))]
    except (RuntimeError, ValueError, AssertionError) as error:
        shapes = f"pictures {data.images.shape[1:]}, downsample {recipe.autoencoder.downsample}"
        return [
            failed(
                f"networks do not fit these latents ({' '.join(str(error).split())[:200]}; {shapes})",
                "denoiser.patch must divide the latent grid, denoiser.heads its width, and each level halves it",
            )
        ]
    remarks = [passed(line) for line in plan.summary]
    remarks += _latents(recipe, data, plan)
    for stage in plan.stages:
        needed, free = stage.weights_gb + stage.kept_gb, _free_gb()
        remarks.append(passed(stage.line()))
        if needed > free:
            mend = f"set {stage.name}.training.memory_saver=true, or a smaller network"
            remarks.append(failed(f"{stage.name}: needs {needed:.1f} GB, {free:.1f} GB are free here", mend))
        if stage.minutes > _LONG_MINUTES:
            what = f"{stage.name}: {stage.minutes / 60:.0f} hours on this CPU"
            remarks.append(warned(what, "use a GPU, fewer steps, or --max-minutes with --from"))
    return remarks


def _latents(recipe: Recipe, data: SpectrogramSet, plan: TrainingPlan) -> Iterator[Remark]:
    ratio = np.prod(data.images.shape[1:]) / np.prod(plan.latent_shape)
    if recipe.autoencoder.kind not in ("none", "vq"):
        what = f"one latent number for {ratio:.2g} pixels"
        yield warned(what, "fewer latent_channels, or more downsample") if ratio < 1 else passed(what)
    if recipe.autoencoder.kind == "vq":
        cells = int((data.table["split"] == "train").sum() * np.prod(plan.latent_shape[1:]))
        size = recipe.autoencoder.codebook.size
        what = f"{size} codes for {cells} latent cells in the training set"
        yield (
            warned(what, "most codes will lie idle: fewer codes, or less downsample") if cells < size else passed(what)
        )


def _free_gb() -> float:
    import psutil

    return psutil.virtual_memory().available / 1e9
