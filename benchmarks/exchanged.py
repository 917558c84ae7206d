"""Are exchanged names noticed? Every pair of real people swapped, in fresh recordings, over many splits.

    python benchmarks/exchanged.py --gait SOURCE --gestures SOURCE

Judges (`--quick`) learn from role judge as always, and meet fresh recordings, first as they are, then with the names
of two users swapped, pair by pair. A row per split: the accuracy of the judges, the share of swapped pairs that
are named, and of those named alone, and how many users of the honest set are. Results go to
`benchmarks/results/exchanged.csv`.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from domains import Case, Honest, gait, gestures

from mdgen.data.dataset import SpectrogramSet
from validation.context import Context
from validation.controls import relabelled
from validation.measures.labels import exchanged
from validation.measures.recognition import recognise
from validation.rules import shipped_rules
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

RESULT = Path(__file__).parent / "results" / "exchanged.csv"
PER_USER = 50


def measured(case: Case, seed: int) -> dict[str, object]:
    """The row of one split."""
    fresh, rule = Honest("fresh", PER_USER, seed=seed).draw(case.fresh), shipped_rules()["user_accuracy"]
    context = Context(prepare_sets(case.real, fresh), ValidationSettings(seed=seed).quick())
    users = context.sets.users
    real, honest = (recognise(context.judges, data, users) for data in (context.sets.test, fresh))
    right = []
    for pair in combinations(users, 2):
        named = exchanged(recognise(context.judges, swapped(fresh, pair), users), real, rule)
        right.append((set(named) >= set(pair), set(named) == set(pair)))
    return {
        "case": case.name,
        "accuracy": round(honest.macro, 3),
        "pairs": len(right),
        **dict(zip(("named", "named_alone"), np.mean(right, axis=0).round(3), strict=True)),
        "honest_users_named": len(exchanged(honest, real, rule)),
    }


def swapped(data: SpectrogramSet, pair: tuple[str, str]) -> SpectrogramSet:
    first, second = pair
    return relabelled(data, data.table["user"].replace({first: second, second: first}).to_numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gait", type=Path, required=True)
    parser.add_argument("--gestures", type=Path)
    parser.add_argument("--splits", type=int, default=12)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    cases = [(gait, options.gait)] + ([(gestures, options.gestures)] if options.gestures else [])
    rows = [measured(case(folder, seed=seed), seed) for case, folder in cases for seed in range(options.splits)]
    table = pd.DataFrame(rows)
    table.to_csv(options.result, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
