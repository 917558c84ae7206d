"""At which noise levels does a denoiser have to learn? Arms of recipe `gait`: one autoencoder, one judge.

    python benchmarks/noise_levels.py --data DATA --work WORK

Each arm draws its training times from another distribution, for the same number of steps; by default a third of the
recipe's, eleven minutes of one core in float32. Each is sampled at every guidance scale and rescale, 25 windows a user,
and judged as `mdgen validate` does. Runs, samples and reports that are in WORK already are not made again.
"""

from __future__ import annotations

import argparse
import platform
import shutil
from itertools import product
from pathlib import Path

import torch

from mdgen.config import load_recipe
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.device import resolve_precision
from mdgen.generate import write_synthetic
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from validation.report.row import append_row, report_row
from validation.run import validate
from validation.settings import ValidationSettings

RESULT = Path(__file__).parent / "results" / "noise_levels.csv"
#: Settings of each arm; the fourth is the recipe. Shares of times below 0.2 and above 0.8 in brackets, in per cent.
ARMS = {
    "logit-normal (8, 8)": ("diffusion.time_mean=0", "diffusion.time_std=1"),
    "logit-normal, mean 0.5 (3, 19)": ("diffusion.time_mean=0.5", "diffusion.time_std=1"),
    "uniform (20, 20)": ("diffusion.times=uniform",),
    "logit-normal, mean 0.25, deviation 1.3 (10, 19)": ("diffusion.time_mean=0.25", "diffusion.time_std=1.3"),
    "logit-normal, mean 0.5, deviation 1.3 (7, 25)": ("diffusion.time_mean=0.5", "diffusion.time_std=1.3"),
}
KEPT = (
    *("tstr", "augmentation_gain", "user_accuracy", "verification", "fidelity", "kinematics", "texture", "diversity"),
    *("memorisation", "kid_judge", "kid_efficientnet_lite0"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--arms", nargs="*", type=int, default=list(range(len(ARMS))), help="numbers, from 0")
    parser.add_argument("--guidance", nargs="*", type=float, default=[3.0, 2.0])
    parser.add_argument("--rescale", nargs="*", type=float, default=[0.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = read_dataset(options.data)
    precision = str(resolve_precision("auto", torch.device("cpu"))).removeprefix("torch.")
    versions = {"precision": precision, "python": platform.python_version(), "torch": torch.__version__}
    for number in options.arms:
        name, changes = list(ARMS.items())[number]
        run = trained(data, options.work, f"{options.steps}-{number}", options.steps, changes, options.seed)
        for scale, rescale in product(options.guidance, options.rescale):
            sampling = {"guidance_scale": scale, "guidance_rescale": rescale}
            folder = options.work / f"{run.path.name}-guidance-{scale:g}-rescale-{rescale:g}"
            judge(data, run, folder, sampling, options.seed)
            row = report_row(folder / "report")
            about = {"times": name, "steps": options.steps, **sampling, "seed": options.seed, **versions}
            kept = {key: row[key] for gate in KEPT for key in (gate, f"{gate}_real") if key in row}
            append_row(options.result, about | kept | {key: row[key] for key in ("verdict", "failed", "synthetic")})
            print(name, sampling, kept, flush=True)


def trained(data: SpectrogramSet, work: Path, name: str, steps: int, changes: tuple[str, ...], seed: int) -> Run:
    """The run of an arm, on the autoencoder that all share."""
    first, run = Run(work / "stage-1"), Run(work / name)
    if not (first.path / "autoencoder").exists():
        train_autoencoder(data, first, load_recipe("gait", [f"seed={seed}"]), device="cpu")
    if not (run.path / "model_index.json").exists():
        shutil.copytree(first.path, run.path, dirs_exist_ok=True)
        recipe = load_recipe("gait", [f"seed={seed}", f"denoiser.training.steps={steps}", *changes])
        train_denoiser(data, run, recipe, device="cpu")
    return run


def judge(data: SpectrogramSet, run: Run, folder: Path, sampling: dict[str, float], seed: int) -> None:
    """Samples and report in `folder`."""
    if (folder / "report" / "summary.json").exists():
        return
    changes = [f"generate.{name}={value}" for name, value in sampling.items()]
    config = run.recipe([*changes, "generate.per_user=25"]).generate
    write_synthetic(run.path, config, folder / "synthetic", seed=seed, device="cpu")
    settings = ValidationSettings(seed=seed, cache=folder.parent / "cache")
    validate(data, read_dataset(folder / "synthetic"), folder / "report", settings, print)


if __name__ == "__main__":
    main()
