"""Accuracy against diversity over the guidance scale and interval, as a judge sees them.

python benchmarks/guidance.py --data DATA --run RUN --out scratch/guidance
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from curves import save_lines
from opinion import Opinion

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.generate import generate
from mdgen.run import Run


def sweep(
    run: Path,
    settings: GenerateConfig,
    scales: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    opinion: Callable[[SpectrogramSet], Mapping[str, float]],
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each interval and scale: what `opinion` says of samples that are all made from the same noises."""
    rows = []
    for low, high in intervals:
        for scale in scales:
            changed = {"guidance_scale": scale, "guidance_interval": (low, high)}
            made = generate(run, settings.model_copy(update=changed), seed=seed)
            rows.append({"guidance_scale": scale, "interval": f"{low:g} to {high:g}", **opinion(made)})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, real_accuracy: float, file: Path) -> None:
    """A curve for each interval, with the scale at each point."""
    groups = {f"guided from {name}": part for name, part in table.groupby("interval", sort=False)}
    save_lines(
        {name: (part["diversity"].tolist(), part["accuracy"].tolist()) for name, part in groups.items()},
        ("diversity", "accuracy"),
        file,
        notes={name: [f"{scale:g}" for scale in part["guidance_scale"]] for name, part in groups.items()},
        level=(real_accuracy, "real"),
    )


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
    intervals = [(low, high) for low in options.from_level for high in options.to_level]
    table = sweep(options.run, settings, options.scales, intervals, opinion, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "guidance.csv", index=False)
    draw(table, opinion(opinion.real)["accuracy"], options.out / "guidance.png")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
