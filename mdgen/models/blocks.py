"""Small parts that several networks are built of."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Normalisation = Literal["group", "batch"]


def normalisation(kind: Normalisation, channels: int) -> nn.Module:
    """GroupNorm of 8 groups, or BatchNorm, whose statistics depend on how a batch is cut up."""
    return nn.GroupNorm(8, channels) if kind == "group" else nn.BatchNorm2d(channels)


class ResidualBlock(nn.Module):
    """Normalisation - SiLU - 3x3 convolution, twice, around an identity; the last convolution starts at zero."""

    def __init__(self, channels: int, norm: Normalisation = "group") -> None:
        super().__init__()
        self.norm1 = normalisation(norm, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = normalisation(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(nn.functional.silu(self.norm1(x)))
        return x + self.conv2(nn.functional.silu(self.norm2(h)))
