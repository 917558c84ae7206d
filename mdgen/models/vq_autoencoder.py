"""Vector-quantised autoencoder (van den Oord et al. 2017): every latent cell is decoded as the nearest of some codes.

Own code beside diffusers' `VQModel`, whose commitment weight lies on the wrong term and cannot be moved, which reports
no use of its codes, and whose codes can neither be averages nor start anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn
from torch.nn import functional as F

from mdgen.models.blocks import Normalisation, ResidualBlock, normalisation
from mdgen.models.latents import point_posterior

#: Latent cells compared with all codes at a time.
_COMPARED_AT_ONCE = 2048


@dataclass(frozen=True)
class Quantised:
    """latents: [N, D, h, w], codes in value and the unquantised latents in gradient (straight-through).

    codes: int64 [N, h, w]. codebook_loss, commitment_loss: mean squared distance of latents and codes; the first gives
    its gradient to the codes alone, the second to the latents alone.
    """

    latents: Tensor
    codes: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor


class Codebook(nn.Module):
    """`size` codes of `dim` numbers. `usage` is the running count of cells a step that chose each code."""

    usage: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.empty(size, dim).uniform_(-1 / size, 1 / size))
        self.register_buffer("usage", torch.zeros(size))

    def forward(self, latents: Tensor) -> Quantised:
        """Latents [N, D, h, w] with each cell replaced by its nearest code, in float32."""
        cells = latents.float().movedim(1, -1)  # (N, h, w, D)
        codes = self.nearest(cells.reshape(-1, cells.shape[-1])).view(cells.shape[:-1])
        chosen = self.codes[codes]
        through = cells + (chosen - cells).detach()
        return Quantised(
            through.movedim(-1, 1),
            codes,
            F.mse_loss(chosen, cells.detach()),
            F.mse_loss(cells, chosen.detach()),
        )

    @torch.no_grad()
    def nearest(self, cells: Tensor) -> Tensor:
        """int64 [M]: for each of cells [M, D] the index of the code nearest to it."""
        with torch.autocast(cells.device.type, enabled=False):
            squares = self.codes.square().sum(1)
            parts = [squares - 2 * part @ self.codes.T for part in cells.split(_COMPARED_AT_ONCE)]
            return torch.cat([part.argmin(1) for part in parts])

    def look_up(self, codes: Tensor) -> Tensor:
        """float32 [N, D, h, w] of indices [N, h, w]."""
        return self.codes[codes].movedim(-1, 1)


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of codes used so often: how many an even use would take; 0 for no use at all."""
    share = counts / counts.sum().clamp(min=1e-12)
    return torch.where(counts.sum() > 0, torch.special.entr(share).sum().exp(), 0.0)


class VQAutoencoder(ModelMixin, ConfigMixin):
    """[N, C, H, W] -> latents [N, latent_channels, H/downsample, W/downsample] before quantisation, and back.

    Down blocks: 4x4 convolution of stride 2, normalisation, LeakyReLU 0.2, residual blocks; up blocks mirror them.
    `encode` gives latents as they are, for stage 2 to learn; `decode` quantises them first: that forgives small errors.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        latent_channels: int = 256,
        downsample: int = 16,
        channels: int = 64,
        blocks: int = 2,
        norm: Normalisation = "group",
        codebook_size: int = 8192,
        sample_size: tuple[int, int] | None = None,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        levels = downsample.bit_length() - 1
        widths = [channels * min(2**level, 4) for level in range(levels)]
        self.encoder = nn.Sequential(
            *[
                _changed(nn.Conv2d(before, width, 4, 2, 1), width, blocks, norm)
                for before, width in zip([in_channels, *widths], widths, strict=False)
            ]
        )
        self.encoder_out = nn.Conv2d(widths[-1], latent_channels, 1)
        self.codebook = Codebook(codebook_size, latent_channels)
        self.decoder_in = nn.Conv2d(latent_channels, widths[-1], 3, padding=1)
        self.decoder = nn.Sequential(
            *[
                nn.Sequential(
                    *[ResidualBlock(width, norm) for _ in range(blocks)],
                    *_changed(nn.ConvTranspose2d(width, after, 4, 2, 1), after, 0, norm),
                )
                for width, after in zip(widths[::-1], [*widths[-2::-1], widths[0]], strict=True)
            ]
        )
        self.decoder_out = nn.Conv2d(widths[0], in_channels, 3, padding=1)

    @property
    def last_layer(self) -> nn.Parameter:
        return self.decoder_out.weight

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        """Latents of images [N, C, H, W] in [-1, 1], before quantisation, without spread."""
        return AutoencoderKLOutput(latent_dist=point_posterior(self.encoder_out(self.encoder(x))))

    def decode(self, z: Tensor) -> DecoderOutput:
        """Images of latents, each cell taken as its nearest code; not clamped."""
        return self.decode_quantised(self.codebook(z).latents)

    def decode_quantised(self, latents: Tensor) -> DecoderOutput:
        """Images of latents that are codes already."""
        return DecoderOutput(sample=self.decoder_out(self.decoder(self.decoder_in(latents))))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions."""
        return self.decode(self.encode(x).latent_dist.mean).sample


def _changed(convolution: nn.Module, channels: int, blocks: int, norm: Normalisation) -> nn.Sequential:
    """A convolution that changes the size, and what follows it."""
    residual = [ResidualBlock(channels, norm) for _ in range(blocks)]
    return nn.Sequential(convolution, normalisation(norm, channels), nn.LeakyReLU(0.2), *residual)
