"""Natural-image benchmarks: which public set and recipe belong to a name, and how a run of one is shortened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mdgen.config import Recipe, load_recipe
from mdgen.data.dataset import SpectrogramSet, read_dataset, write_dataset
from mdgen.data.public import import_public
from mdgen.errors import MdgenError

#: Share of a time limit that the autoencoder may take.
AUTOENCODER_SHARE = 0.25


@dataclass(frozen=True)
class Benchmark:
    """public_set: as `mdgen import-public` calls it. recipe: name of a shipped one."""

    public_set: str
    recipe: str


BENCHMARKS = {
    "cifar10": Benchmark("cifar10", "cifar10-latent"),
    "fashion-mnist": Benchmark("fashion-mnist", "mnist"),
    "celeba64": Benchmark("celeba", "celeba64"),
}


def benchmark_named(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise MdgenError(f"{name}: no such benchmark; known are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def benchmark_data(
    name: str, root: Path, out: Path, *, download: bool = False, limit: int | None = None
) -> SpectrogramSet:
    """The benchmark's pictures as the data set `out/data`, imported unless they are there.

    Raises `MdgenError` where `out` belongs to another benchmark or another `limit`.
    """
    wanted, claim = {"benchmark": name, "limit": limit}, out / "benchmark.json"
    if (out / "data" / "manifest.csv").exists():
        found = json.loads(claim.read_text(encoding="utf-8")) if claim.exists() else {}
        if found != wanted:
            raise MdgenError(f"{out}: holds {found or 'other data'}, not {wanted}; choose another --out")
        return read_dataset(out / "data")
    data = import_public(benchmark_named(name).public_set, root, download=download, limit=limit)
    out.mkdir(parents=True, exist_ok=True)
    claim.write_text(json.dumps(wanted), encoding="utf-8")
    write_dataset(data, out / "data")
    return read_dataset(out / "data")  # as it is found by a command that goes on


def scaled_recipe(name_or_file: str | Path | None, overrides: Sequence[str], steps_scale: float) -> Recipe:
    """The recipe with the steps of both stages times `steps_scale`, one at least."""
    if not steps_scale > 0:
        raise MdgenError(f"--steps-scale {steps_scale:g}: must be above 0")
    recipe = load_recipe(name_or_file, overrides)
    stages = {"autoencoder": recipe.autoencoder.training, "denoiser": recipe.denoiser.training}
    scaled = {part: max(1, round(training.steps * steps_scale)) for part, training in stages.items()}
    steps = [f"{part}.training.steps={count}" for part, count in scaled.items()]
    return load_recipe(name_or_file, [*overrides, *steps])
