"""Are training windows that are cut anew inside their recordings still windows of the same kind?

    python benchmarks/cut_anew.py --data DATA --work WORK

As many training windows of every user as are in role test are judged as if they were synthetic: as they are, and each
cut anew at a shift drawn at random (`data.augment.time_shift: true`). They copy by definition; what counts is how far
they are from real windows held out. Beside it: how much of their course over time windows of all recordings share, in
this set, in the same set with every window turned by chance, and in simulated walkers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import record

from mdgen.config import AugmentConfig
from mdgen.data.dataset import SpectrogramSet, make_table, read_dataset
from mdgen.data.recordings import common_course
from mdgen.data.simulator import simulate
from mdgen.data.windows import WindowCutter
from validation.report.row import report_row
from validation.run import validate
from validation.settings import ValidationSettings

RESULT = Path(__file__).parent / "results" / "cut_anew.json"
KEPT = ("user_accuracy", "tstr", "fidelity", "kinematics", "texture")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data set with roles and start columns")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data, rng = read_dataset(options.data), np.random.default_rng(options.seed)
    turned = [np.roll(image, rng.integers(image.shape[-1]), axis=-1) for image in data.images]
    shares = {
        "as it is": common_course(data),
        "every window turned by chance": common_course(data.with_images(np.stack(turned))),
        "12 simulated walkers": common_course(simulate(12, 6, 20, 32, seed=options.seed)),
    }
    train = data.role("train")
    windows = WindowCutter.of(train, AugmentConfig(time_shift=True))
    anew = windows.draw(np.arange(len(windows)), torch.Generator().manual_seed(options.seed)).numpy()
    settings = ValidationSettings(seed=options.seed, cache=options.work / "cache")
    judged = {}
    for name, images in {"as they are": train.images[windows.rows], "cut anew": anew}.items():
        judged[name] = figures(data, sample(images, windows.users, data, options.seed), options.work / name, settings)
        print(name, judged[name], flush=True)
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    record(
        {"seed": options.seed, "versions": versions, "common_course": shares, "training_windows": judged},
        options.result,
    )


def sample(images: np.ndarray, users: list[str], data: SpectrogramSet, seed: int) -> SpectrogramSet:
    """As many windows of every user, drawn at random, as the user with the fewest has in role test."""
    names, rng = np.asarray(users), np.random.default_rng([seed, 1])
    count = int(data.role("test").table["user"].value_counts().min())
    rows = np.concatenate([rng.permutation(np.flatnonzero(names == user))[:count] for user in data.users])
    table = make_table(user=names[rows].tolist(), session="synthetic", recording=[str(i) for i in range(len(rows))])
    return SpectrogramSet(images[rows], table, "training windows")


def figures(
    real: SpectrogramSet, windows: SpectrogramSet, report: Path, settings: ValidationSettings
) -> dict[str, Any]:
    """What a report says of them, with the same of as much real data."""
    if not (report / "summary.json").exists():
        validate(real, windows, report, settings, print)
    row = report_row(report)
    kept = {key: row[key] for gate in KEPT for key in (gate, f"{gate}_real")}
    return kept | {key: value for key, value in row.items() if key.startswith("kid_")}


if __name__ == "__main__":
    main()
