"""Latents of all training windows, encoded once: a file that is mapped, so that memory does not grow with the data."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.models.autoencoder import works_on_pixels
from mdgen.models.latents import latent_statistics, normalise_latents
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.training.checkpoint import MANIFEST, replacing_folder, verify

#: Windows encoded at a time.
_ENCODED_AT_ONCE = 128


class MappedRows:
    """A `.npy` file of which rows are read as they are needed; pages read are given back at once."""

    def __init__(self, file: Path) -> None:
        with open(file, "rb") as stream:
            np.lib.format.read_magic(stream)
            self.shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            self._mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._array = np.frombuffer(self._mapping, dtype, offset=stream.tell()).reshape(self.shape)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """A copy of these rows."""
        values = self._array[rows]
        if hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)
        return values


class Latents(Protocol):
    """Where latents come from."""

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w)."""
        ...

    def sample(self, views: np.ndarray, generator: torch.Generator) -> Tensor:
        """float32 [N, C, h, w]: latents of these views, drawn afresh from their posteriors."""
        ...


@dataclass(frozen=True)
class LatentCache:
    """Normalised posterior mean and deviation, float16 [views, C, h, w], of every view of every training window."""

    mean: MappedRows
    std: MappedRows

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.mean.shape[1:]

    def sample(self, views: np.ndarray, generator: torch.Generator) -> Tensor:
        mean, std = (torch.from_numpy(rows[views]).float() for rows in (self.mean, self.std))
        return mean + std * torch.randn(mean.shape, generator=generator)


@dataclass(frozen=True)
class PixelLatents:
    """Pixels in the place of latents: cut from the windows as they are needed, no second copy on the disk."""

    windows: WindowCutter

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.windows.cut(self.windows.views[0]).shape
        return channels, height, width

    def sample(self, views: np.ndarray, generator: torch.Generator) -> Tensor:
        return torch.from_numpy(np.stack([self.windows.cut(self.windows.views[view]) for view in views]))


@dataclass(frozen=True)
class RandomLatents:
    """In the place of latents that are not there (yet): to time a step, or to test one."""

    latent_shape: tuple[int, int, int]

    def sample(self, views: np.ndarray, generator: torch.Generator) -> Tensor:
        return torch.randn(len(views), *self.latent_shape, generator=generator)


def latents_of(autoencoder: nn.Module, windows: WindowCutter, folder: Path, fingerprint: str) -> Latents:
    """What stage 2 learns: the pixels themselves, or latents of every view, encoded once."""
    if works_on_pixels(autoencoder):
        return PixelLatents(windows)
    return cached_latents(autoencoder, windows, folder, fingerprint)


def cached_latents(autoencoder: nn.Module, windows: WindowCutter, folder: Path, fingerprint: str) -> LatentCache:
    """Latents of every view, from `folder` where its fingerprint and hashes fit, else encoded and stored there.

    fingerprint: of everything the latents depend on, data and weights.
    """
    if not _fits(folder, fingerprint):
        with replacing_folder(folder, {"fingerprint": fingerprint}) as temporary:
            _encode_all(autoencoder, windows, temporary)
    return LatentCache(MappedRows(folder / "mean.npy"), MappedRows(folder / "std.npy"))


@torch.no_grad()
def encode(autoencoder: nn.Module, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Normalised posterior mean and deviation, each [N, C, h, w] on the CPU, of images [N, C, H, W]."""
    posterior = autoencoder.encode(torch.from_numpy(images).to(autoencoder.device)).latent_dist  # type: ignore[operator, arg-type]
    _, scale = latent_statistics(autoencoder, posterior.mean)
    return normalise_latents(autoencoder, posterior.mean).cpu(), (posterior.std / scale).cpu()


def require_size(pipeline: MicroDopplerPipeline, data: SpectrogramSet) -> None:
    """Raise `MdgenError` where pictures of `data` are not of the size [C, H, W] that the pipeline makes."""
    made = pipeline.decode(torch.zeros(1, *pipeline.config.latent_shape, device=pipeline.device))[0]
    data.require_shape(made.shape, "the run")


def _fits(folder: Path, fingerprint: str) -> bool:
    try:
        verify(folder)
        return json.loads((folder / MANIFEST).read_text())["fingerprint"] == fingerprint
    except (OSError, ValueError, KeyError):
        return False


def _encode_all(autoencoder: nn.Module, windows: WindowCutter, folder: Path) -> None:
    count = len(windows.views)
    with open(folder / "mean.npy", "wb") as mean_file, open(folder / "std.npy", "wb") as std_file:
        for views in _batches(count, _ENCODED_AT_ONCE):
            parts = encode(autoencoder, np.stack([windows.cut(windows.views[view]) for view in views]))
            for file, part in zip((mean_file, std_file), parts, strict=True):
                rows = part.half().numpy()
                if views.start == 0:
                    header = {"descr": rows.dtype.str, "fortran_order": False, "shape": (count, *rows.shape[1:])}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(rows.tobytes())


def _batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
