"""The family of autoencoders. All answer `encode(x).latent_dist` and `decode(z).sample`, latents [N, C, h, w].

Those that take pictures of any size keep in `sample_size` (height, width) that of the pictures they were trained on.

| kind | class | latents |
|---|---|---|
| patch | `PatchAutoencoder` | Gaussian, on a grid; cheap on a CPU |
| kl | diffusers' `AutoencoderKL` | Gaussian, on a grid; for GPUs |
| vq | `VQAutoencoder` | before quantisation, on a grid |
| vector | `VectorAutoencoder` | Gaussian, one vector: [N, C, 1, 1] |
| none | `PixelAutoencoder` | the pixels |
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn

from mdgen.config import AutoencoderConfig
from mdgen.errors import MdgenError
from mdgen.models.latents import point_posterior
from mdgen.models.patch_autoencoder import PatchAutoencoder
from mdgen.models.vector_autoencoder import VectorAutoencoder
from mdgen.models.vq_autoencoder import VQAutoencoder


class PixelAutoencoder(ModelMixin, ConfigMixin):
    """No autoencoder: latents are the pixels, as they are in [-1, 1], so that samplers may clip them there."""

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
        sample_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        # Tells the device, and makes a weights file that can be hashed and read back.
        self.register_buffer("pixel_range", torch.tensor([-1.0, 1.0]))

    def encode(self, x: Tensor) -> AutoencoderKLOutput:
        return AutoencoderKLOutput(latent_dist=point_posterior(x))

    def decode(self, z: Tensor) -> DecoderOutput:
        return DecoderOutput(sample=z)


#: All classes, to find the one that a saved folder names.
AUTOENCODERS = (PatchAutoencoder, AutoencoderKL, VQAutoencoder, VectorAutoencoder, PixelAutoencoder)


def build_autoencoder(
    config: AutoencoderConfig, picture_shape: tuple[int, int, int], floor: tuple[float, float] = (-1.0, -1.0)
) -> nn.Module:
    """The autoencoder of a recipe for pictures (C, H, W) with such a `floor`; raises `MdgenError` for a size it cannot
    halve so often."""
    in_channels, height, width = picture_shape
    if config.kind in ("patch", "kl", "vq") and (height % config.downsample or width % config.downsample):
        raise MdgenError(
            f"autoencoder.downsample={config.downsample} does not divide pictures of {height}x{width}; choose another "
            "one, or import with another --size"
        )
    if config.kind == "none":
        return PixelAutoencoder(in_channels, [0.0] * in_channels, [1.0] * in_channels, (height, width))
    if config.kind == "patch":
        return PatchAutoencoder(
            in_channels=in_channels,
            latent_channels=config.latent_channels,
            patch=config.downsample,
            channels=config.channels,
            blocks=config.blocks,
            floor_margin=config.floor_margin,
            floor=floor,
            sample_size=(height, width),
        )
    if config.kind == "vq":
        return VQAutoencoder(
            in_channels=in_channels,
            latent_channels=config.latent_channels,
            downsample=config.downsample,
            channels=config.channels,
            blocks=config.blocks,
            norm=config.normalisation,
            codebook_size=config.codebook.size,
            sample_size=(height, width),
        )
    if config.kind == "vector":
        return VectorAutoencoder(
            in_channels=in_channels,
            sample_size=(height, width),
            latent_channels=config.latent_channels,
            channels=config.channels,
            blocks=config.blocks,
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
        sample_size=(height, width),  # type: ignore[arg-type]
    )


def last_layer(autoencoder: nn.Module) -> nn.Parameter:
    """The weights that make pixels of the decoder's last features."""
    return autoencoder.decoder.conv_out.weight if isinstance(autoencoder, AutoencoderKL) else autoencoder.last_layer  # type: ignore[return-value]


def works_on_pixels(autoencoder: nn.Module) -> bool:
    """Whether latents are pixels, so that samples may be clipped to [-1, 1] on the way."""
    return isinstance(autoencoder, PixelAutoencoder)
