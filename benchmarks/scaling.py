"""How cost grows with users, samples, size and processes: the exponent of each, measured on tiny models.

    python benchmarks/scaling.py --work scratch/scaling

Every point is a process of its own (two, where it says so) on one thread each. Training: steps of stage 2 by
`train_denoiser`, in images for each processor second, and what comes before the first step. Validation: all blocks of
the judge in its quick form. Both: peak memory. Points that are in the result already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgen.config import load_recipe
from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from mdgen.progress import Advance, Progress
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser

RESULT = Path(__file__).parent / "results" / "scaling.json"
STEPS, WARM_UP, BATCH = 30, 5, 16
TINY = [
    *("autoencoder.kind=patch", "autoencoder.channels=16", "autoencoder.blocks=1", "autoencoder.latent_channels=4"),
    *("autoencoder.training.steps=2", f"autoencoder.training.batch_size={BATCH}"),
    *("denoiser.width=32", "denoiser.depth=1", f"denoiser.training.steps={STEPS}"),
    *(f"denoiser.training.batch_size={BATCH}", "denoiser.training.precision=fp32"),
]


@dataclass(frozen=True)
class Point:
    """One measurement; `axis` is what differs among the points it is compared with."""

    part: str
    axis: str
    users: int
    samples: int
    size: int
    processes: int = 1

    @property
    def key(self) -> str:
        return " ".join(str(value) for value in asdict(self).values())


POINTS = (
    *(Point("training", "users", users, 4000, 16) for users in (10, 100, 1000)),
    *(Point("training", "samples", 10, samples, 16) for samples in (1000, 10_000, 100_000)),
    *(Point("training", "size", 10, 200, size) for size in (64, 128, 256)),
    *(Point("training", "processes", 10, 1000, 64, processes) for processes in (1, 2)),
    *(Point("validation", "users", users, 8000, 16) for users in (10, 100, 1000)),
    *(Point("validation", "samples", 10, samples, 16) for samples in (400, 1200, 4000)),
    *(Point("validation", "size", 10, 400, size) for size in (64, 128, 256)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("scratch/scaling"))
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--only", choices=("training", "validation"))
    options = parser.parse_args()
    old = json.loads(options.result.read_text(encoding="utf-8"))["points"] if options.result.exists() else []
    found = {row["key"]: row for row in old}
    for point in POINTS:
        if point.key not in found and options.only in (None, point.part):
            found[point.key] = {"key": point.key, **asdict(point), **measured(point, options.work)}
            print(found[point.key], flush=True)
            write(options.result, [found[p.key] for p in POINTS if p.key in found])
    print(json.dumps(json.loads(options.result.read_text(encoding="utf-8"))["exponents"], indent=1))


def measured(point: Point, work: Path) -> dict[str, Any]:
    """Run the point in fresh processes; the first one's figures."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = get_context("spawn")
    members = [context.Process(target=member, args=(rank, port, point, work)) for rank in range(point.processes)]
    for process in members:
        process.start()
    for process in members:
        process.join()
    if any(process.exitcode for process in members):
        raise SystemExit(f"{point}: failed")
    return json.loads((work / "figures.json").read_text(encoding="utf-8"))


def member(rank: int, port: int, point: Point, work: Path) -> None:
    """In a child: be one of the processes that `accelerate launch` would start, measure, and write the figures."""
    torch.set_num_threads(1)
    if point.processes > 1:
        os.environ |= {
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(point.processes)},
            **{"LOCAL_WORLD_SIZE": str(point.processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        }
    figures = {"training": training, "validation": validation}[point.part](point, work)
    if rank == 0:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        (work / "figures.json").write_text(json.dumps(figures | {"peak_memory_gb": peak}), encoding="utf-8")


class StepClock(Progress):
    """Processor seconds of every step of stage 2, and those before the first."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.started = time.process_time()
        self.before_s = 0.0
        self.steps_s: list[float] = []

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        last = time.process_time()
        self.before_s = last - self.started

        def advance(count: int = 1, values: dict[str, float] | None = None) -> None:
            nonlocal last
            now = time.process_time()
            self.steps_s.append(now - last)
            last = now

        yield advance


def training(point: Point, work: Path) -> dict[str, float]:
    data, run, recipe = ridges(point, 0), Run(work / "run"), load_recipe(None, TINY)
    train_autoencoder(data, run, recipe, device="cpu")
    clock = StepClock()
    train_denoiser(data, run, recipe, device="cpu", progress=clock)
    step_s = float(np.median(clock.steps_s[WARM_UP:]))
    return {
        "images_per_processor_s": BATCH / step_s / point.processes,
        "images_per_s_with_a_core_each": BATCH / step_s,
        "before_the_first_step_s": clock.before_s,
    }


def validation(point: Point, work: Path) -> dict[str, Any]:
    from validation.context import Context
    from validation.run import BLOCKS
    from validation.sets import prepare_sets
    from validation.settings import ValidationSettings

    real, synthetic = ridges(point, 0), ridges(point, 1).role("train")
    started = time.process_time()
    context = Context(prepare_sets(real, synthetic, 0), ValidationSettings(device="cpu").quick())
    blocks = {}
    for block in BLOCKS:
        before = time.process_time()
        block(context)
        blocks[block.__name__.removeprefix("assess_")] = round(time.process_time() - before, 2)
    return {"processor_s": time.process_time() - started, "blocks_s": blocks}


def ridges(point: Point, seed: int) -> SpectrogramSet:
    """Users who differ in the row and the swing of one noisy ridge; a recording for each of the four roles."""
    rng = np.random.default_rng([seed, point.users, point.samples])
    number = np.arange(point.samples)
    user, role = number % point.users, number // point.users % len(ROLES)
    share, rows = (user / point.users)[:, None], np.arange(point.size, dtype=np.float32)
    swing = point.size * (0.02 + 0.06 * (7 * share % 1))
    phase = rng.uniform(0, 2 * np.pi, (point.samples, 1))
    middle = point.size * (0.15 + 0.7 * share) + swing * np.sin(4 * np.pi * rows / point.size + phase)
    images = rng.normal(-0.8, 0.1, (point.samples, 1, point.size, point.size)).astype(np.float32)
    for start in range(0, point.samples, 1000):
        part = slice(start, start + 1000)
        images[part, 0] += 1.5 * np.exp(-((rows[:, None] - middle[part, None]) ** 2) / (0.01 * point.size**2))
    roles = [ROLES[i] for i in role]
    table = make_table(user=[f"u{i}" for i in user], recording=roles, split=roles)
    return SpectrogramSet(images.clip(-1, 1), table, "ridges")


def write(file: Path, points: list[dict[str, Any]]) -> None:
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    result = {"seed": 0, "versions": versions, "exponents": exponents(points), "points": points}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def exponents(points: list[dict[str, Any]]) -> dict[str, float]:
    """Slope of log figure over log axis, for every figure of every axis that has been measured at two places."""
    slopes = {}
    for part, axis in dict.fromkeys((p["part"], p["axis"]) for p in points):
        chosen = [p for p in points if (p["part"], p["axis"]) == (part, axis)]
        for figure in (name for name in chosen[0] if name.endswith(("_s", "_gb", "_each")) and name != "blocks_s"):
            if len(chosen) > 1:
                x, y = (np.log([p[name] for p in chosen]) for name in (axis, figure))
                slopes[f"{part}: {figure} by {axis}"] = round(float(np.polyfit(x, y, 1)[0]), 2)
    return slopes


if __name__ == "__main__":
    main()
