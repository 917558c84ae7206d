"""Autoencoder that folds every patch of pixels into channels first (space-to-depth).

All its convolutions run on the small latent grid: on a CPU that is several times the training of diffusers'
`AutoencoderKL` per second.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from scipy.fft import dct
from torch import Tensor, nn

from mdgen.models.blocks import ResidualBlock
from mdgen.models.latents import STARTING_LOG_VARIANCE

#: Of 255: the peak of a floor lies below the first of these levels, and is narrower than the second.
FLOOR_PEAK, FLOOR_WIDTH = 6, 16
#: What a floor's pixels differ by is of no use, and latents a little off make it greater.
FLOOR_CONTRAST = 0.05


def find_floor(images: np.ndarray) -> tuple[float, float]:
    """Typical and highest level of the floor of `images`: the peak at the low end of their histogram, and where the
    histogram is lowest behind it. -1 and -1 where the floor is clipped cleanly, or where there is none."""
    levels = np.bincount(np.round((images.ravel() + 1) * 127.5).astype(int).clip(0, 255), minlength=256)
    peak = int(levels[:FLOOR_PEAK].argmax())
    end = peak + int(levels[peak : peak + FLOOR_WIDTH].argmin())
    clean = np.count_nonzero(images <= -1) > 0.5 * levels[: end + 1].sum()
    none = clean or levels[peak] < 0.1 * images.size
    return (-1.0, -1.0) if none else (peak / 127.5 - 1, (end + 0.5) / 127.5 - 1)


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """KL autoencoder that works on patches: [N, C, H, W] -> latents [N, latent_channels, H/patch, W/patch].

    floor: the typical and the highest level of pixels at the floor (`find_floor`); both are -1 but where pictures went
    through a lossy format. Such pixels are clipped: all that is known is that they lie at or below the floor. They are
    encoded lower by floor_margin, so that latents a little off still decode to the floor, not to haze, and come back
    with `FLOOR_CONTRAST` of their differences from the typical level.

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
        floor: tuple[float, float] = (-1.0, -1.0),
        sample_size: tuple[int, int] | None = None,
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

    @property
    def last_layer(self) -> nn.Parameter:
        return self.decoder_out.weight

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """The posterior over latents of images [N, C, H, W] in [-1, 1]."""
        folded = self.fold(torch.where(x <= self.config.floor[1], x - self.config.floor_margin, x))
        mean, logvar = self.encoder_out(self.encoder_blocks(self.encoder_in(folded))).chunk(2, dim=1)
        moments = torch.cat([mean + self.encoder_linear(folded), logvar], dim=1)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments))

    def decode(self, z: Tensor) -> DecoderOutput:
        """Images of latents; not clamped, so that a loss sees how far they overshoot."""
        residual = self.decoder_out(self.decoder_blocks(self.decoder_in(z)))
        x = self.unfold(self.decoder_linear(z) + residual)
        return DecoderOutput(sample=self._floored(x) if self.config.floor_margin else x)

    def _floored(self, x: Tensor) -> Tensor:
        """Pixels below the gap between floor and signal, back at the floor."""
        (typical, highest), margin = self.config.floor, self.config.floor_margin
        floor = typical + FLOOR_CONTRAST * (x + margin - typical)
        return torch.where(x <= highest - margin / 2, floor.clamp(max=highest), x)

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
