"""Does training on simulated walkers first help where real windows are few? Measured on a real set, same budget.

    python benchmarks/pretraining.py --data DATA --work WORK --few 5 20 --seeds 0 1

`real`: both stages learn the first `few` windows of each person alone. `pretrained`: `simulate --like` those windows,
both stages on the walkers, then `fine-tune` on the windows, as in `configs/pretraining.yaml`; optimiser steps and batch
are the same in all. `bound`: real windows of role train, as many as are generated at most, in place of samples.

A judge trained on role `judge` gives user accuracy; kernel distances are to the rows of role `test`, in the judge's
features and in the gait descriptor's, which nothing was trained for. Results are written arm by arm; finished arms are
taken over.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from mdgen.config import load_recipe
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.data.simulator import make_scene, simulate
from mdgen.data.simulator.like import fit_likeness
from mdgen.data.texture import texture_ratio
from mdgen.generate import generate
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.fine_tuning import fine_tune
from validation.measures.distances import kernel_distance, standardise
from validation.networks.encoders import Encoder, gait_profile, judge_embedding
from validation.networks.judge import Judge

RECIPE = "pretraining"
WALKERS = {"users": 12, "sessions": 4, "windows": 12}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--few", type=int, nargs="+", default=[5, 20], help="real windows a person")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/pretraining.json"))
    options = parser.parse_args()
    data = read_dataset(options.data)
    found: dict[str, Any] = json.loads(options.result.read_text()) if options.result.exists() else {}
    found |= {"walkers": WALKERS, "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__}}
    measures = Measures(data)
    arms = found.setdefault("arms", {})
    arms["bound"] = measures(sampled(data.role("train"), 40))
    for seed in options.seeds:
        for few in options.few:
            for name, train in (("real", real_only), ("pretrained", pretrained)):
                key = f"{name}, {few} windows, seed {seed}"
                if key not in arms:
                    started = time.process_time()
                    run = train(first_windows(data.role("train"), few), options.work / key.replace(", ", "-"), seed)
                    samples = generate(run, Run(run).recipe().generate, seed=seed, users=data.users, device="cpu")
                    arms[key] = measures(samples) | {"cpu_minutes": round((time.process_time() - started) / 60, 2)}
                    print(key, arms[key], flush=True)
                    options.result.parent.mkdir(parents=True, exist_ok=True)
                    options.result.write_text(json.dumps(found, indent=1) + "\n")
    print(options.result.read_text())


class Measures:
    """What a judge and two feature spaces say of a set, against the real rows of role `test`."""

    def __init__(self, data: SpectrogramSet) -> None:
        judging = data.role("judge")
        self.judge = Judge(steps=400).fit(judging.images, judging.table["user"].to_numpy())
        self.test = data.role("test")
        _, _, height, width = data.images.shape
        self.encoders: dict[str, Encoder] = {
            "judge": judge_embedding(self.judge),
            "gait_profile": gait_profile(height, width),
        }
        self.reference = {name: encode(judging.images) for name, encode in self.encoders.items()}

    def __call__(self, made: SpectrogramSet) -> dict[str, float]:
        right = self.judge.predict(made.images) == made.table["user"].to_numpy()
        values = {"user_accuracy": float(right.mean())}
        for name, encode in self.encoders.items():
            features = standardise(self.reference[name], encode(made.images), encode(self.test.images))
            values[f"kernel_distance_{name}"] = kernel_distance(*features)
        values |= {f"texture_{axis}": v for axis, v in texture_ratio(self.test.images, made.images).items()}
        return {name: round(value, 4) for name, value in values.items()}


def first_windows(data: SpectrogramSet, count: int) -> SpectrogramSet:
    """The first `count` windows of each user: of as few recordings as hold them."""
    return data.select((data.table.groupby("user").cumcount() < count).to_numpy())


def sampled(data: SpectrogramSet, per_user: int) -> SpectrogramSet:
    """`per_user` windows of each user, spread evenly."""
    rows = [np.flatnonzero(data.table["user"] == user) for user in data.users]
    return data.select(np.concatenate([r[np.linspace(0, len(r) - 1, min(per_user, len(r))).astype(int)] for r in rows]))


def real_only(few: SpectrogramSet, work: Path, seed: int) -> Path:
    """All denoiser steps of the recipe, both stages', on the real windows."""
    recipe = load_recipe(RECIPE, [f"seed={seed}"])
    steps = recipe.denoiser.training.steps + recipe.fine_tuning.training.steps
    recipe = load_recipe(RECIPE, [f"seed={seed}", f"denoiser.training.steps={steps}"])
    run = Run(work / "run")
    train_autoencoder(few, run, recipe, device="cpu")
    train_denoiser(few, run, recipe, device="cpu")
    return run.path


def pretrained(few: SpectrogramSet, work: Path, seed: int) -> Path:
    """Walkers that look like the windows, then the windows."""
    recipe, fit = load_recipe(RECIPE, [f"seed={seed}"]), fit_likeness(few, seed)
    scene = make_scene(["walk"], [0], [24], radar=fit.radar, conditions=fit.conditions)
    walkers = simulate(**WALKERS, size=fit.size, seed=seed, scene=scene, fractions={"train": 1.0})
    before, run = Run(work / "walkers"), Run(work / "run")
    train_autoencoder(walkers, before, recipe, device="cpu")
    train_denoiser(walkers, before, recipe, device="cpu")
    fine_tune(few, before.path, run, recipe, device="cpu")
    return run.path


if __name__ == "__main__":
    main()
