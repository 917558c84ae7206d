"""How much of a training is arithmetic? The loop against a bare one on random tensors, step by step in turn.

    python benchmarks/training_speed.py --steps 60

After each step of the real training (drawing, averages, checkpoints and logs included), one step of a bare loop runs:
the same network, losses, precision and optimizer on random tensors that lie ready. Reported for both stages: images/s
of both, their ratio, and the arithmetic done per second as a share of the machine's own matrix products in the same
precision, measured in the same run. Then the memory of stage 2 on a cache of latents and on one ten times as large.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import torch
from record import record
from torch.utils.flop_counter import FlopCounterMode

from mdgen.config import Recipe, TrainingConfig, load_recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.simulator import simulate
from mdgen.data.windows import WindowCutter
from mdgen.device import autocast, resolve_precision
from mdgen.models.autoencoder import build_autoencoder
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser
from mdgen.progress import Advance, Progress
from mdgen.run import Run
from mdgen.training.autoencoder import picture_shape, train_autoencoder
from mdgen.training.autoencoder_task import AutoencoderTask
from mdgen.training.denoiser import DenoiserTask, train_denoiser
from mdgen.training.latents import LatentCache, MappedRows, RandomLatents
from mdgen.training.loop import train
from mdgen.training.task import Task

CPU = torch.device("cpu")
#: Steps at the start that are not counted.
WARM_UP = 5


class Alternating(Progress):
    """After every step of a training, times that step and a bare one."""

    def __init__(self, bare: Callable[[], object]) -> None:
        super().__init__(quiet=True)
        self.bare = bare
        self.loop_s: list[float] = []
        self.bare_s: list[float] = []

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        last = time.perf_counter()

        def advance(count: int = 1, values: dict[str, float] | None = None) -> None:
            nonlocal last
            middle = time.perf_counter()
            self.bare()
            self.loop_s.append(middle - last)
            last = time.perf_counter()
            self.bare_s.append(last - middle)

        yield advance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--steps", type=int, default=220, help="of each stage")
    parser.add_argument(
        "--latents", type=int, default=5000, help="in the small cache; the large one has ten times that"
    )
    parser.add_argument("--work", type=Path, default=Path("scratch/training_speed"))
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/training_speed.json"))
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        return print(memory_mb(options.memory_of, options.work))
    shutil.rmtree(options.work, ignore_errors=True)
    overrides = [f"{part}.training.{key}" for part in ("autoencoder", "denoiser")
                 for key in (f"steps={options.steps}", f"checkpoint_every={max(20, options.steps // 3)}")]  # fmt: skip
    recipe = load_recipe(options.config, overrides)
    data, run = simulate(6, 6, 10, 64, 0), Run(options.work / "run")
    stages = {}
    for name, trainer, bare in (
        ("autoencoder", train_autoencoder, bare_autoencoder(recipe, data)),
        ("denoiser", train_denoiser, bare_denoiser(recipe, data)),
    ):
        with FlopCounterMode(display=False) as counter:
            bare()
        progress = Alternating(bare)
        trainer(data, run, recipe, device="cpu", progress=progress)  # type: ignore[operator]
        stages[name] = figures(progress, getattr(recipe, name).training, counter.get_total_flops())
    memory = {count: memory_of(count, options.work) for count in (options.latents, 10 * options.latents)}
    small, large = memory.values()
    result = {
        "config": options.config,
        "stages": stages,
        "memory": {"latents": list(memory), "rss_mb": [small, large], "growth": round(large / small - 1, 4)},
        "steps": options.steps,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seed": 0,
    }
    record(result, options.result)


def bare_autoencoder(recipe: Recipe, data: SpectrogramSet) -> Callable[[], object]:
    """A step of the autoencoder and its losses on a batch that lies ready."""
    torch.manual_seed(1)
    windows = WindowCutter.of(data, recipe.data.augment)
    task = AutoencoderTask(build_autoencoder(recipe.autoencoder, picture_shape(data)), windows, recipe.autoencoder)
    return bare_step(task, recipe.autoencoder.training)


def bare_denoiser(recipe: Recipe, data: SpectrogramSet) -> Callable[[], object]:
    """A step of the denoiser and its loss on a batch that lies ready."""
    torch.manual_seed(1)
    channels = recipe.autoencoder.latent_channels
    network = build_denoiser(recipe.denoiser, channels, (16, 16))
    conditioning = UserConditioning(len(data.users), network.condition_dim, recipe.diffusion.condition_dropout)
    windows, latents = Windows(1000), RandomLatents((channels, 16, 16))
    task = DenoiserTask(
        network, conditioning, windows, latents, torch.zeros(1000, 1, dtype=torch.long), recipe.diffusion, 1e-3
    )  # type: ignore[arg-type]
    return bare_step(task, recipe.denoiser.training)


def bare_step(task: Task, config: TrainingConfig) -> Callable[[], object]:
    batch = {
        key: torch.randn_like(value) if value.is_floating_point() else value
        for key, value in task.draw(np.arange(config.batch_size), torch.Generator()).items()
    }
    parameters = [p for params, _ in task.parts().values() for p in params]
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)

    def step() -> None:
        with autocast(config.precision, CPU):
            value = task(batch, 0.0)["total"]
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def figures(progress: Alternating, config: TrainingConfig, flop_a_step: int) -> dict[str, object]:
    loop_s, bare_s = (float(np.mean(times[WARM_UP:])) for times in (progress.loop_s, progress.bare_s))
    precision = resolve_precision(config.precision, CPU)
    peak = matrix_product_peak(precision)
    return {
        "precision": str(precision).removeprefix("torch."),
        "batch_size": config.batch_size,
        "loop_images_per_s": round(config.batch_size / loop_s, 1),
        "bare_images_per_s": round(config.batch_size / bare_s, 1),
        "ratio": round(bare_s / loop_s, 4),
        "ratio_of_medians": round(
            float(np.median(progress.bare_s[WARM_UP:]) / np.median(progress.loop_s[WARM_UP:])), 4
        ),
        "gflop_per_step": round(flop_a_step / 1e9, 2),
        "gflop_per_s": round(flop_a_step / loop_s / 1e9, 1),
        "matrix_product_gflop_per_s": round(peak / 1e9, 1),
        "share_of_peak": round(flop_a_step / loop_s / peak, 3),
    }


def matrix_product_peak(dtype: torch.dtype, size: int = 1536) -> float:
    """FLOP/s of the fastest of ten large matrix products."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    times = []
    for _ in range(11):
        started = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


class Windows:
    """As many windows as there are latents, without pictures behind them."""

    def __init__(self, count: int) -> None:
        self.users = ["a", "b"] * (count // 2)

    def __len__(self) -> int:
        return len(self.users)

    def draw_views(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        return indices


def memory_of(count: int, work: Path) -> float:
    """MB that stage 2 holds on so many latents, in a process of its own."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ("mean", "std"):
        with open(work / f"{name}.npy", "wb") as stream:
            header = {"descr": "<f2", "fortran_order": False, "shape": (count, 16, 16, 16)}
            np.lib.format.write_array_header_1_0(stream, header)
            for _ in range(count // 500):
                stream.write(np.random.default_rng(0).standard_normal((500, 16, 16, 16)).astype("<f2").tobytes())
    arguments = [sys.executable, __file__, "--memory-of", str(count), "--work", str(work)]
    return float(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)


class Watching(Progress):
    """Notes the memory of the process after every step."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.rss_mb: list[float] = []

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        yield lambda count=1, values=None: self.rss_mb.append(psutil.Process().memory_info().rss / 1e6)


def memory_mb(count: int, work: Path) -> float:
    """Trains a small denoiser for 200 steps of 250 latents; the median memory of the process after a step in MB."""
    recipe = load_recipe("quickstart", ["denoiser.kind=dit", "denoiser.width=32", "denoiser.depth=1"])
    network = build_denoiser(recipe.denoiser, 16, (16, 16))
    conditioning = UserConditioning(2, network.condition_dim, 0.1)
    cache = LatentCache(MappedRows(work / "mean.npy"), MappedRows(work / "std.npy"))
    task = DenoiserTask(
        network, conditioning, Windows(count), cache, torch.zeros(count, 1, dtype=torch.long), recipe.diffusion, 1e-3
    )  # type: ignore[arg-type]
    config = TrainingConfig(steps=200, batch_size=250, checkpoint_every=1000)
    progress = Watching()
    train(task, config, name="d", seed=0, run=work / f"of-{count}", settings={}, device="cpu", progress=progress)
    return float(np.median(progress.rss_mb))


if __name__ == "__main__":
    main()
