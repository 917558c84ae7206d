"""Stage 2: latents encoded once, then the user-conditioned denoiser trained on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mdgen.config import DiffusionConfig, Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.diffusion.objective import build_objective
from mdgen.errors import MdgenError
from mdgen.models.autoencoder import normalise_latents
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser
from mdgen.progress import Progress
from mdgen.run import Run, training_data, write_model_card
from mdgen.training.autoencoder import load_autoencoder
from mdgen.training.loop import train


@dataclass(frozen=True)
class LatentCache:
    """Normalised posterior mean and deviation, float16 [views, C, h, w], of every view of every training window."""

    mean: Tensor
    std: Tensor

    def sample(self, views: np.ndarray, generator: torch.Generator) -> Tensor:
        """float32 [N, C, h, w]: latents of these views, drawn afresh from their posteriors."""
        mean, std = self.mean[views].float(), self.std[views].float()
        return mean + std * torch.randn(mean.shape, generator=generator)


class DenoiserTask(nn.Module):
    """Mean squared error of the objective's target on latents sampled afresh, users dropped at the recipe's rate."""

    def __init__(
        self, denoiser: nn.Module, conditioning: UserConditioning, windows: WindowCutter, cache: LatentCache,
        user_ids: np.ndarray, diffusion: DiffusionConfig, learning_rate: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.denoiser, self.conditioning = denoiser, conditioning
        self.windows, self.cache, self.learning_rate = windows, cache, learning_rate
        self.user_ids = torch.from_numpy(user_ids)
        self.objective = build_objective(diffusion)

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        return {"denoiser": (list(self.parameters()), self.learning_rate)}

    def active_parts(self, progress: float) -> list[str]:
        return ["denoiser"]

    def forward(self, part: str, indices: np.ndarray, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        device = self.conditioning.embedding.weight.device
        latents = self.cache.sample(self.windows.draw_views(indices, generator), generator).to(device)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        pair = self.objective.pair(latents, noise, generator)
        users = self.conditioning.drop(self.user_ids[indices].to(device), generator)
        prediction = self.denoiser(pair.noisy, pair.timestep, class_labels=self.conditioning(users)).sample
        loss = (prediction.float() - pair.target).square().mean()
        return {"total": loss, "loss": loss}


def train_denoiser(
    data: SpectrogramSet, run: Run, recipe: Recipe, *, device: str = "auto", progress: Progress | None = None
) -> None:
    """Train stage 2 on role `train` with the autoencoder of the run; leaves a complete pipeline in the run folder."""
    from mdgen.pipeline import MicroDopplerPipeline

    progress = progress or Progress(quiet=True)
    train_data = training_data(data)
    users = train_data.users
    run.require_users(users)
    _require_same_autoencoder(run, recipe)
    if not (run.path / "autoencoder" / "config.json").exists():
        raise MdgenError(f"{run.path}: has no trained autoencoder; run `mdgen train-vae` first")
    autoencoder = load_autoencoder(run.path / "autoencoder")
    windows = WindowCutter.of(train_data, recipe.data.augment)
    cache = cached_latents(autoencoder, windows, train_data, run)
    channels, height, width = cache.mean.shape[1:]
    torch.manual_seed(recipe.seed)
    denoiser = build_denoiser(recipe.denoiser, channels, (height, width))
    conditioning = UserConditioning(len(users), denoiser.condition_dim, recipe.diffusion.condition_dropout)
    user_ids = np.array([users.index(user) for user in windows.users])
    config = recipe.denoiser.training
    train(
        DenoiserTask(denoiser, conditioning, windows, cache, user_ids, recipe.diffusion, config.learning_rate),
        config,
        name="denoiser",
        seed=recipe.seed,
        run=run.path,
        settings={
            "denoiser": recipe.denoiser.model_dump_json(),
            "diffusion": recipe.diffusion.model_dump_json(),
            "augment": recipe.data.augment.model_dump_json(),
            "seed": recipe.seed,
            "data": train_data.fingerprint(),
        },
        device=device,
        progress=progress,
    )
    MicroDopplerPipeline.assemble(autoencoder, denoiser, conditioning, recipe, users).save_pretrained(run.path)
    run.record(recipe)
    write_model_card(run, recipe, train_data)


def cached_latents(autoencoder: nn.Module, windows: WindowCutter, data: SpectrogramSet, run: Run) -> LatentCache:
    """Latents of every view, from `run/cache` where the fingerprint fits, else encoded once and stored there."""
    fingerprint = f"{data.fingerprint()}-{_weights_fingerprint(run)}-{len(windows.views)}"
    file = run.path / "cache" / "latents.safetensors"
    if file.exists() and _metadata(file).get("fingerprint") == fingerprint:
        return LatentCache(**load_file(file))
    encoded = [_encode(autoencoder, windows, views) for views in _batches(len(windows.views), 128)]
    cache = LatentCache(*(torch.cat(parts).half() for parts in zip(*encoded, strict=True)))
    file.parent.mkdir(exist_ok=True)
    save_file({"mean": cache.mean, "std": cache.std}, file, metadata={"fingerprint": fingerprint})
    return cache


@torch.no_grad()
def _encode(autoencoder: nn.Module, windows: WindowCutter, views: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Normalised posterior mean and deviation, each [N, C, h, w]."""
    images = torch.from_numpy(np.stack([windows.cut(windows.views[view]) for view in views]))
    posterior = autoencoder.encode(images).latent_dist  # type: ignore[operator]
    scale = torch.tensor(autoencoder.config.latents_std).view(1, -1, 1, 1)  # type: ignore[union-attr, arg-type]
    return normalise_latents(autoencoder, posterior.mean), posterior.std / scale  # type: ignore[arg-type]


def _batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _weights_fingerprint(run: Run) -> str:
    return hashlib.sha256(next((run.path / "autoencoder").glob("*.safetensors")).read_bytes()).hexdigest()


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return opened.metadata() or {}


def _require_same_autoencoder(run: Run, recipe: Recipe) -> None:
    """Stage 2 may change its own sections, not what stage 1 already used."""
    trained = run.recipe()
    if trained.autoencoder != recipe.autoencoder:
        raise MdgenError(
            f"{run.path}: its autoencoder was trained with other settings; leave section `autoencoder` as it is"
        )
