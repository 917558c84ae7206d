"""Which denoiser learns most per second on this machine: the transformer or diffusers' U-Net?

    python benchmarks/denoisers.py --data DATA --run RUN --minutes 4

Both train on the same latents (of a run whose autoencoder is trained) for the same wall-clock time; then the same
judge, trained on role `judge`, says how many of their samples it recognises, and texture is compared.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import torch
from record import record

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.data.texture import texture_ratio
from mdgen.generate import generate
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.training.denoiser import train_denoiser
from validation.networks.judge import Judge

CANDIDATES = {
    "unet": ["denoiser.kind=unet", "denoiser.width=64", "denoiser.levels=[1, 2, 3]", "denoiser.depth=1"],
    "dit": ["denoiser.kind=dit", "denoiser.width=256", "denoiser.depth=6"],
}
PROBE_STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("scratch/denoisers"))
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/denoisers.json"))
    options = parser.parse_args()
    data = read_dataset(options.data)
    judges = data.role("judge")
    judge = Judge(0).fit(judges.images, judges.table["user"].to_numpy())
    rows = [trial(name, data, judge, options) for name in CANDIDATES]
    result = {
        "minutes": options.minutes,
        "seed": 0,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "ceiling": accuracy(judge, data.role("test")),
        "denoisers": rows,
    }
    record(result, options.result)


def trial(name: str, data: SpectrogramSet, judge: Judge, options: argparse.Namespace) -> dict[str, object]:
    """Train one candidate for the time given and score its samples at guidance 1 and 2."""
    probe = train_for(name, data, options, PROBE_STEPS)
    steps = round(options.minutes * 60 / probe * PROBE_STEPS)
    seconds = train_for(name, data, options, steps)
    scores = {}
    for scale in (1.0, 2.0):
        settings = GenerateConfig(per_user=20, guidance_scale=scale)
        made = generate(options.work / name, settings, device="cpu")
        texture = texture_ratio(data.role("test").images, made.images)
        scores[f"guidance {scale:g}"] = {"user_accuracy": accuracy(judge, made), **texture}
    return {"name": name, "settings": CANDIDATES[name], "steps": steps, "seconds": round(seconds), **scores}


def train_for(name: str, data: SpectrogramSet, options: argparse.Namespace, steps: int) -> float:
    """Seconds that so many steps take, in a fresh copy of the run."""
    work = options.work / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    shutil.copytree(options.run / "autoencoder", work / "autoencoder")
    for file in ("config.yaml", "users.json", "axes.json"):
        shutil.copy(options.run / file, work / file)
    overrides = [*CANDIDATES[name], f"denoiser.training.steps={steps}", "denoiser.training.checkpoint_every=100000"]
    recipe = Run(work).recipe(overrides)
    started = time.monotonic()
    train_denoiser(data, Run(work), recipe, device="cpu", progress=Progress())
    return time.monotonic() - started


def accuracy(judge: Judge, data: SpectrogramSet) -> float:
    return round(float((judge.predict(data.images) == data.table["user"].to_numpy()).mean()), 4)


if __name__ == "__main__":
    main()
