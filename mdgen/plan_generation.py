"""What writing a synthetic data set would cost: time, disk and shards, from one batch made and written for real."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState

from mdgen.config import GenerateConfig
from mdgen.data.shards import ShardedDataset
from mdgen.device import computing_on, memory_gb, resolve_precision
from mdgen.generate import Maker


def generation_plan_lines(
    run: Path,
    settings: GenerateConfig,
    out: Path,
    *,
    seed: int = 0,
    users: Sequence[str] | None = None,
    device: str = "auto",
) -> list[str]:
    """Lines for people; nothing is left on the disk."""
    state = computing_on(device)
    maker = Maker.of(run, settings, seed, users, state.device)
    missing = ShardedDataset(out, settings.format, settings.manifest).missing(len(maker), settings.shard_size)
    left = sum(map(len, missing))
    maker.images(range(1))
    rows = range(min(len(maker), settings.batch_size))
    started = time.monotonic()
    images = maker.images(rows)
    seconds = (time.monotonic() - started) / len(rows)
    with tempfile.TemporaryDirectory() as folder:
        store = ShardedDataset(Path(folder), settings.format, settings.manifest)
        store.open(maker.request(), grows="per_user")
        store.write(rows, images, maker.table(rows))
        written = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file() and f.parent != store.index)
        table = sum(f.stat().st_size for f in store.index.iterdir())
    disk = (written + 2 * table) / len(rows)  # rows are kept shard by shard and in the manifest
    free = shutil.disk_usage(next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())).free
    total_s = seconds * left / state.num_processes
    return [
        f"{len(maker):,} samples of {len(maker.users)} users; {left:,} of them still to be made, in {len(missing):,} "
        f"shards of up to {settings.shard_size}",
        f"{maker.pipeline.evaluations(settings.steps)} evaluations of the network a sample by "
        f"{settings.sampler}, guidance {settings.guidance_scale:g} on noise levels "
        f"{settings.guidance_interval[0]:g} to {settings.guidance_interval[1]:g}",
        f"time: {1 / seconds:.1f} samples a second in {_precision(settings, state)} on this {state.device.type}, "
        f"{maker.batch_size} at a time: {timedelta(seconds=round(total_s))} with {state.num_processes} process(es)",
        f"disk: {disk / 1e3:.1f} kB a sample as {settings.format}: {disk * left / 1e9:.2f} GB; {free / 1e9:.1f} GB free"
        + ("" if disk * left < free else ": NOT ENOUGH"),
        f"memory: {memory_gb():.2f} GB, whatever the number of samples",
    ]


def _precision(settings: GenerateConfig, state: PartialState) -> str:
    return str(resolve_precision(settings.precision, state.device)).removeprefix("torch.")
