"""Does memory stay flat from 1,000 to 20,000 samples, and is nothing lost or made twice over 20 random kills?

    PYTHONPATH=. python benchmarks/scale.py --work scratch/scale

Writes data sets of an untrained, tiny model (so that writing, not sampling, is what is measured) in processes of their
own, reads their peak memory, and kills others at random instants until the same command has finished the rest.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from record import record

from mdgen.data.dataset import read_dataset
from mdgen.generate import generate
from mdgen.run import Run
from tests.tiny_run import tiny_run

COUNTS = (1_000, 5_000, 20_000)
SETTINGS = ["generate.batch_size=250", "generate.shard_size=250", "generate.steps=1", "generate.format=npz"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("scratch/scale"))
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kill-count", type=int, default=6_000, help="samples of the set whose making is killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/scale.json"))
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    run = tiny_run(options.work / "run", *SETTINGS)[0].path
    result = {
        "memory": [measured(run, options.work / f"n{count}", count) for count in options.counts],
        "kills": killed(run, options.work / "killed", options),
        "seed": options.seed,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    record(result, options.result)


def command(run: Path, out: Path, count: int) -> list[str]:
    arguments = ["generate", "--run", run, "--out", out, "--per-user", -(-count // 3), "--device", "cpu"]
    return [sys.executable, "-m", "cli", *map(str, arguments)]


def measured(run: Path, out: Path, count: int) -> dict[str, float]:
    """Peak memory and time of one command from nothing to the end."""
    started = time.monotonic()
    process = subprocess.Popen(command(run, out, count), stderr=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    if code:
        raise SystemExit(f"generating {count} samples failed with {code}")
    seconds = time.monotonic() - started
    return {
        "samples": len(pd.read_csv(out / "manifest.csv")),
        "peak_memory_gb": round(usage.ru_maxrss / 1e6, 3),
        "seconds": round(seconds, 1),
        "disk_mb": round(sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / 1e6, 1),
    }


def killed(run: Path, out: Path, options: argparse.Namespace) -> dict[str, object]:
    """Kill the same command at random instants of its writing; then let it finish, and count."""
    dice = random.Random(options.seed)
    done, kills = [], 0
    while kills < options.kills:
        process = subprocess.Popen(command(run, out, options.kill_count), stderr=subprocess.DEVNULL)
        before = shards(out)
        wait_for(lambda process=process, before=before: process.poll() is not None or shards(out) > before)
        time.sleep(dice.uniform(0, 0.3))
        if process.poll() is not None:
            break  # it was faster than the dice
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        done.append(shards(out))
    subprocess.run(command(run, out, options.kill_count), check=True, stderr=subprocess.DEVNULL)
    data = read_dataset(out)
    keys = data.table["user"] + "/" + data.table["index"]
    expected = [f"ID_{u}/{i}" for i in range(-(-options.kill_count // 3)) for u in (1, 2, 3)]
    some = generate(run, Run(run).recipe().generate.model_copy(update={"per_user": 50}), device="cpu")
    return {
        "samples": len(data),
        "kills": kills,
        "shards_there_at_each_kill": done,
        "twice": int(keys.duplicated().sum()),
        "missing": len(set(expected) - set(keys)),
        "leftovers": len(list(out.rglob("*.partial"))),
        "largest_difference_to_an_uninterrupted_run": float(np.abs(data.images[: len(some)] - some.images).max()),
    }


def shards(out: Path) -> int:
    return len(list((out / ".index").glob("[0-9]*.csv"))) if out.exists() else 0


def wait_for(condition) -> None:
    while not condition():
        time.sleep(0.01)


if __name__ == "__main__":
    main()
