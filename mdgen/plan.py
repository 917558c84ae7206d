"""What a training would cost, before it starts: sizes, parameters, and time and memory of a step measured here."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from mdgen.config import Recipe, TrainingConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import LabelMap
from mdgen.data.windows import WindowCutter
from mdgen.device import autocast, resolve_precision
from mdgen.models.autoencoder import build_autoencoder
from mdgen.models.denoiser import build_denoiser
from mdgen.run import training_data
from mdgen.training.autoencoder import picture_shape
from mdgen.training.autoencoder_task import AutoencoderTask
from mdgen.training.denoiser import DenoiserTask, build_conditioning, condition_ids
from mdgen.training.engine import checkpoint_activations
from mdgen.training.latents import RandomLatents
from mdgen.training.loop import LATE
from mdgen.training.task import Task

_CPU = torch.device("cpu")


def plan_lines(recipe: Recipe, data: SpectrogramSet) -> list[str]:
    """Lines for people: windows, latent shape, and for each stage what a step of its real losses foretells."""
    train = training_data(data)
    windows = WindowCutter.of(train, recipe.data.augment)
    first = AutoencoderTask(build_autoencoder(recipe.autoencoder, picture_shape(data)), windows, recipe.autoencoder)
    channels, height, width = first.latent_shape
    denoiser = build_denoiser(recipe.denoiser, channels, (height, width))
    labels = LabelMap.of(train.table, train.users, recipe.conditioning.names())
    conditioning = build_conditioning(recipe, len(train.users), labels, denoiser.condition_dim)
    second = DenoiserTask(
        denoiser,
        conditioning,
        windows,
        RandomLatents((channels, height, width)),
        condition_ids(train, train.users, labels)[windows.rows],
        recipe.diffusion,
        recipe.denoiser.training.learning_rate,
    )
    return [
        f"{len(train)} training spectrograms of {len(train.users)} users in {len(windows.recordings)} recordings",
        f"latents {first.latent_shape} of pictures {data.images.shape[1:]}",
        "autoencoder: none, nothing to train"
        if recipe.autoencoder.kind == "none"
        else _stage_line("autoencoder", first, recipe.autoencoder.training),
        _stage_line("denoiser", second, recipe.denoiser.training),
    ]


def _stage_line(name: str, task: Task, config: TrainingConfig) -> str:
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
    return (
        f"{name}: {count / 1e6:.2f} M parameters, {config.steps} steps, about {minutes:.1f} minutes on this CPU in "
        f"{precision}; memory: {4 * copies * count / 1e9:.2f} GB for weights and optimizer, "
        f"{sum(kept.values()) / 1e9:.2f} GB for {micro} samples at a time"
    )
