"""Does a training survive being killed? `kill -9` at random moments, the same command again, compared byte for byte.

    python benchmarks/resume.py --kills 50

A small run of both stages goes through without interruption. Then the same commands are killed at random moments
(while reading, training, saving, checking) and started again until they finish, in as many runs as it takes. Weights,
optimizer, averages, metrics and the finished model must be the same bytes as those of the run that was left alone.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from record import record

from mdgen.data.dataset import write_dataset
from mdgen.data.simulator import simulate
from mdgen.training.checkpoint import checkpoints

SETTINGS = [
    *("autoencoder.channels=16", "autoencoder.training.steps=120", "autoencoder.training.checkpoint_every=5"),
    *("denoiser.kind=unet", "denoiser.width=32", "denoiser.levels=[1, 2]", "denoiser.depth=1"),
    *("denoiser.dropout=0.1", "denoiser.training.steps=120", "denoiser.training.checkpoint_every=5"),
    *("denoiser.training.ema_profiles=[0.05, 0.1]", "denoiser.training.precision=auto"),
    *("autoencoder.training.batch_size=8", "denoiser.training.batch_size=8"),
]
#: What must not differ, below the run folder.
COMPARED = ("autoencoder", "denoiser", "conditioning", "averages", "checkpoints", "logs/*/metrics.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest-s", type=float, default=8, help="a process lives at most this long once it trains")
    parser.add_argument("--work", type=Path, default=Path("scratch/resume"))
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/resume.json"))
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    data = write_dataset(simulate(3, 4, 4, 32, options.seed), options.work / "data")
    whole = options.work / "whole"
    for stage in ("train-vae", "train-ldm"):
        subprocess.run(command(stage, data, whole), check=True)
    rng = random.Random(options.seed)
    kills: list[dict[str, object]] = []
    differing: list[str] = []
    runs = 0
    while len(kills) < options.kills:
        run = options.work / f"killed-{runs}"
        for stage in ("train-vae", "train-ldm"):
            while not survive(command(stage, data, run), run, rng, options, kills):
                print(f"kill {len(kills)}: {kills[-1]}", flush=True)
        differing += [f"{run.name}/{name}" for name in differences(whole, run)]
        runs += 1
    result = {
        "kills": len(kills),
        "runs": runs,
        "divergences": len(differing),
        "differing_files": differing,
        "kills_during_a_save": sum(bool(kill["saving"]) for kill in kills),
        "kills_before_training": sum(kill["checkpoint"] is None for kill in kills),
        "compared": COMPARED,
        "seed": options.seed,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    record(result, options.result)
    sys.exit(bool(differing))


def command(stage: str, data: Path, run: Path) -> list[str]:
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    judge = ["--no-judge"] if stage == "train-vae" else []
    return [sys.executable, "-m", "cli", stage, "--data", str(data), "--run", str(run), "--device", "cpu", *judge,
            *(["--config", "quickstart"]), *settings]  # fmt: skip


def survive(
    arguments: list[str], run: Path, rng: random.Random, options: argparse.Namespace, kills: list[dict[str, object]]
) -> bool:
    """Run a command; kill it at a random moment while kills are left. Whether it came to its end."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if len(kills) < options.kills:
        lock = run / ".lock.json"
        before = lock.stat().st_mtime_ns if lock.exists() else None
        while process.poll() is None and (not lock.exists() or lock.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, options.longest_s))
    if len(kills) >= options.kills:
        _, errors = process.communicate()
    elif process.poll() is None:
        process.kill()
        process.wait()
        stage = {"train-vae": "autoencoder", "train-ldm": "denoiser"}[arguments[3]]
        folders = [c.name for c in (run / "checkpoints" / stage).glob("*step-*")]
        newest = max((name for name in folders if name.startswith("step-")), default=None)
        kills.append({"stage": stage, "checkpoint": newest, "saving": any(n.startswith(".") for n in folders)})
        return False
    else:
        _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}: {errors}")
    return True


def differences(whole: Path, run: Path) -> list[str]:
    """Files that are not the same in two runs, or only in one."""
    files = [
        {str(f.relative_to(base)): f for pattern in COMPARED for g in base.glob(pattern) for f in _files(g)}
        for base in (whole, run)
    ]
    assert checkpoints(run / "checkpoints" / "denoiser")
    return [
        name
        for name in sorted(files[0].keys() | files[1].keys())
        if name not in files[0] or name not in files[1] or files[0][name].read_bytes() != files[1][name].read_bytes()
    ]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]


if __name__ == "__main__":
    main()
