"""Real or reconstructed: a patch discriminator and its losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdgen.errors import MdgenError

#: Layers of stride 2 for each receptive field.
_STRIDED = {16: 1, 34: 2, 70: 3}


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017): each logit [N, 1, h, w] judges a patch of `receptive_field` pixels a side.

    4x4 convolutions, the last two of stride 1. Spectral norm (Miyato et al. 2018) in the place of BatchNorm, so that
    the judgement of a picture does not depend on its batch.
    """

    def __init__(self, in_channels: int, channels: int = 64, receptive_field: int = 70) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.receptive_field, self.strided = receptive_field, _STRIDED[receptive_field]
        widths = [channels * min(2**i, 8) for i in range(self.strided + 1)]
        layers: list[nn.Module] = []
        for i, (before, width) in enumerate(zip([in_channels, *widths], widths, strict=False)):
            layers += [norm(nn.Conv2d(before, width, 4, 2 if i < self.strided else 1, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def require_size(self, height: int, width: int) -> None:
        """Raise `MdgenError` for pictures too small to leave a logit."""
        smallest = 3 * 2**self.strided
        if min(height, width) < smallest:
            raise MdgenError(
                f"autoencoder.adversarial.receptive_field={self.receptive_field} needs pictures of {smallest} pixels "
                f"or more, these are {height}x{width}; use a smaller one ({', '.join(map(str, _STRIDED))})"
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Hinge loss of a discriminator (Lim & Ye 2017)."""
    return 0.5 * (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean())


def gradient_penalty(real_logits: Tensor, images: Tensor) -> Tensor:
    """R1: half the squared gradient of the logits by real images that require one (Mescheder et al. 2018, eq. 9)."""
    (gradient,) = torch.autograd.grad(real_logits.sum(), images, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def lecam(real_logits: Tensor, fake_logits: Tensor, real_mean: Tensor, fake_mean: Tensor) -> Tensor:
    """Squared distance of logits to the running mean of the other side's (Tseng et al. 2021, eq. 3)."""
    return (real_logits - fake_mean).square().mean() + (fake_logits - real_mean).square().mean()
