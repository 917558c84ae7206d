"""Autoencoder with one Gaussian vector a picture and no map of it: [N, C, H, W] -> latents [N, D, 1, 1]."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn

from mdgen.models.blocks import ResidualBlock
from mdgen.models.latents import STARTING_LOG_VARIANCE

#: Sides up to this many pixels are not halved any more before they are flattened.
_SMALLEST_SIDE = 7


class VectorAutoencoder(ModelMixin, ConfigMixin):
    """Convolutions that halve `sample_size` (height, width) while they can, one linear layer, and the same back."""

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        sample_size: tuple[int, int] = (32, 32),
        latent_channels: int = 128,
        channels: int = 64,
        blocks: int = 1,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        height, width = sample_size
        widths: list[int] = []
        while min(height, width) > _SMALLEST_SIDE and height % 2 == 0 and width % 2 == 0:
            widths.append(channels * min(2 ** len(widths), 4))
            height, width = height // 2, width // 2
        levels = list(zip([channels, *widths], widths, strict=False))
        self.folded = (levels[-1][1] if levels else channels, height, width)
        flat = self.folded[0] * height * width
        self.encoder_in = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.encoder = nn.Sequential(
            *[nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), *_residual(b, blocks), nn.SiLU()) for a, b in levels]
        )
        self.encoder_out = nn.Linear(flat, 2 * latent_channels)
        self.decoder_in = nn.Linear(latent_channels, flat)
        self.decoder = nn.Sequential(
            *[
                nn.Sequential(*_residual(b, blocks), nn.SiLU(), nn.ConvTranspose2d(b, a, 4, 2, 1))
                for a, b in reversed(levels)
            ]
        )
        self.decoder_out = nn.Conv2d(channels, in_channels, 3, padding=1)
        with torch.no_grad():
            self.encoder_out.weight[latent_channels:].zero_()
            self.encoder_out.bias[latent_channels:] = STARTING_LOG_VARIANCE

    @property
    def last_layer(self) -> nn.Parameter:
        return self.decoder_out.weight

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """The posterior over vectors [N, D, 1, 1] of images [N, C, H, W] in [-1, 1]."""
        moments = self.encoder_out(self.encoder(self.encoder_in(x)).flatten(1))
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments[..., None, None]))

    def decode(self, z: Tensor) -> DecoderOutput:
        """Images of vectors; not clamped."""
        h = self.decoder_in(z.flatten(1)).unflatten(1, self.folded)
        return DecoderOutput(sample=self.decoder_out(self.decoder(h)))


def _residual(channels: int, blocks: int) -> list[nn.Module]:
    return [ResidualBlock(channels) for _ in range(blocks)]
