"""The judge's distances against the libraries that define them: the same features in, the same numbers out, and time.

    python benchmarks/judge_speed.py

Frechet distance against torch-fidelity, torchmetrics and pytorch-fid's matrix square root; kernel distance against
torch-fidelity and torchmetrics; precision, recall, density and coverage against torch-fidelity and prdc. One thread,
processor seconds (the least of a few calls). A library that fails on a case is kept with its message. Cases
that are in the result already are not measured again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from validation.measures.distances import frechet_distance, kernel_distance
from validation.measures.neighbourhoods import neighbourhoods

RESULT = Path(__file__).parent / "results" / "judge_speed.json"
#: (images of each set, features): the judge's own encoders, EfficientNet-Lite0, Inception; few and many images.
CASES = ((250, 64), (2000, 64), (250, 1280), (2000, 1280), (5000, 2048))
KERNEL = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
NEIGHBOURS = 5
#: Calls of each until this many seconds, but `CALLS` at most.
ENOUGH_S, CALLS = 2.0, 5
LIBRARIES = ("torch-fidelity", "torchmetrics", "pytorch-fid", "prdc", "numpy", "scipy", "torch")
Measure = Callable[[np.ndarray, np.ndarray], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--cases", type=int, default=len(CASES), help="only the first ones; the last take minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    versions = {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    rows = json.loads(options.result.read_text(encoding="utf-8"))["rows"] if options.result.exists() else []
    for count, features in CASES[: options.cases]:
        if any((row["images"], row["features"]) == (count, features) for row in rows):
            continue
        real, synthetic = feature_vectors(count, features)
        for measure, (ours, others) in MEASURES.items():
            rows += compared(measure, ours, others, real, synthetic)
            print("\n".join(line(row) for row in rows[-len(others) :]), flush=True)
        worst = max(row["largest_difference"] for row in rows if "error" not in row)
        result = {"seed": 0, "versions": versions, "largest_difference": worst, "rows": rows}
        options.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def feature_vectors(count: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated clouds float64 [count, features], the second a little apart."""
    rng = np.random.default_rng([count, features])
    mixing = rng.normal(size=(features, features)) * np.linspace(1, 0.05, features) / np.sqrt(features)
    real, synthetic = rng.normal(size=(2, count, features)) @ mixing
    return real, 1.1 * synthetic + 0.05


def compared(
    measure: str, ours: Measure, others: dict[str, Measure], real: np.ndarray, synthetic: np.ndarray
) -> list[dict[str, object]]:
    """A row for each library. Our values are those of the library's own list: (precision, recall) is a part of four."""
    rows = []
    for name, other in others.items():
        row: dict[str, object] = {"measure": measure, "library": name, "images": len(real), "features": real.shape[1]}
        try:
            theirs, theirs_s = timed(other, real, synthetic)
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            rows.append(row | {"error": f"{type(error).__name__}: {error}"})
            continue
        mine, ours_s = timed(ours, real, synthetic)
        pairs = zip(mine, theirs, strict=False)
        difference = max(abs(a - b) / max(abs(b), 1e-12) for a, b in pairs)
        row |= {"largest_difference": difference, "ours_s": ours_s, "theirs_s": theirs_s}
        rows.append(row | {"times_faster": theirs_s / ours_s})
    return rows


def timed(measure: Measure, real: np.ndarray, synthetic: np.ndarray) -> tuple[list[float], float]:
    """Values and the least processor seconds of a few calls, after one on few vectors that imports what is needed."""
    seconds: list[float] = []
    with contextlib.redirect_stdout(io.StringIO()):
        measure(real[:20, :4], synthetic[:20, :4])
        while len(seconds) < CALLS and sum(seconds) < ENOUGH_S:
            started = time.process_time()
            values = measure(real, synthetic)
            seconds.append(time.process_time() - started)
    return values, min(seconds)


def fidelity_frechet(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    from torch_fidelity import metric_fid

    statistics = [metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (real, synthetic)]
    return [metric_fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]]


def torchmetrics_frechet(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    from torchmetrics.image.fid import _compute_fid

    moments = [(torch.from_numpy(x.mean(axis=0)), torch.from_numpy(np.cov(x, rowvar=False))) for x in (real, synthetic)]
    return [float(_compute_fid(*moments[0], *moments[1]))]


def pytorch_fid_frechet(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    from pytorch_fid.fid_score import calculate_frechet_distance

    moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (real, synthetic)]
    return [float(calculate_frechet_distance(*moments[0], *moments[1]))]


def fidelity_kernel(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    from torch_fidelity.metric_kid import kernel_mmd

    return [float(kernel_mmd(real, synthetic, **KERNEL))]


def torchmetrics_kernel(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    from torchmetrics.image.kid import poly_mmd

    return [float(poly_mmd(torch.from_numpy(real), torch.from_numpy(synthetic)))]


def our_neighbourhoods(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    found = neighbourhoods(real, synthetic, NEIGHBOURS)
    return [found.precision, found.recall, found.density, found.coverage]


def fidelity_neighbourhoods(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    from torch_fidelity.metric_prc import calculate_precision_recall_part

    made, given = torch.from_numpy(synthetic), torch.from_numpy(real)
    return list(calculate_precision_recall_part(made, given, NEIGHBOURS))


def prdc_neighbourhoods(real: np.ndarray, synthetic: np.ndarray) -> list[float]:
    from prdc import compute_prdc

    found = compute_prdc(real, synthetic, NEIGHBOURS)
    return [float(found[name]) for name in ("precision", "recall", "density", "coverage")]


MEASURES: dict[str, tuple[Measure, dict[str, Measure]]] = {
    "frechet distance": (
        lambda real, synthetic: [frechet_distance(real, synthetic)],
        {
            "torch-fidelity": fidelity_frechet,
            "torchmetrics": torchmetrics_frechet,
            "pytorch-fid": pytorch_fid_frechet,
        },
    ),
    "kernel distance": (
        lambda real, synthetic: [kernel_distance(real, synthetic)],
        {"torch-fidelity": fidelity_kernel, "torchmetrics": torchmetrics_kernel},
    ),
    "precision, recall, density, coverage": (
        our_neighbourhoods,
        {"torch-fidelity (precision, recall)": fidelity_neighbourhoods, "prdc": prdc_neighbourhoods},
    ),
}


def line(row: dict[str, object]) -> str:
    head = f"{row['measure']}, {row['images']} x {row['features']}, {row['library']}: "
    if "error" in row:
        return head + str(row["error"])
    return head + f"difference {row['largest_difference']:.1e}, {row['times_faster']:.1f} times as fast"


if __name__ == "__main__":
    main()
