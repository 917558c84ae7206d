"""Block: FID and Inception score. The only file that imports torch-fidelity; without the weights both are unavailable.

The network is the one of the original FID (TensorFlow, 2015-12-05). Nothing is downloaded unless that is allowed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import rel_entr, softmax

from mdgen.device import resolve_device
from validation.cache import cache_key
from validation.findings import Finding
from validation.measures.distances import frechet_distance
from validation.networks.encoders import Encoder, EncoderUnavailable
from validation.results import ADVISORY, FAIL, PASS, UNAVAILABLE, Gate, Metric
from validation.rules import Rule

if TYPE_CHECKING:
    from validation.context import Context

NAME = "inception_v3"
WEIGHTS_NAME = "weights-inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS_NAME}"
BATCH = 32


class InceptionUnavailable(EncoderUnavailable):
    """The Inception network cannot be had here; the text says why and what to do."""


@dataclass(frozen=True)
class InceptionResult:
    """FID of test to synthetic and to train at the same `n`; scores of synthetic and of real images."""

    fid: float
    fid_real: float
    score: float
    score_real: float
    n: int


def assess_inception(context: Context) -> Finding:
    """Gates `fid` and `inception_score`, unavailable where the weights are not here."""
    title, intro = "Inception", "Numbers of the reference system, on a network that knows photographs and no radar."
    rules = context.rules["fid"], context.rules["inception_score"]
    try:
        found = measure_inception(context)
    except InceptionUnavailable as missing:
        gates = [
            Gate(name, UNAVAILABLE, threshold=rule["threshold"], note=str(missing))
            for name, rule in zip(("fid", "inception_score"), rules, strict=True)
        ]
        return Finding(title, intro, gates)
    return Finding(title, intro, [fid_gate(found, rules[0]), inception_score_gate(found, rules[1])], _rows(found))


def measure_inception(context: Context) -> InceptionResult:
    """FID and scores at equal N. Raises `InceptionUnavailable` without weights, or with fewer than two images."""
    sets, settings, rng = context.sets, context.settings, context.rng("inception")
    count = min(settings.max_inception_images, len(sets.test), len(sets.train), len(sets.synthetic))
    if count < 2:
        raise InceptionUnavailable("fewer than two images in one of the sets")
    context.encoder(NAME)
    drawn = (
        data.select(np.sort(rng.permutation(len(data))[:count])) for data in (sets.test, sets.train, sets.synthetic)
    )
    test, train, synthetic = (context.features(NAME, data) for data in drawn)
    head = class_weights(find_weights(settings.inception_weights, settings.allow_download))
    return InceptionResult(
        frechet_distance(test, synthetic),
        frechet_distance(test, train),
        inception_score(softmax(synthetic @ head.T, axis=1)),
        inception_score(softmax(test @ head.T, axis=1)),
        count,
    )


def fid_gate(found: InceptionResult, rule: Rule) -> Gate:
    """Inception FID below its threshold; only advice with few images or where real data themselves do not get there."""
    notes = [f"real against real at the same N: {found.fid_real:.1f}"]
    status = PASS if found.fid < rule["threshold"] else FAIL
    if found.n < rule["min_images"]:
        status = ADVISORY
        notes.append(f"fewer than {rule['min_images']:.0f} images: not comparable with any published FID")
    if found.fid_real >= rule["threshold"]:
        status = ADVISORY
        notes.append("real data themselves miss the threshold at this N")
    return Gate("fid", status, found.fid, None, None, rule["threshold"], found.fid_real, found.n, "; ".join(notes))


def inception_score_gate(found: InceptionResult, rule: Rule) -> Gate:
    """Inception score above its threshold; only advice where real data themselves stay below it."""
    value, real, threshold = found.score, found.score_real, rule["threshold"]
    note = f"real data: {real:.2f}; ImageNet classes know nothing of spectrograms, so take it as a curiosity"
    status = PASS if value > threshold else ADVISORY if real <= threshold else FAIL
    return Gate("inception_score", status, value, None, None, threshold, real, found.n, note, floor=1.0)


def inception_score(probabilities: np.ndarray) -> float:
    """exp of the mean divergence of p(class | image) from p(class) (Salimans et al. 2016): 1 to the number of classes.

    probabilities: [N, classes]. The mean over ten parts from 1000 images on, else one part. Parts are drawn at random,
    as torch-fidelity draws them: sets are usually sorted by user, and consecutive parts would hold few kinds of images.
    """
    order = np.random.RandomState(2020).permutation(len(probabilities))
    parts = np.array_split(probabilities[order], 10 if len(probabilities) >= 1000 else 1)
    return float(np.mean([np.exp(rel_entr(part, part.mean(axis=0)).sum(axis=1).mean()) for part in parts]))


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
    """The FID network. images float32 [N, C, H, W] in [-1, 1], gray or colour -> pooled features, float64 [N, 2048]."""

    def __init__(self, weights: Path, device: str = "auto") -> None:
        _checked_weights(weights)
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:
            raise InceptionUnavailable(
                f"torch-fidelity cannot be imported ({error}); torch and torchvision must match: "
                "pip install --upgrade torch torchvision torch-fidelity in one command"
            ) from error
        self.device = resolve_device(device)
        try:
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights)
            )
        except (RuntimeError, AttributeError, TypeError) as error:
            raise InceptionUnavailable(f"{weights}: does not fit the Inception of FID; fetch {WEIGHTS_NAME}") from error
        self.network = network.to(self.device)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Pixels are rounded to 8 bits and gray is repeated to three channels, for real and synthetic alike."""
        return np.concatenate([self._batch(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])

    def _batch(self, images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(np.round((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8))
        with torch.inference_mode():
            (pool,) = self.network(pixels.expand(-1, 3, -1, -1).to(self.device))
        return pool.double().cpu().numpy()


def inception_v3(path: Path | None, allow_download: bool = False, device: str = "auto") -> Encoder:
    """`InceptionEncoder` as an encoder. Raises `InceptionUnavailable`."""
    weights = find_weights(path, allow_download)
    return Encoder(cache_key(NAME, np.fromfile(weights, np.uint8)), InceptionEncoder(weights, device))


def class_weights(weights: Path) -> np.ndarray:
    """The last layer [1008, 2048], which makes logits without bias of pooled features."""
    return _checked_weights(weights)["fc.weight"].double().numpy()


def _checked_weights(weights: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged or unsafe file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InceptionUnavailable(f"{weights}: is not a safe file of weights ({reason}); fetch it anew") from error


def _rows(found: InceptionResult) -> list[Metric]:
    base = Metric("fid", None, NAME, set_a="test", n_a=found.n, n_b=found.n, direction="lower")
    score = replace(base, metric="inception_score", set_a="", n_a=None, direction="higher")
    return [
        replace(base, value=found.fid, set_b="synthetic"),
        replace(base, value=found.fid_real, set_b="train"),
        replace(score, value=found.score, set_b="synthetic"),
        replace(score, value=found.score_real, set_b="test"),
    ]
