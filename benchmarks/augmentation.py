"""The reported table of `mdgen augment-study`: does anything made for people with few recordings help to know them?

    python benchmarks/augmentation.py --name gait --real DATA --side 32
    python benchmarks/augmentation.py --name "31 walkers" --walkers 31 --ratios 5

What is measured lies in --work and is not measured again; results/augmentation.csv gets the summary (an arm per row),
augmentation_made.csv what the windows made are like, augmentation_lacking.csv what the few recordings lack,
augmentation.json options and versions. Rows of another --name stay.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import diffusers
import pandas as pd
import sklearn
import torch

from mdgen.config import load_recipe
from mdgen.data.dataset import START_COLUMN, SpectrogramSet, read_dataset
from mdgen.data.simulator import simulate
from mdgen.few_shot import few_shot_generators
from validation.networks.network import shrink
from validation.study.limits import limits
from validation.study.run import StudySettings, run_study
from validation.study.summary import means, plain, write_summary
from validation.study.tasks import of_trials, read_settings

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the data, in the tables")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--walkers", type=int, default=0, help="simulate so many people instead")
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--work", type=Path, default=Path("scratch/augmentation"))
    parser.add_argument("--recordings", default="1,2")
    parser.add_argument("--windows", default="20")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--ratios", default="5")
    parser.add_argument("--classifiers", default="cnn,linear,frozen")
    parser.add_argument("--made", default="others,others@0.6,warps")
    parser.add_argument("--sift", action="store_true", help="also the half of them that is most surely its person's")
    parser.add_argument("--simulated", type=int, default=0, help="walkers that the generator learns beside the people")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="override of the recipe few-shot")
    parser.add_argument("--lacking-only", action="store_true", help="only what the few recordings lack: a minute")
    parser.add_argument("--report-only", action="store_true", help="write the tables of what is measured")
    options = parser.parse_args()
    work = options.work / options.name.replace(" ", "-")
    if options.lacking_only:
        return lacking(options, work)
    if not options.report_only:
        generators = few_shot_generators(
            [*filter(None, options.made.split(","))], load_recipe("few-shot", options.set), work / "models", "cpu",
            simulated=options.simulated,
        )  # fmt: skip
        run_study(people(options), of_trials(generators), settings(options), work)
    report(options, work)


def settings(options: argparse.Namespace) -> StudySettings:
    return read_settings(
        options.recordings, options.windows, options.seeds, options.ratios, options.classifiers, options.sift,
        options.first_seed,
    )  # fmt: skip


def lacking(options: argparse.Namespace, work: Path) -> None:
    """What few recordings lack, in trials without any arm."""
    work.mkdir(parents=True, exist_ok=True)
    found = pd.concat([limits(trial) for trial in settings(options).trials(people(options))], ignore_index=True)
    found.to_csv(work / "limits.csv", index=False)
    table = means(found, ["recordings", "windows", "centre", "spread"])
    merge(RESULTS / "augmentation_lacking.csv", options.name, table)
    print(plain(table))


def people(options: argparse.Namespace) -> SpectrogramSet:
    """The real set averaged down to --side, or simulated walkers of that side."""
    if options.walkers:
        return simulate(options.walkers, 6, 20, options.side, seed=11)
    data = read_dataset(options.real)
    small, table = shrink(data.images, options.side), data.table
    if START_COLUMN in table:
        table = table.assign(**{START_COLUMN: table[START_COLUMN] * options.side / data.images.shape[-1]})
    return SpectrogramSet(small, table, data.name)


def report(options: argparse.Namespace, work: Path) -> None:
    """The tables, with those of other data kept."""
    table = write_summary(work)
    for name, rows in (
        ("augmentation", table),
        ("augmentation_made", pd.read_csv(work / "made.csv")),
        ("augmentation_lacking", pd.read_csv(work / "lacking.csv")),
    ):
        merge(RESULTS / f"{name}.csv", options.name, rows)
    file = RESULTS / "augmentation.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    kept = {k: v for k, v in vars(options).items() if k not in ("name", "real", "work", "report_only")}
    known[options.name] = {
        "options": kept | {"seeds_measured": int(table["seeds"].max())},
        "versions": {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    file.write_text(json.dumps(known, indent=1) + "\n")
    print((work / "summary.md").read_text())


def merge(file: Path, data: str, rows: pd.DataFrame) -> None:
    """Put the rows of this data in the place of those a table has."""
    rows = rows.round(4)
    rows.insert(0, "data", data)
    if file.exists():
        before = pd.read_csv(file).query("data != @data")
        rows = pd.concat([before, rows], ignore_index=True)
    rows.to_csv(file, index=False)


if __name__ == "__main__":
    main()
