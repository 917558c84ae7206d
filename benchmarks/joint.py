"""Does joint fine-tuning help? A trained run goes on three ways for the same steps, and a judge looks at each.

    python benchmarks/joint.py --data DATA --run RUN --work WORK --result benchmarks/results/joint.json

`before`: the run as it is. `denoiser`: `fine-tune` of all of stage 2 alone. `joint`: `train-joint`. Same data, batch,
rate and number of steps; joint steps cost more, which is reported. One judge, trained once on role `judge`; texture is
the energy of fine structure over that of held-out real windows (1 = all).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import diffusers
import torch

from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.data.texture import texture_ratio
from mdgen.generate import generate
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.training.fine_tuning import fine_tune
from mdgen.training.joint import train_joint
from validation.networks.judge import Judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "run", "work", "result"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--per-user", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = read_dataset(options.data)
    judging = data.role("judge")
    judge = Judge(seed=options.seed).fit(judging.images, judging.table["user"].to_numpy())
    held_out = data.role("test")
    runs, minutes = continued(options, data)
    result = {
        "real": {"accuracy": accuracy(judge, held_out)},
        **{name: measured(run, judge, held_out, options) | {"minutes": minutes[name]} for name, run in runs.items()},
        "steps": options.steps,
        "seed": options.seed,
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
    }
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(result, indent=1) + "\n")
    print(options.result.read_text())


def continued(options: argparse.Namespace, data: SpectrogramSet) -> tuple[dict[str, Path], dict[str, float]]:
    """Run folders by name, and the minutes that each took."""
    training = f"steps={options.steps}", "batch_size=16", "learning_rate=1e-4", "checkpoint_every=100000"
    minutes = {"before": 0.0}
    for name, section, go_on in (("denoiser", "fine_tuning", fine_tune), ("joint", "joint", train_joint)):
        overrides = [f"{section}.training.{setting}" for setting in training]
        overrides += ["fine_tuning.learn=all", "fine_tuning.embedding_learning_rate=1e-4"]
        started = time.monotonic()
        go_on(
            data, options.run, Run(options.work / name), Run(options.run).recipe(overrides),
            device="cpu", progress=Progress(),
        )  # fmt: skip
        minutes[name] = round((time.monotonic() - started) / 60, 2)
    return {"before": options.run, **{name: options.work / name for name in ("denoiser", "joint")}}, minutes


def measured(run: Path, judge: Judge, held_out: SpectrogramSet, options: argparse.Namespace) -> dict[str, float]:
    settings = Run(run).recipe().generate.model_copy(update={"per_user": options.per_user})
    made = generate(run, settings, seed=options.seed, device="cpu")
    texture = texture_ratio(held_out.images, made.images)
    return {"accuracy": accuracy(judge, made), **{f"texture_{axis}": round(v, 3) for axis, v in texture.items()}}


def accuracy(judge: Judge, data: SpectrogramSet) -> float:
    predicted = judge.predict(data.images)
    return round(float((predicted == data.table["user"].to_numpy()).mean()), 4)


if __name__ == "__main__":
    main()
