"""Other libraries, the same data, the same processor time, the same judge.

    pip install '.[peers]'
    python benchmarks/peers.py --data data/gait --name gait --work work/peers --budget-minutes 10

Each system of `peer_systems` gets role `train` of the data set and so many minutes of one processor to train; then it
draws as many spectrograms of each user, and the same `validation` settings, seeds and judges look at them. Results go
to `benchmarks/results/peers.json`, `.csv` and `.md`. What is there already (same data, budget and seed) is not made
again, so that an interrupted run goes on; delete the system's folder in --work to make it anew. All compute in
bfloat16 where the processor has units for it, several times as fast: rows name their precision, and only rows of one
precision are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import time
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import peer_systems
import torch
from peer_systems import SYSTEMS, Task
from training_speed import matrix_product_peak

from mdgen.data.dataset import read_dataset, write_dataset
from mdgen.device import resolve_precision
from mdgen.figures import contact_sheet
from validation.report.row import report_row
from validation.run import validate
from validation.settings import ValidationSettings

PRECISION = resolve_precision("auto", torch.device("cpu"))
RESULTS = Path(__file__).parent / "results"
#: Columns of the table; each has its value for as much real data in the line above.
COLUMNS = {
    "user_accuracy": "user accuracy",
    "tstr": "TSTR",
    "verification": "EER",
    "fidelity": "distance",
    "texture": "texture",
    "kinematics": "kinematics",
    "diversity": "variety",
    "memorisation": "copies",
    "kid_judge": "KID (judge)",
    "kid_efficientnet_lite0": "KID (EfficientNet-Lite0)",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="data set with roles")
    parser.add_argument("--name", required=True, help="what the table calls it")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs, synthetic sets and reports")
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--budget-minutes", type=float, default=10.0, help="of one processor, for training")
    parser.add_argument("--per-user", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one judge and fewer draws")
    parser.add_argument("--results", type=Path, default=RESULTS / "peers", help="without suffix")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    settings = ValidationSettings(seed=options.seed, cache=options.work / "cache")
    for name in options.systems:
        folder = options.work / f"{options.name}-{options.budget_minutes:g}min-{options.seed}" / SYSTEMS[name][0]
        print(f"{name}: {folder}", flush=True)
        made = made_by(name, options.data, folder, options.budget_minutes, options.per_user, options.seed)
        row = {
            "data": options.name,
            "system": name,
            "budget_minutes": options.budget_minutes,
            "precision": str(PRECISION).removeprefix("torch."),
            "seed": options.seed,
            "per_user": options.per_user,
            **made,
            **judged(options.data, folder, settings.quick() if options.quick else settings),
        }
        record(row, options.results)
    print(options.results.with_suffix(".md").read_text(encoding="utf-8"))


def made_by(name: str, data: Path, folder: Path, minutes: float, per_user: int, seed: int) -> dict[str, Any]:
    """Train and sample in a process of its own, unless that is done; returns what it cost."""
    cost = folder / "cost.json"
    if not cost.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        child = get_context("spawn").Process(target=make, args=(name, data, folder, minutes, per_user, seed))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(f"{name}: ended with exit code {child.exitcode}")
    return json.loads(cost.read_text(encoding="utf-8"))


def make(name: str, data: Path, folder: Path, minutes: float, per_user: int, seed: int) -> None:
    """In the child process: the synthetic set, a sheet of it, and `cost.json` when all is there."""
    torch.set_num_threads(1)
    module = peer_systems.load(name)
    task = Task.prepare(read_dataset(data), folder, minutes * 60, seed)
    sampler = module.train(task)
    trained_s = time.process_time()
    synthetic = peer_systems.draw(sampler, task.users, per_user, seed)
    sampled_s = time.process_time() - trained_s
    write_dataset(synthetic, folder / "synthetic")
    contact_sheet(synthetic, folder / "samples.png")
    cost = {
        "train_processor_minutes": (trained_s - task.clock.started) / 60,
        "images_per_processor_s": len(synthetic) / sampled_s,
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "matrix_product_gflop_per_s": matrix_product_peak(PRECISION) / 1e9,
        "lines": peer_systems.lines(name),
        "versions": {library: version(library) for library in (*SYSTEMS[name][1], "torch")},
        "python": platform.python_version(),
    }
    (folder / "cost.json").write_text(json.dumps(cost), encoding="utf-8")


def judged(data: Path, folder: Path, settings: ValidationSettings) -> dict[str, Any]:
    """The report on the set in `folder`, written there once, as a row."""
    report = folder / "report"
    if not (report / "summary.json").exists():
        validate(read_dataset(data), read_dataset(folder / "synthetic"), report, settings, print)
    return report_row(report)


def record(row: dict[str, Any], results: Path) -> None:
    """Put a row in the place of the one of the same data, system, budget, precision and seed; write all three files."""
    file = results.with_suffix(".json")
    rows = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    key = ("data", "system", "budget_minutes", "precision", "seed")
    rows = [old for old in rows if [old[k] for k in key] != [row[k] for k in key]] + [row]
    results.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    pd.DataFrame(rows).drop(columns="versions").to_csv(results.with_suffix(".csv"), index=False)
    results.with_suffix(".md").write_text(markdown(rows), encoding="utf-8")


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table for each data set and budget, one line a system, real data above them."""
    heads = ["system", *COLUMNS.values(), "gates failed", "images/s", "GB", "lines"]
    parts = []
    for table in dict.fromkeys(map(table_of, rows)):
        chosen = [row for row in rows if table_of(row) == table]
        real = [shown(chosen[0][f"{name}_real"]) for name in COLUMNS]
        lines = [["real data, as many", *real, "", "", "", ""], *map(cells, chosen)]
        data, minutes, precision = table
        title = f"## {data}, {minutes:g} minutes of one processor, {precision}"
        parts += [title, "", *map(table_line, [heads, ["---"] * len(heads), *lines]), ""]
    return "\n".join(parts)


def table_of(row: dict[str, Any]) -> tuple[str, float, str]:
    """The table a row is a line of: its systems had the same data, minutes and kind of arithmetic."""
    return row["data"], row["budget_minutes"], row["precision"]


def cells(row: dict[str, Any]) -> list[str]:
    failed = str(len(row["failed"].split()))
    cost = [shown(row["images_per_processor_s"]), shown(row["peak_memory_gb"]), str(row["lines"])]
    return [row["system"], *(shown(row[name]) for name in COLUMNS), failed, *cost]


def table_line(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()
