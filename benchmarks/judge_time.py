"""How long does the judge take? 12 simulated walkers, 100 real and 100 synthetic windows each.

    python benchmarks/judge_time.py

Four runs of what `mdgen validate` does, whole reports each: quick with an empty cache, full with an empty cache, the
same once more, and another synthetic set with that cache. The synthetic sets are fresh windows of the same people.
Processor seconds and wall clock go to `benchmarks/results/judge_time.json` as soon as they are known.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import mdgen
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.simulator import simulate
from mdgen.data.splits import assign_roles
from validation.controls import as_synthetic
from validation.settings import ValidationSettings
from validation.tasks import validate

RESULT = Path(__file__).parent / "results" / "judge_time.json"
USERS, SESSIONS, WINDOWS = 12, 5, 20  #: sessions times windows is 100 of each user


def data_sets(seed: int) -> tuple[SpectrogramSet, SpectrogramSet, SpectrogramSet]:
    """Real rows with roles, and two synthetic sets, each of visits of its own."""
    everything = simulate(USERS, 3 * SESSIONS, WINDOWS, 64, seed)
    visit = everything.table["session"].str[1:].astype(int) - 1
    real, *others = (everything.select((visit // SESSIONS == part).to_numpy()) for part in range(3))
    real = replace(real, table=real.table.assign(split=assign_roles(real.table, seed=seed)))
    first, second = (as_synthetic(other) for other in others)
    return real, first, second


def timed(real: SpectrogramSet, synthetic: SpectrogramSet, settings: ValidationSettings) -> dict[str, float]:
    """Seconds of one whole report."""
    with tempfile.TemporaryDirectory() as folder:
        wall, processor = time.monotonic(), time.process_time()
        code = validate(real, synthetic, Path(folder) / "report", settings, lambda _: None, {})
        spent = {"processor_s": time.process_time() - processor, "wall_s": time.monotonic() - wall}
    return {name: round(seconds, 1) for name, seconds in spent.items()} | {"exit_code": code}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    real, first, second = data_sets(options.seed)
    versions = {"mdgen": mdgen.__version__, "python": platform.python_version()}
    versions |= {module.__name__: str(module.__version__) for module in (np, torch)}
    found = {"seed": options.seed, "versions": versions, "images": [len(real), len(first)], "runs": {}}
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as empty:
        full = ValidationSettings(seed=options.seed, cache=Path(cache))
        quick = ValidationSettings(seed=options.seed, cache=Path(empty)).quick()
        again = (("second run", first, full), ("another set", second, full))
        for name, synthetic, settings in (("quick", first, quick), ("full", first, full), *again):
            found["runs"][name] = timed(real, synthetic, settings)
            print(name, found["runs"][name], flush=True)
            options.result.parent.mkdir(parents=True, exist_ok=True)
            options.result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
