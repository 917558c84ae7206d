"""Stage 1: the autoencoder, trained, saved with the statistics of its latents, and checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn
from torch.func import functional_call

from mdgen.config import AutoencoderConfig, Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.device import resolve_device
from mdgen.errors import MdgenError
from mdgen.models.autoencoder import build_autoencoder, kl_per_dimension
from mdgen.models.losses import PatchDiscriminator, build_perceptual, hinge_discriminator
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process, row_names, training_data
from mdgen.training.autoencoder_check import (
    AutoencoderCheck,
    IdentityRetention,
    check_autoencoder,
    latent_scales,
    measure_latents,
)
from mdgen.training.checkpoint import replacing_folder, verify
from mdgen.training.loop import train
from mdgen.training.schedule import Budget
from mdgen.training.task import Batch, Task

#: Held-out spectrograms that a validation loss looks at.
VALIDATED = 128


class AutoencoderTask(Task):
    """Reconstruction + perceptual + KL + (optional) adversarial loss of an autoencoder on cut windows.

    One forward pass serves autoencoder and discriminator: each sees the other's weights as constants, so one backward
    pass gives each the gradient of its own loss alone.
    """

    def __init__(
        self,
        autoencoder: nn.Module,
        windows: WindowCutter,
        config: AutoencoderConfig,
        names: list[str] | None = None,
        held_out: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.windows, self.config, self.names = windows, config, names
        self.held_out = None if held_out is None else torch.from_numpy(held_out)
        first = windows.draw(np.array([0]), torch.Generator())
        with torch.no_grad():
            _, *shape = autoencoder.encode(first).latent_dist.mean.shape  # type: ignore[operator]
        self.latent_shape = (shape[0], shape[1], shape[2])
        self.perceptual = build_perceptual(config)
        self.discriminator = (
            PatchDiscriminator(first.shape[1], config.adversarial.channels) if config.adversarial.weight else None
        )

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        parts = {"autoencoder": (list(self.autoencoder.parameters()), self.config.training.learning_rate)}
        if self.discriminator is not None:
            parts["discriminator"] = (list(self.discriminator.parameters()), self.config.adversarial.learning_rate)
        return parts

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        images = self.windows.draw(indices, generator)
        shape = (len(images), *self.latent_shape)
        batch = {"images": images, "noise": torch.randn(shape, generator=generator)}
        if self.config.latent_noise:
            batch["strength"] = self.config.latent_noise * torch.rand(len(images), 1, 1, 1, generator=generator)
            batch["perturbation"] = torch.randn(shape, generator=generator)
        return batch

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        images = batch["images"]
        posterior = self.autoencoder.encode(images).latent_dist  # type: ignore[operator]
        spread = _spread(posterior)
        reconstructions = self.autoencoder.decode(_perturbed(posterior, spread, batch)).sample  # type: ignore[operator]
        losses = {
            "reconstruction": self._reconstruction(images, reconstructions),
            "kl": kl_per_dimension(posterior).mean(),
            "latent_std": spread.mean(),
        }
        total = losses["reconstruction"] + self.config.kl_weight * losses["kl"]
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(images, reconstructions)
            total = total + self.config.perceptual_weight * losses["perceptual"]
        if self.discriminator is not None and progress >= self.config.adversarial.start:
            constants = {name: p.detach() for name, p in self.discriminator.named_parameters()}
            losses["adversarial"] = -functional_call(self.discriminator, constants, (reconstructions,)).mean()
            losses["discriminator"] = hinge_discriminator(
                self.discriminator(images), self.discriminator(reconstructions.detach())
            )
            total = total + self.config.adversarial.weight * losses["adversarial"] + losses["discriminator"]
        return {"total": total, **losses}

    def sample_names(self, indices: np.ndarray) -> list[str]:
        return [self.names[i] for i in indices] if self.names else super().sample_names(indices)

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        images = self._held_out_images()
        return None if images is None else float(self._reconstruction(images, self._reconstructed(images)))

    def pictures(self) -> dict[str, Tensor]:
        images = self._held_out_images()
        if images is None:
            return {}
        return {"originals": images[:8], "reconstructions": self._reconstructed(images[:8])}

    def _held_out_images(self) -> Tensor | None:
        return None if self.held_out is None else self.held_out.to(next(self.autoencoder.parameters()).device)

    def _reconstructed(self, images: Tensor) -> Tensor:
        return self.autoencoder.decode(self.autoencoder.encode(images).latent_dist.mean).sample  # type: ignore[operator]

    def _reconstruction(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        difference = reconstructions.clamp(min=-1) - images  # below the floor is the floor
        return difference.abs().mean() if self.config.reconstruction == "l1" else difference.square().mean()


def _spread(posterior: DiagonalGaussianDistribution) -> Tensor:
    """Deviation of each latent channel in each sample, [N, C, 1, 1]."""
    means = posterior.mean.detach()
    return (means - means.mean(dim=(2, 3), keepdim=True)).square().mean(dim=(2, 3), keepdim=True).sqrt()


def _perturbed(posterior: DiagonalGaussianDistribution, spread: Tensor, batch: Batch) -> Tensor:
    """Latents as imperfect as stage 2 will give them, so that the decoder learns to bring them back.

    Noise of a random strength up to `latent_noise`, a share of each channel's deviation in its sample.
    """
    latents = posterior.mean + posterior.std * batch["noise"]
    if "strength" not in batch:
        return latents
    return latents + batch["strength"] * spread * batch["perturbation"]


def train_autoencoder(
    data: SpectrogramSet,
    run: Run,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
    identity_retention: IdentityRetention | None = None,
) -> AutoencoderCheck:
    """Train stage 1 on role `train`, save it to the run with its latent statistics, and check it on the other roles."""
    state = PartialState(cpu=resolve_device(device) == "cpu")
    train_data = training_data(data)
    with state.main_process_first():
        run.claim(recipe, train_data)
    with run.locked():
        config = recipe.autoencoder
        torch.manual_seed(recipe.seed)
        windows = WindowCutter.of(train_data, recipe.data.augment)
        held_out = validation_images(data)
        task = AutoencoderTask(
            build_autoencoder(config, data.images.shape[1]),
            windows,
            config,
            row_names(train_data, windows.rows),
            None if held_out is None else held_out.images,
        )
        train(
            task,
            config.training,
            name="autoencoder",
            seed=recipe.seed,
            run=run.path,
            settings={
                "autoencoder": config.model_dump(mode="json", exclude={"training"}),
                "augment": recipe.data.augment.model_dump(mode="json"),
                "data": train_data.fingerprint(),
            },
            device=device,
            progress=progress or Progress(quiet=True),
            budget=budget,
        )

        def save_and_check() -> AutoencoderCheck:
            autoencoder = task.autoencoder
            mean, std = measure_latents(autoencoder, train_data.images)
            autoencoder.register_to_config(latents_mean=mean, latents_std=latent_scales(std, config.whitening))  # type: ignore[operator]
            with replacing_folder(run.path / "autoencoder") as folder:
                autoencoder.save_pretrained(folder)  # type: ignore[operator]
            run.record(recipe)
            return check_autoencoder(autoencoder, data, run, identity_retention)

        return on_main_process(save_and_check)


def validation_images(data: SpectrogramSet) -> SpectrogramSet | None:
    """Rows of role `val`, thinned out evenly to `VALIDATED`; `None` where there are none."""
    rows = np.flatnonzero(data.table["split"] == "val")
    if len(rows) == 0:
        return None
    return data.select(rows[np.unique(np.linspace(0, len(rows) - 1, VALIDATED).round().astype(int))])


def load_autoencoder(folder: Path) -> nn.Module:
    """The autoencoder saved in `folder`, of whichever kind it is; raises `MdgenError` where its files were changed."""
    from diffusers import AutoencoderKL

    from mdgen.models.autoencoder import PatchAutoencoder

    try:
        verify(folder)
    except (OSError, ValueError, KeyError) as error:
        raise MdgenError(f"{folder}: not as it was saved ({error}); run `mdgen train-vae` again") from error
    kind = json.loads((folder / "config.json").read_text())["_class_name"]
    return {"AutoencoderKL": AutoencoderKL, "PatchAutoencoder": PatchAutoencoder}[kind].from_pretrained(folder).eval()
