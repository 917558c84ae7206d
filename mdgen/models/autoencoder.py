"""Autoencoders with diagonal Gaussian latents. Both kinds answer `encode(x).latent_dist` and `decode(z).sample`.

`PatchAutoencoder` folds every patch of pixels into channels first (space-to-depth), so that all convolutions run on
the small latent grid: on a CPU that is several times the training of diffusers' `AutoencoderKL` per second, which is
the other choice and the one for GPUs.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from scipy.fft import dct
from torch import Tensor, nn

from mdgen.config import AutoencoderConfig

#: Log variance of the latents before training: noise that a picture in [-1, 1] hardly shows.
STARTING_LOG_VARIANCE = -5.0


class ResidualBlock(nn.Module):
    """GroupNorm - SiLU - 3x3 convolution, twice, around an identity; the last convolution starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        return x + self.conv2(nn.functional.silu(self.norm2(h)))


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """KL autoencoder that works on patches: [N, C, H, W] -> latents [N, latent_channels, H/patch, W/patch].

    floor_margin: pixels at the floor, -1, are clipped: all that is known is that they lie at or below it. They are
    encoded as -1 - floor_margin, so that latents a little off still decode to the floor, once clamped, not to haze.

    A linear path from patch to latent and back runs beside the convolutions. It starts as the cosine transform of the
    patch (its `latent_channels` lowest frequencies), so training starts from a sensible code and spends its steps on
    what a linear one cannot say. Speckle is independent from cell to cell and cannot be compressed: with as many
    latents as pixels (latent_channels = patch * patch) the start is lossless and texture survives, with fewer it blurs.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        latent_channels: int = 8,
        patch: int = 4,
        channels: int = 64,
        blocks: int = 2,
        floor_margin: float = 0.0,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        folded = in_channels * patch * patch
        self.fold = nn.PixelUnshuffle(patch)
        self.unfold = nn.PixelShuffle(patch)
        self.encoder_in = nn.Conv2d(folded, channels, 3, padding=1)
        self.encoder_blocks = nn.Sequential(*[ResidualBlock(channels) for _ in range(blocks)])
        self.encoder_out = nn.Conv2d(channels, 2 * latent_channels, 3, padding=1)
        self.encoder_linear = nn.Conv2d(folded, latent_channels, 1)
        self.decoder_linear = nn.Conv2d(latent_channels, folded, 1)
        self.decoder_in = nn.Conv2d(latent_channels, channels, 3, padding=1)
        self.decoder_blocks = nn.Sequential(*[ResidualBlock(channels) for _ in range(blocks)])
        self.decoder_out = nn.Conv2d(channels, folded, 3, padding=1)
        self._start_linear(in_channels, patch, latent_channels)

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """The posterior over latents of images [N, C, H, W] in [-1, 1]."""
        folded = self.fold(torch.where(x <= -1, x - self.config.floor_margin, x))
        mean, logvar = self.encoder_out(self.encoder_blocks(self.encoder_in(folded))).chunk(2, dim=1)
        moments = torch.cat([mean + self.encoder_linear(folded), logvar], dim=1)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments))

    def decode(self, z: Tensor) -> DecoderOutput:
        """Images of latents; not clamped, so that a loss sees how far they overshoot."""
        residual = self.decoder_out(self.decoder_blocks(self.decoder_in(z)))
        return DecoderOutput(sample=self.unfold(self.decoder_linear(z) + residual))

    @torch.no_grad()
    def _start_linear(self, in_channels: int, patch: int, latent_channels: int) -> None:
        """Linear path = orthonormal DCT-II, lowest frequencies first; the convolutions start silent beside it."""
        basis = torch.from_numpy(dct(np.eye(patch), norm="ortho", axis=0)).float()  # (frequency, pixel)
        waves = torch.einsum("up,vq->uvpq", basis, basis).reshape(patch * patch, patch * patch)
        order = torch.tensor(sorted(range(patch * patch), key=lambda i: (i // patch + i % patch, i)))
        channels = torch.eye(in_channels)
        rows = torch.stack([torch.kron(channels[c], waves[i]) for i in order for c in range(in_channels)])
        rows = rows[:latent_channels]
        self.encoder_linear.weight.zero_()[: len(rows), :, 0, 0] = rows
        self.decoder_linear.weight.zero_()[:, : len(rows), 0, 0] = rows.T
        for layer in (self.encoder_linear, self.decoder_linear, self.decoder_out):
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.decoder_out.weight)
        nn.init.zeros_(self.encoder_out.weight)
        nn.init.constant_(self.encoder_out.bias, 0.0)
        self.encoder_out.bias[latent_channels:] = STARTING_LOG_VARIANCE


def build_autoencoder(config: AutoencoderConfig, in_channels: int) -> PatchAutoencoder | AutoencoderKL:
    """The autoencoder of a recipe for pictures of `in_channels`."""
    if config.kind == "patch":
        return PatchAutoencoder(
            in_channels=in_channels,
            latent_channels=config.latent_channels,
            patch=config.downsample,
            channels=config.channels,
            blocks=config.blocks,
            floor_margin=config.floor_margin,
        )
    levels = config.downsample.bit_length()
    return AutoencoderKL(
        in_channels=in_channels,
        out_channels=in_channels,
        latent_channels=config.latent_channels,
        block_out_channels=tuple(config.channels * min(2**i, 4) for i in range(levels)),
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=config.blocks,
        norm_num_groups=8,
    )


def kl_per_dimension(posterior: DiagonalGaussianDistribution) -> Tensor:
    """KL divergence to the unit Gaussian in nats, for every latent dimension [N, C, h, w] (Kingma & Welling 2014)."""
    return 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar)


def normalise_latents(autoencoder: PatchAutoencoder | AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents with the measured per-channel mean and deviation of the training set taken out: about N(0, 1)."""
    mean, std = _latent_statistics(autoencoder, latents)
    return (latents - mean) / std


def denormalise_latents(autoencoder: PatchAutoencoder | AutoencoderKL, latents: Tensor) -> Tensor:
    """The inverse of `normalise_latents`."""
    mean, std = _latent_statistics(autoencoder, latents)
    return latents * std + mean


def _latent_statistics(autoencoder: PatchAutoencoder | AutoencoderKL, like: Tensor) -> tuple[Tensor, Tensor]:
    """The statistics measured after stage 1, each [1, C, 1, 1]; never a constant borrowed from another model."""
    mean, std = autoencoder.config.latents_mean, autoencoder.config.latents_std
    if mean is None or std is None:
        raise ValueError("the autoencoder has no latent statistics; stage 1 did not finish")
    return tuple(torch.tensor(v, dtype=like.dtype, device=like.device).view(1, -1, 1, 1) for v in (mean, std))  # type: ignore[return-value]
