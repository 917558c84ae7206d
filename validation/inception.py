"""FID and Inception score by torch-fidelity. The only file that imports it; without the weights both are unavailable.

The network is the one of the original FID (TensorFlow, 2015-12-05). Nothing is downloaded unless that is allowed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mdgen.errors import MdgenError
from validation.distances import frechet_distance
from validation.network import resolve_device

WEIGHTS_NAME = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS_NAME}"
BATCH = 32


class InceptionUnavailable(MdgenError):
    """FID and Inception score cannot be computed here; the text says why and what to do."""


@dataclass(frozen=True)
class InceptionFeatures:
    """pool: float64 [N, 2048]; logits: float64 [N, 1008] without bias."""

    pool: np.ndarray
    logits: np.ndarray


def default_weights() -> Path:
    """Where torch-fidelity itself would look: under `$TORCH_HOME`, else under the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = Path(os.environ.get("TORCH_HOME", cache / "torch"))
    return home / "hub" / "checkpoints" / WEIGHTS_NAME


def find_weights(path: Path | None = None, allow_download: bool = False) -> Path:
    """The weights file: `path`, else the default place, else a download if allowed. Raises `InceptionUnavailable`."""
    place = path or default_weights()
    if place.is_file():
        return place
    if path is None and allow_download:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(WEIGHTS_URL, str(place), hash_prefix="6726825d", progress=False)
            return place
        except (OSError, RuntimeError) as error:
            raise InceptionUnavailable(f"the Inception weights could not be downloaded ({error})") from error
    raise InceptionUnavailable(
        f"the Inception weights are not here: put {WEIGHTS_NAME} (95.7 MB, from {WEIGHTS_URL}) at {place}, "
        "or name its path or allow the download in the settings"
    )


class InceptionEncoder:
    """The FID network. images float32 [N, C, H, W] in [-1, 1], gray or colour -> `InceptionFeatures`."""

    def __init__(self, weights: Path, device: str = "auto") -> None:
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises half a dozen kinds for a damaged or unsafe file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InceptionUnavailable(f"{weights}: is not a safe file of weights ({reason}); fetch it anew") from error
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:
            raise InceptionUnavailable(
                f"torch-fidelity cannot be imported ({error}); torch and torchvision must match: "
                "pip install --upgrade torch torchvision torch-fidelity in one command"
            ) from error
        del state
        self.device = resolve_device(device)
        try:
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(weights)
            )
        except (RuntimeError, AttributeError, TypeError) as error:
            raise InceptionUnavailable(f"{weights}: does not fit the Inception of FID; fetch {WEIGHTS_NAME}") from error
        self.network = network.to(self.device)

    def __call__(self, images: np.ndarray) -> InceptionFeatures:
        """Pixels are rounded to 8 bits and gray is repeated to three channels, for real and synthetic alike."""
        parts = [self._batch(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        return InceptionFeatures(*(np.concatenate(p) for p in zip(*parts, strict=True)))

    def _batch(self, images: np.ndarray) -> list[np.ndarray]:
        pixels = torch.from_numpy(np.round((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8))
        with torch.inference_mode():
            outputs = self.network(pixels.expand(-1, 3, -1, -1).to(self.device))
        named = dict(zip(self.network.features_list, outputs, strict=True))
        return [named[name].double().cpu().numpy() for name in ("2048", "logits_unbiased")]


def inception_fid(a: InceptionFeatures, b: InceptionFeatures) -> float:
    """Frechet distance of the pooled features. Equals torch-fidelity's, without its singular matrices at small N."""
    return frechet_distance(a.pool, b.pool)


def inception_score(features: InceptionFeatures) -> float:
    """exp of the mean divergence of p(class | image) from p(class) (Salimans et al. 2016); ten parts from 1000 on."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    splits = 10 if len(features.logits) >= 1000 else 1
    return float(isc_features_to_metric(torch.from_numpy(features.logits), splits=splits)[KEY_METRIC_ISC_MEAN])
