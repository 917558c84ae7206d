"""Systems that are compared: one module each, `train(task)` -> a function that samples. Here is what they share.

A module is what a user of that library would write for labelled spectrograms, and its non-blank lines are counted as
such. `ours` and `vq_transformer` are commands of mdgen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet, make_table, read_dataset, write_dataset
from mdgen.device import autocast
from mdgen.token_pipeline import load_pipeline
from mdgen.training.schedule import Budget
from mdgen.training.signals import Interrupted

#: name -> (module, distributions whose versions are recorded).
SYSTEMS = {
    "mdgen": ("ours", ("mdgen",)),
    "mdgen baseline (VQ + transformer)": ("vq_transformer", ("mdgen",)),
    "diffusers UNet2DModel": ("diffusers_pixels", ("diffusers",)),
    "denoising-diffusion-pytorch": ("lucidrains_pixels", ("denoising-diffusion-pytorch", "ema-pytorch")),
    "MONAI latent diffusion": ("monai_latents", ("monai", "einops")),
}
#: Half precision where the processor is built for it, as in our recipes: `with HALF:`, or `@HALF` above a function.
HALF = autocast("auto", torch.device("cpu"))
#: Samples [N, C, H, W] in [-1, 1] of users with these numbers.
Sampler = Callable[[Tensor], Tensor]
#: Samples that are drawn at a time.
AT_ONCE = 50


def load(name: str) -> ModuleType:
    """The module of a system; raises `ImportError` where its library is not installed."""
    return import_module(f"peer_systems.{SYSTEMS[name][0]}")


def lines(name: str) -> int:
    """Non-blank lines of a system's module."""
    file = Path(__file__).with_name(f"{SYSTEMS[name][0]}.py")
    return sum(bool(line.strip()) for line in file.read_text(encoding="utf-8").splitlines())


@dataclass(frozen=True)
class Clock:
    """Processor seconds of this process since the clock was made."""

    seconds: float
    started: float

    @classmethod
    def of(cls, seconds: float) -> Clock:
        return cls(seconds, time.process_time())

    @property
    def progress(self) -> float:
        """Share of the budget that is used up, from 0 on; 1 or more is the end."""
        return (time.process_time() - self.started) / self.seconds

    @property
    def left_minutes(self) -> float:
        return max(1e-3, self.seconds * (1 - self.progress) / 60)

    def first(self, share: float) -> Clock:
        """A clock for the first part of the budget."""
        return Clock(share * self.seconds, self.started)

    def rest(self) -> Clock:
        """A clock for what is left."""
        return Clock.of(60 * self.left_minutes)


@dataclass(frozen=True)
class Task:
    """What every system is given. data: a data set folder that holds role train alone; work: a folder of its own."""

    data: Path
    work: Path
    clock: Clock
    seed: int = 0

    @classmethod
    def prepare(cls, data: SpectrogramSet, work: Path, seconds: float, seed: int) -> Task:
        """Write role train of `data` where the system may read it; the clock starts now."""
        folder = work / "data"
        if not folder.exists():
            write_dataset(data.role("train"), folder)
        return cls(folder, work, Clock.of(seconds), seed)

    @cached_property
    def real(self) -> SpectrogramSet:
        return read_dataset(self.data)

    @cached_property
    def images(self) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1]."""
        return torch.from_numpy(self.real.images)

    @cached_property
    def labels(self) -> Tensor:
        """int64 [N]: number of each row's user."""
        return torch.tensor(self.real.labels(self.users))

    @property
    def users(self) -> list[str]:
        return self.real.users

    def batches(self, clock: Clock, size: int) -> Iterator[tuple[Tensor, Tensor, float]]:
        """(images, labels, share of the budget used) in epochs, until the clock has run out."""
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            for rows in torch.randperm(len(self.labels), generator=generator).split(size):
                if (progress := clock.progress) >= 1:
                    return
                yield self.images[rows], self.labels[rows], progress


def anneal(optimizer: torch.optim.Optimizer, rate: float, progress: float) -> None:
    """Learning rate of a cosine from `rate` to 0, after a warm-up of 2 % of the budget."""
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, (progress + 1e-3) / 0.02) * 0.5 * (1 + math.cos(math.pi * progress))


def draw(sampler: Sampler, users: Sequence[str], per_user: int, seed: int) -> SpectrogramSet:
    """`per_user` samples of each user as a data set."""
    torch.manual_seed(seed)
    labels = torch.arange(len(users)).repeat_interleave(per_user)
    with torch.no_grad():
        images = torch.cat([sampler(part).float() for part in labels.split(AT_ONCE)])
    names = np.repeat(np.asarray(users, object), per_user).tolist()
    table = make_table(user=names, session="synthetic", recording=[str(i % per_user) for i in range(len(names))])
    return SpectrogramSet(images.clamp(-1, 1).numpy(), table, "synthetic")


def sample_run(run: Path, settings: GenerateConfig, labels: Tensor) -> Tensor:
    """Samples of a run of ours, as its recipe says."""
    pipeline = load_pipeline(run)
    pipeline.use_sampler(settings.sampler)
    pipeline.precision = settings.precision
    seeds = torch.randint(2**62, (len(labels),)).tolist()
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(
        labels, generators, settings.guidance_scale, settings.steps,
        guidance_interval=settings.guidance_interval, guidance_rescale=settings.guidance_rescale,
    )  # fmt: skip


def within(minutes: float, stage: Callable[..., object]) -> None:
    """A stage of ours in so many processor minutes; should its plan not quite hold, it goes on to its last step."""
    with processor_clock():
        try:
            stage(budget=Budget.of(minutes))
        except Interrupted:
            stage(budget=None)


@contextmanager
def processor_clock() -> Iterator[None]:
    """Inside, `time.monotonic` counts processor seconds, so that `--max-minutes` of our own commands does too."""
    monotonic, time.monotonic = time.monotonic, time.process_time
    try:
        yield
    finally:
        time.monotonic = monotonic
