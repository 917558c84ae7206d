"""What stage 1 minimises: distances of reconstructions, the cost of latents, and what a discriminator objects to."""

from __future__ import annotations

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from mdgen.config import AutoencoderConfig
from mdgen.data.windows import WindowCutter
from mdgen.models.autoencoder import VQAutoencoder, last_layer
from mdgen.models.latents import kl_per_dimension
from mdgen.models.losses import build_perceptual
from mdgen.training.adversary import Adversary
from mdgen.training.codebook import CodebookKeeper
from mdgen.training.task import Batch, Gather, Task


class AutoencoderTask(Task):
    """Losses of an autoencoder on cut windows; the discriminator, where there is one, learns from the same batch."""

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
        self.latent_shape = latent_shape(autoencoder, first)
        self.perceptual = build_perceptual(config)
        _, *picture_shape = first.shape
        self.adversary = (
            Adversary(config.adversarial, tuple(picture_shape)) if config.adversarial.weight else None  # type: ignore[arg-type]
        )
        self.keeper = (
            CodebookKeeper(autoencoder.codebook, config.codebook) if isinstance(autoencoder, VQAutoencoder) else None
        )

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        parts = {"autoencoder": (list(self.autoencoder.parameters()), self.config.training.learning_rate)}
        if self.adversary is not None:
            parts["discriminator"] = (list(self.adversary.parameters()), self.config.adversarial.learning_rate)
        return parts

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        images = self.windows.draw(indices, generator)
        count, shape = len(images), self.latent_shape
        batch = {"images": images}
        if self.keeper is None:
            batch["noise"] = torch.randn(count, *shape, generator=generator)
        else:
            batch["lots"] = torch.rand(count, *shape[1:], generator=generator)
        if self.config.latent_noise:
            batch["strength"] = self.config.latent_noise * torch.rand(count, 1, 1, 1, generator=generator)
            batch["perturbation"] = torch.randn(count, *shape, generator=generator)
        return batch

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        images = batch["images"]
        posterior = self.autoencoder.encode(images).latent_dist  # type: ignore[operator]
        spread = _spread(posterior)
        latents = _perturbed(posterior, spread, batch)
        reconstructions, cost, logged = self._decoded(posterior, latents, batch, progress)
        losses = {"reconstruction": self.reconstruction_loss(images, reconstructions), **logged}
        asked = losses["reconstruction"]
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(images, reconstructions)
            asked = asked + self.config.perceptual_weight * losses["perceptual"]
        total = asked + cost
        if self.adversary is not None and progress >= self.config.adversarial.start:
            added, parts = self.adversary(images, reconstructions, asked, last_layer(self.autoencoder), progress)
            total, losses = total + added, {**losses, **parts}
        return {"total": total, **losses, "latent_std": spread.mean()}

    def begin_step(self) -> None:
        for part in (self.adversary, self.keeper):
            if part is not None:
                part.begin_step()

    def end_step(self, gather: Gather) -> None:
        for part in (self.adversary, self.keeper):
            if part is not None:
                part.end_step(gather)

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        images = self._held_out_images()
        return None if images is None else float(self.reconstruction_loss(images, self._reconstructed(images)))

    def pictures(self) -> dict[str, Tensor]:
        images = self._held_out_images()
        if images is None:
            return {}
        return {"originals": images[:8], "reconstructions": self._reconstructed(images[:8])}

    def reconstruction_loss(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Mean distance over pixels, of the recipe's kind; below the floor is the floor."""
        difference = reconstructions.clamp(min=-1) - images
        return difference.abs().mean() if self.config.reconstruction == "l1" else difference.square().mean()

    def _decoded(
        self, posterior: DiagonalGaussianDistribution, latents: Tensor, batch: Batch, progress: float
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Reconstructions, what latents cost, and what to log of it: divergence, or distance to codes."""
        if self.keeper is None:
            kl = kl_per_dimension(posterior).mean()
            return self.autoencoder.decode(latents).sample, self.config.kl_weight * kl, {"kl": kl}  # type: ignore[operator]
        quantised = self.keeper.codebook(latents)
        self.keeper.note(latents, quantised.codes, batch["lots"], progress)
        cost = self.config.codebook.commitment * quantised.commitment_loss
        if self.config.codebook.update == "gradient":
            cost = cost + quantised.codebook_loss
        logged = {"quantisation": quantised.commitment_loss.detach(), **self.keeper.losses()}
        return self.autoencoder.decode_quantised(quantised.latents).sample, cost, logged  # type: ignore[operator]

    def _held_out_images(self) -> Tensor | None:
        return None if self.held_out is None else self.held_out.to(self.autoencoder.device)  # type: ignore[arg-type]

    def _reconstructed(self, images: Tensor) -> Tensor:
        return self.autoencoder.decode(self.autoencoder.encode(images).latent_dist.mean).sample  # type: ignore[operator]


@torch.no_grad()
def latent_shape(autoencoder: nn.Module, images: Tensor) -> tuple[int, int, int]:
    """(C, h, w) of the latents of images like these [N, ...]."""
    _, channels, height, width = autoencoder.encode(images).latent_dist.mean.shape  # type: ignore[operator]
    return channels, height, width


def _spread(posterior: DiagonalGaussianDistribution) -> Tensor:
    """Deviation of latents in each sample, never over the batch: by channel [N, C, 1, 1], of a vector [N, 1, 1, 1]."""
    means = posterior.mean.detach()
    over = (2, 3) if means.shape[2] * means.shape[3] > 1 else (1, 2, 3)
    return (means - means.mean(dim=over, keepdim=True)).square().mean(dim=over, keepdim=True).sqrt()


def _perturbed(posterior: DiagonalGaussianDistribution, spread: Tensor, batch: Batch) -> Tensor:
    """Latents as imperfect as stage 2 will give them, so that the decoder learns to bring them back.

    Noise of a random strength up to `latent_noise`, a share of each channel's deviation in its sample.
    """
    latents = posterior.mean + posterior.std * batch["noise"] if "noise" in batch else posterior.mean
    if "strength" not in batch:
        return latents
    return latents + batch["strength"] * spread * batch["perturbation"]
