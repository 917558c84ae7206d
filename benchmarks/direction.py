"""Of whom can the direction of time be told? Real recordings against the same reversed, over many splits.

    python benchmarks/direction.py --gait SOURCE --gestures SOURCE

For each split a model learns forwards from the judge's rows, and meets fresh recordings, forwards and reversed. A user:
the share of single windows told right; the share of splits in which the judge says that it can tell ("told"); among
those, the share of fresh sets of 50 windows failed as reversed, when they are and when they are not. Results go to
`benchmarks/results/direction.csv`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from domains import Case, Honest, gait, gestures, walkers

from mdgen.data.dataset import SpectrogramSet
from validation.blocks.alterations import failing_users
from validation.measures.arrow import Arrow, directions
from validation.measures.detector_bank import placed, rows_of
from validation.measures.detectors import Detector, Rows, for_direction
from validation.measures.tampering import tolerated
from validation.rules import shipped_rules

RESULT = Path(__file__).parent / "results" / "direction.csv"
SIZE, PER_USER = 64, 50


def trained(real: SpectrogramSet, seed: int) -> Detector:
    """As the block `alterations` does it."""
    judge, unseen = (rows_of(real.role(*roles), SIZE) for roles in (["judge"], ["train", "val", "test"]))
    images = tolerated(judge.images, np.random.default_rng(seed))
    return for_direction(Arrow(directions(images), judge.users), unseen)


def measured(case: Case, seed: int) -> Iterator[dict[str, Any]]:
    """A row per user of one split."""
    detector, rule = trained(case.real, seed), shipped_rules()["alterations"]
    fresh = rows_of(Honest("fresh", PER_USER, seed=seed).draw(case.fresh), SIZE)
    found = {name: scored(detector, fresh, images) for name, images in both(fresh).items()}
    limits = rule["user_position"], rule["user_turned"]
    failed = {name: failing_users([placed(detector, s, fresh.users)], *limits) for name, s in found.items()}
    for user in np.unique(fresh.users):
        told = user not in detector.blind
        fails = {f"{name}_fails": float(user in users) if told else np.nan for name, users in failed.items()}
        position = placed(detector, found["forwards"], fresh.users).per_user[user]
        windows = float((found["forwards"][fresh.users == user] < 0.5).mean())
        yield {"case": case.name, "user": user, "windows_right": windows, "told": told, "position": position, **fails}


def both(rows: Rows) -> dict[str, np.ndarray]:
    return {"forwards": rows.images, "reversed": rows.images[..., ::-1]}


def scored(detector: Detector, rows: Rows, images: np.ndarray) -> np.ndarray:
    return detector.model.scores(directions(images), rows.users)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gait", type=Path)
    parser.add_argument("--gestures", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    kinds = {"gait": gait, "gestures": gestures}
    sources = [("walkers", lambda seed: walkers(seed=seed))] + [
        (name, lambda seed, name=name: kinds[name](getattr(options, name), seed=seed))
        for name in kinds
        if getattr(options, name)
    ]
    tables = []
    for domain, source in sources:
        splits = options.splits if domain != "walkers" else min(options.splits, 3)
        rows = [row for seed in range(splits) for row in measured(source(seed), seed)]
        tables.append(pd.DataFrame(rows).assign(domain=domain, splits=splits))
    summary = (
        pd.concat(tables)
        .groupby(["domain", "user"])
        .agg(
            splits=("splits", "first"), windows_right=("windows_right", "mean"), told=("told", "mean"),
            position_mean=("position", "mean"), position_max=("position", "max"),
            forwards_fails=("forwards_fails", "mean"), reversed_fails=("reversed_fails", "mean"),
        )
        .round(3)
    )  # fmt: skip
    summary.to_csv(options.result)
    print(summary.to_string())


if __name__ == "__main__":
    main()
