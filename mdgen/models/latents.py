"""What all autoencoders' latents have in common: posteriors, their divergence, and their measured statistics."""

from __future__ import annotations

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

#: Log variance of the latents before training: noise that a picture in [-1, 1] hardly shows.
STARTING_LOG_VARIANCE = -5.0


def point_posterior(latents: Tensor) -> DiagonalGaussianDistribution:
    """A posterior that is certain of `latents`: deviation 0."""
    return DiagonalGaussianDistribution(torch.cat([latents, torch.zeros_like(latents)], dim=1), deterministic=True)


def kl_per_dimension(posterior: DiagonalGaussianDistribution) -> Tensor:
    """KL divergence to the unit Gaussian in nats, for every latent dimension [N, C, h, w] (Kingma & Welling 2014)."""
    return 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar)


def normalise_latents(autoencoder: nn.Module, latents: Tensor) -> Tensor:
    """Latents with the measured per-channel mean and deviation of the training set taken out: about N(0, 1)."""
    mean, std = latent_statistics(autoencoder, latents)
    return (latents - mean) / std


def denormalise_latents(autoencoder: nn.Module, latents: Tensor) -> Tensor:
    """The inverse of `normalise_latents`."""
    mean, std = latent_statistics(autoencoder, latents)
    return latents * std + mean


def latent_statistics(autoencoder: nn.Module, like: Tensor) -> tuple[Tensor, Tensor]:
    """The statistics measured after stage 1, each [1, C, 1, 1]; never a constant borrowed from another model."""
    config = autoencoder.config
    mean, std = config.latents_mean, config.latents_std  # type: ignore[union-attr]
    if mean is None or std is None:
        raise ValueError("the autoencoder has no latent statistics; stage 1 did not finish")
    return tuple(torch.tensor(v, dtype=like.dtype, device=like.device).view(1, -1, 1, 1) for v in (mean, std))  # type: ignore[return-value]
