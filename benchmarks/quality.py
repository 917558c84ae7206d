"""Is a synthetic data set usable? Runs a recipe's four commands on a real data set and writes the figures as JSON.

    python benchmarks/quality.py --data DATA --config gait --work WORK --result benchmarks/results/gait.json
    python benchmarks/quality.py --config quickstart --work WORK --result benchmarks/results/quickstart.json

Without --data it is `mdgen quickstart`, on simulated walkers. --judge-again keeps model, samples and their times in
--work and --result and has them judged anew, as after a change of the judge.

Commands run as a user would run them, each in its own process, timed, with its peak memory; what is kept are the
report's gates, the autoencoder's check, times, versions and the seed. Neither data nor pictures are kept.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from record import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for run, synthetic data and report")
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--judge-again", action="store_true")
    options = parser.parse_args()
    run, synthetic, report = (options.work / name for name in ("run", "synthetic", "report"))
    overrides = [part for o in [*options.overrides, f"seed={options.seed}"] for part in ("--set", o)]
    data = options.data or options.work / "data"
    judge = {"validate": ["--real", data, "--synthetic", synthetic, "--out", report, "--config", options.config]}
    if options.judge_again:
        shutil.rmtree(report, ignore_errors=True)
        commands = judge
    elif options.data is None:
        commands = {
            "quickstart": ["--out", options.work, "--seed", options.seed, "--config", options.config, *overrides]
        }
    else:
        commands = {
            "train-vae": ["--data", options.data, "--run", run, "--config", options.config, *overrides],
            "train-ldm": ["--data", options.data, "--run", run],
            "generate": ["--run", run, "--out", synthetic, "--seed", options.seed],
            **judge,
        }
    before = json.loads(options.result.read_text()) if options.judge_again else {"minutes": {}, "peak_memory_gb": 0}
    minutes = {name: timed(["mdgen", name, *map(str, arguments)]) for name, arguments in commands.items()}
    peak_memory_gb = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, 2)
    summary = json.loads((report / "summary.json").read_text())
    result = {
        "config": options.config,
        "overrides": options.overrides,
        "seed": options.seed,
        "verdict": summary["verdict"],
        "gates": {name: trimmed(gate) for name, gate in summary["gates"].items()},
        "autoencoder": json.loads((run / "logs" / "autoencoder_check.json").read_text()),
        "minutes": before["minutes"] or {name: round(value, 2) for name, value in minutes.items()},
        "peak_memory_gb": max(before["peak_memory_gb"], peak_memory_gb),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
    }
    record(result, options.result)


def timed(command: list[str]) -> float:
    """Minutes a command takes. A verdict other than pass is a result, not a failure of this script."""
    started = time.monotonic()
    code = subprocess.run([sys.executable, "-c", "from cli import app; app()", *command[1:]], check=False).returncode
    if code not in (0, 1, 3):
        raise SystemExit(f"{' '.join(command)}: exit code {code}")
    return (time.monotonic() - started) / 60


def trimmed(gate: dict) -> dict:
    return {key: value for key, value in gate.items() if key != "note" and value is not None}


if __name__ == "__main__":
    main()
