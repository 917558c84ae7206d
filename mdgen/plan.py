"""What a training would cost, before it starts: sizes, parameters, and time and memory of a step measured here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mdgen.config import Recipe, TrainingConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import LabelMap
from mdgen.data.windows import WindowCutter
from mdgen.device import autocast, resolve_precision
from mdgen.models.autoencoder import build_autoencoder
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser
from mdgen.models.vq_autoencoder import VQAutoencoder
from mdgen.run import training_data
from mdgen.training.autoencoder import picture_shape
from mdgen.training.autoencoder_task import AutoencoderTask, latent_shape
from mdgen.training.denoiser import DenoiserTask, build_conditioning, condition_ids
from mdgen.training.engine import checkpoint_activations
from mdgen.training.latents import RandomLatents
from mdgen.training.loop import LATE
from mdgen.training.prior import PriorTask, build_prior
from mdgen.training.task import Task

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class StagePlan:
    """What one stage takes. weights_gb: weights, gradients, optimizer and averages. kept_gb: activations."""

    name: str
    parameters: int
    steps: int
    minutes: float
    precision: str
    weights_gb: float
    kept_gb: float
    micro_batch: int

    def line(self) -> str:
        return (
            f"{self.name}: {self.parameters / 1e6:.2f} M parameters, {self.steps} steps, about {self.minutes:.1f} "
            f"minutes on this CPU in {self.precision}; memory: {self.weights_gb:.2f} GB for weights and optimizer, "
            f"{self.kept_gb:.2f} GB for {self.micro_batch} samples at a time"
        )


@dataclass(frozen=True)
class TrainingPlan:
    """What a recipe means for a data set. stages: those that train something."""

    summary: list[str]
    latent_shape: tuple[int, int, int]
    stages: list[StagePlan]


def plan_lines(recipe: Recipe, data: SpectrogramSet) -> list[str]:
    """A plan for people."""
    plan = plan_training(recipe, data)
    return [*plan.summary, *[stage.line() for stage in plan.stages]]


def plan_training(recipe: Recipe, data: SpectrogramSet) -> TrainingPlan:
    """Windows, latent shape, and for each stage what a step of its real losses foretells."""
    train = training_data(data)
    windows = WindowCutter.of(train, recipe.data.augment)
    first = AutoencoderTask(build_autoencoder(recipe.autoencoder, picture_shape(data)), windows, recipe.autoencoder)
    channels, height, width = first.latent_shape
    denoiser = build_denoiser(recipe.denoiser, channels, (height, width))
    labels = LabelMap.of(train.table, train.users, recipe.conditioning.names())
    conditioning = build_conditioning(recipe, len(train.users), labels, denoiser)
    second = DenoiserTask(
        denoiser,
        conditioning,
        windows,
        RandomLatents((channels, height, width)),
        condition_ids(train, train.users, labels)[windows.rows],
        recipe.diffusion,
        recipe.denoiser.training.learning_rate,
    )
    stages = [_stage_plan("denoiser", second, recipe.denoiser.training)]
    if recipe.autoencoder.kind != "none":
        stages.insert(0, _stage_plan("autoencoder", first, recipe.autoencoder.training))
    if isinstance(first.autoencoder, VQAutoencoder):
        stages.append(
            _stage_plan("prior", _prior_task(first.autoencoder, windows, train, recipe), recipe.prior.training)
        )
    summary = [
        f"{len(train)} training spectrograms of {len(train.users)} users in {len(windows.recordings)} recordings",
        f"latents {first.latent_shape} of pictures {data.images.shape[1:]}",
    ]
    return TrainingPlan(summary, first.latent_shape, stages)


def _prior_task(autoencoder: VQAutoencoder, windows: WindowCutter, train: SpectrogramSet, recipe: Recipe) -> PriorTask:
    """The second stage of `mdgen baseline`, on codes that are not there yet."""
    _, height, width = latent_shape(autoencoder, windows.draw(np.array([0]), torch.Generator()))
    prior = build_prior(recipe.prior, autoencoder, (height, width))
    conditioning = UserConditioning(len(train.users), prior.condition_dim, recipe.diffusion.condition_dropout)
    codes = torch.zeros(len(windows.views), height, width, dtype=torch.int32)
    return PriorTask(prior, conditioning, windows, codes, train.users, recipe.prior.training.learning_rate)


def _stage_plan(name: str, task: Task, config: TrainingConfig) -> StagePlan:
    if config.gradient_checkpointing:
        checkpoint_activations(task)
    parameters = [p for params, _ in task.parts().values() for p in params]
    count = sum(p.numel() for p in parameters)
    micro = config.batch_size if config.micro_batch_size == "auto" else min(config.micro_batch_size, config.batch_size)
    batch = task.draw(np.arange(micro) % len(task), torch.Generator())
    kept: dict[int, int] = {}
    own = {p.data_ptr() for p in parameters}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def step() -> Tensor:
        with autocast(config.precision, _CPU):
            return task(batch, LATE)["total"]

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = step()
    loss.backward()
    started = time.monotonic()
    step().backward()
    minutes = (time.monotonic() - started) * config.steps * config.batch_size / micro / 60
    copies = 4 + (config.ema_half_life > 0) + len(config.ema_profiles)  # weights, gradients, two of AdamW, averages
    precision = str(resolve_precision(config.precision, _CPU)).removeprefix("torch.")
    return StagePlan(
        name,
        count,
        config.steps,
        minutes,
        precision,
        weights_gb=4 * copies * count / 1e9,
        kept_gb=sum(kept.values()) / 1e9,
        micro_batch=micro,
    )
