"""The one small network of the judges: convolutions beside a gait descriptor, and augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MAX_SHIFT = 8
EMBEDDING = 128
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
FREQUENCIES = 15


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread, as many as before afterwards.

    These networks are too small to share among cores, and stall tenfold when the cores are busy. One thread also makes
    the result independent of the number of cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def seeded_thread(seed: int) -> Iterator[None]:
    """`one_thread` with torch's generator started from `seed` and put back afterwards."""
    with torch.random.fork_rng(), one_thread():
        torch.manual_seed(seed)
        yield


def shrink(images: np.ndarray, side: int) -> np.ndarray:
    """float32 [N, C, H, W] averaged down so that no side exceeds `side`; smaller images stay as they are."""
    height, width = images.shape[-2:]
    if max(height, width) <= side:
        return np.ascontiguousarray(images, np.float32)
    size = (min(height, side), min(width, side))
    parts = [F.adaptive_avg_pool2d(torch.from_numpy(images[i : i + 64]), size) for i in range(0, len(images), 64)]
    return torch.cat(parts).numpy()


class Augment(nn.Module):
    """While training: a shift in time with the edge repeated, a gain, and noise. Never a flip. [N, C, H, W] -> same.

    Weak on purpose: the floor at -1 stays a floor, and noise on it would teach the judge to look at nothing fine.
    """

    def __init__(self, max_shift: int = MAX_SHIFT, gain: float = 0.03, noise: float = 0.01) -> None:
        super().__init__()
        self.max_shift, self.gain, self.noise = max_shift, gain, noise

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        count, _, _, width = x.shape
        shift = torch.randint(-self.max_shift, self.max_shift + 1, (count, 1), device=x.device)
        columns = (torch.arange(width, device=x.device) + shift).clamp(0, width - 1)  # (N, W)
        x = x.gather(3, columns[:, None, None, :].expand_as(x))
        x = x + self.gain * torch.randn(count, 1, 1, 1, device=x.device)
        return (x + self.noise * torch.randn_like(x)).clamp(-1, 1)


class GaitDescriptor(nn.Module):
    """What does not depend on when the window starts: for every Doppler row, quantiles over time and the log magnitude
    of its first temporal frequencies. [N, C, H, W] -> [N, H * (5 + frequencies)]; the mean over channels is taken."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.frequencies = min(FREQUENCIES, width // 2)
        self.places = [int(width * q) for q in QUANTILES]
        self.features = height * (len(QUANTILES) + self.frequencies)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.mean(dim=1)  # (N, H, W)
        quantiles = _sorted(rows)[:, :, self.places]
        spectrum = torch.fft.rfft(rows - rows.mean(dim=2, keepdim=True), dim=2).abs()[:, :, 1 : self.frequencies + 1]
        return torch.cat([quantiles.flatten(1), torch.log1p(spectrum).flatten(1)], dim=1)


def _sorted(rows: torch.Tensor) -> torch.Tensor:
    """`rows` in ascending order along the last axis; by NumPy where it can, twenty times as fast on a processor."""
    if rows.requires_grad or rows.device.type != "cpu":
        return rows.sort(dim=-1).values
    return torch.from_numpy(np.sort(rows.numpy(), axis=-1))


def _block(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


class Trunk(nn.Module):
    """Images of `shape` (C, H, W) -> [N, 128]: half from convolutions, half from the gait descriptor.

    The convolutions see local shape and keep eight Doppler bands apart; the descriptor sees cadence and reach, which
    a few hundred windows do not teach convolutions.
    """

    def __init__(self, shape: tuple[int, int, int] = (1, 64, 64), width: int = 16, dropout: float = 0.5) -> None:
        super().__init__()
        channels, height, columns = shape
        self.augment = Augment()
        self.local = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _block(width, 2 * width, 2),
            _block(2 * width, 4 * width, 2),
            _block(4 * width, 4 * width, 1),
            nn.AdaptiveAvgPool2d((8, 1)),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(32 * width, EMBEDDING // 2),
        )
        descriptor = GaitDescriptor(height, columns)
        self.gait = nn.Sequential(
            descriptor,
            nn.BatchNorm1d(descriptor.features, affine=False),
            nn.Dropout(dropout),
            nn.Linear(descriptor.features, EMBEDDING // 2),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.augment(x)
        local = self.local(x.contiguous(memory_format=torch.channels_last))
        return torch.cat([local, self.gait(x)], dim=1)


class Classifier(nn.Module):
    """Trunk and one linear layer: [N, C, H, W] -> logits [N, users]. About 0.2 M parameters at 64 x 64."""

    def __init__(self, users: int = 2, shape: tuple[int, int, int] = (1, 64, 64), augment: bool = True) -> None:
        super().__init__()
        self.trunk = Trunk(shape)
        if not augment:
            self.trunk.augment = nn.Identity()
        self.head = nn.Linear(EMBEDDING, users)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(x))
