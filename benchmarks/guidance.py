"""Accuracy against diversity over the guidance scale and interval, as a judge sees them.

python benchmarks/guidance.py --data DATA --run RUN --out scratch/guidance
"""

from __future__ import annotations

import argparse
from pathlib import Path

from opinion import Opinion

from mdgen.data.dataset import read_dataset
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.sweep import guidance_sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 1.5, 2, 3, 4, 6])
    parser.add_argument("--from-level", type=float, nargs="+", default=[0.0], help="lower ends of the interval")
    parser.add_argument("--to-level", type=float, nargs="+", default=[1.0, 0.8], help="upper ends of the interval")
    parser.add_argument("--per-user", type=int, default=20)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--judge-steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("scratch/guidance"))
    options = parser.parse_args()
    opinion = Opinion(read_dataset(options.data), options.seed, options.judge_steps)
    changed = {"per_user": options.per_user, "steps": options.steps}
    settings = Run(options.run).recipe().generate.model_copy(update=changed)
    table = guidance_sweep(
        options.run,
        settings,
        options.scales,
        opinion,
        options.out,
        intervals=[(low, high) for low in options.from_level for high in options.to_level],
        real=opinion(opinion.real),
        seed=options.seed,
        progress=Progress(),
    )
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
