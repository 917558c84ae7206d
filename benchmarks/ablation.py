"""Which choices earn their place in the default? Every arm changes one thing, at the same cost, before the same judge.

    python benchmarks/ablation.py --data DATA --run RUN --work WORK               # guidance: sampling a trained run
    python benchmarks/ablation.py --data DATA --size 32 --work WORK               # all that has to be trained

RUN is a trained run of recipe `quickstart` on DATA. Training arms start from the recipe, with pictures averaged down to
--size, so that a few minutes on one thread lead as far as the whole recipe does at its own size. Stage 2 learns for the
same processor seconds in the latents of one autoencoder; where that is changed, stage 1 learns for the same processor
seconds as well. Steps are fitted to that by timing a few. Joint fine-tuning goes on from the default, against stage 2
alone going on as long. A row is written as soon as its arm is done, and arms with a row are not done again.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import diffusers
import numpy as np
import pandas as pd
import torch
from panel import MEASURES, Panel

from mdgen.config import load_recipe
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.generate import generate
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.fine_tuning import fine_tune
from mdgen.training.joint import train_joint
from mdgen.training.latent_classifier import train_latent_classifier
from validation.networks.network import shrink

#: Steps whose cost is measured to fit a schedule: the difference of the two, so that what comes once cancels out. Many,
#: because what comes once costs seconds and varies.
PROBE_STEPS = 10, 110
#: Trained for no other end than to be guided away from.
WEAK_STEPS = 300


@dataclass(frozen=True)
class Arm:
    """One change of the default. made: how its run comes to be, a method of `Bench`."""

    group: str
    name: str
    made: str
    changes: tuple[str, ...] = ()


def sampled(group: str, name: str, *changes: str, made: str = "as_it_is") -> Arm:
    return Arm(group, name, made, tuple(f"generate.{change}" for change in changes))


PERCEPTUAL = "autoencoder.perceptual=effnet-lite0", "autoencoder.perceptual_weight=0.1"
ADVERSARIAL = "autoencoder.adversarial.weight=0.5", "autoencoder.adversarial.receptive_field=16"
KL = "autoencoder.kind=kl", "autoencoder.channels=32", "autoencoder.floor_margin=0"
VQ = "autoencoder.kind=vq", "autoencoder.channels=32", "autoencoder.floor_margin=0", "autoencoder.codebook.size=1024"
DIT = "denoiser.kind=dit", "denoiser.width=192", "denoiser.depth=6", "denoiser.patch=2"
SMALL = "denoiser.training.batch_size=16"

DEFAULT = Arm("default", "flow, unet, patch", "stage_2")
ARMS = (
    sampled("guidance", "scale 2", "guidance_scale=2"),
    sampled("guidance", "none", "guidance_scale=1"),
    sampled("guidance", "scale 1.5", "guidance_scale=1.5"),
    sampled("guidance", "scale 3", "guidance_scale=3"),
    sampled("guidance", "scale 2, noise levels 0.2 to 0.8", "guidance_scale=2", "guidance_interval=[0.2, 0.8]"),
    sampled("guidance", "scale 2, noise levels 0 to 0.7", "guidance_scale=2", "guidance_interval=[0, 0.7]"),
    sampled("guidance", "scale 3, noise levels 0 to 0.7", "guidance_scale=3", "guidance_interval=[0, 0.7]"),
    sampled("guidance", "scale 2.5, noise levels 0 to 0.8", "guidance_scale=2.5", "guidance_interval=[0, 0.8]"),
    sampled("guidance", "scale 4, noise levels 0 to 0.6", "guidance_scale=4", "guidance_interval=[0, 0.6]"),
    sampled("guidance", "by a weak model, scale 1.5", "guidance_scale=1.5", made="autoguided"),
    sampled("guidance", "scale 2, rescaled", "guidance_scale=2", "guidance_rescale=0.7"),
    sampled("guidance", "by a weak model, scale 2", "guidance_scale=2", made="autoguided"),
    sampled("guidance", "by a classifier", "guidance_scale=1", "classifier_scale=1", made="classified"),
    DEFAULT,
    Arm("variety", "tempo 0.05", "stage_2", ("data.augment.tempo=0.05",)),
    Arm("variety", "style", "stage_2", ("conditioning.style=true",)),
    Arm("variety", "dropout 0.1", "stage_2", ("denoiser.dropout=0.1",)),
    Arm("training", "batches of 16", "stage_2", (SMALL,)),
    Arm("training", "batches of 32", "stage_2", ("denoiser.training.batch_size=32",)),
    Arm("training", "batches of 64", "stage_2", ("denoiser.training.batch_size=64",)),
    Arm("denoiser", "depth 2", "stage_2", ("denoiser.depth=2",)),
    Arm("objective", "uniform times", "stage_2", ("diffusion.times=uniform",)),
    Arm("denoiser", "dit", "stage_2", (*DIT, "denoiser.training.learning_rate=5e-4")),
    Arm("denoiser", "dit, batches of 16", "stage_2", (*DIT, SMALL, "denoiser.training.learning_rate=1e-3")),
    Arm("objective", "v", "stage_2", ("diffusion.objective=v_prediction",)),
    Arm("autoencoder", "kl", "both_stages", KL),
    Arm("objective", "epsilon", "stage_2", ("diffusion.objective=epsilon",)),
    Arm("autoencoder", "vq", "both_stages", (*VQ, "autoencoder.latent_noise=0")),
    Arm("denoiser", "unet-cross", "stage_2", ("denoiser.kind=unet-cross",)),
    Arm("loss", "with adversarial", "both_stages", ADVERSARIAL),
    Arm("loss", "with perceptual", "both_stages", PERCEPTUAL),
    Arm("after", "tuned on, stage 2 alone", "goes_on"),
    Arm("after", "tuned on, jointly", "joint"),
    Arm("objective", "edm", "stage_2", ("diffusion.objective=edm",)),
)


class Bench:
    """Makes the run that an arm samples from, and says what it cost in processor seconds."""

    def __init__(self, data: SpectrogramSet, run: Path, work: Path, stage_1_s: float, stage_2_s: float) -> None:
        self.data, self.run, self.work = data, run, work
        self.stage_1_s, self.stage_2_s = stage_1_s, stage_2_s

    def as_it_is(self, arm: Arm) -> tuple[Path, dict[str, float]]:
        return self.run, {}

    def autoguided(self, arm: Arm) -> tuple[Path, dict[str, float]]:
        """Away from a model that saw a part of the training."""
        if not (self.work / "weak" / "model_index.json").exists():
            self._train_denoiser(self.work / "weak", self.run, (), WEAK_STEPS)
        return self.run, {"weak_steps": WEAK_STEPS}

    def classified(self, arm: Arm) -> tuple[Path, dict[str, float]]:
        run = self.work / "classifier"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.run, run)
        started = time.process_time()
        train_latent_classifier(self.data, Run(run), Run(run).recipe(), device="cpu")
        return run, {"classifier_s": time.process_time() - started}

    def stage_2(self, arm: Arm) -> tuple[Path, dict[str, float]]:
        """In the latents of the trained run."""

        def train(folder: Path, steps: int) -> None:
            self._train_denoiser(folder, self.run, arm.changes, steps)

        if not (self.run / "autoencoder").exists():
            self._train_autoencoder(self.run, ())
        return self._for_seconds(self.work / _folder(arm), "stage_2", self.stage_2_s, train)

    def both_stages(self, arm: Arm) -> tuple[Path, dict[str, float]]:
        source, cost = self._train_autoencoder(self.work / f"{_folder(arm)}-stage-1", arm.changes)

        def second(folder: Path, steps: int) -> None:
            self._train_denoiser(folder, source, (), steps)

        run, more = self._for_seconds(self.work / _folder(arm), "stage_2", self.stage_2_s, second)
        return run, cost | more

    def goes_on(self, arm: Arm) -> tuple[Path, dict[str, float]]:
        changed = replace(arm, changes=("fine_tuning.learn=all", "fine_tuning.embedding_learning_rate=1e-4"))
        return self._continued(changed, "fine_tuning", fine_tune)

    def joint(self, arm: Arm) -> tuple[Path, dict[str, float]]:
        return self._continued(arm, "joint", train_joint)

    def _continued(self, arm: Arm, section: str, go_on: Callable[..., object]) -> tuple[Path, dict[str, float]]:
        def train(folder: Path, steps: int) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            training = f"steps={steps}", "batch_size=16", "learning_rate=1e-4"
            overrides = [*arm.changes, *(f"{section}.training.{setting}" for setting in training)]
            source = self.work / _folder(DEFAULT)
            go_on(self.data, source, Run(folder), Run(source).recipe(overrides), device="cpu")

        return self._for_seconds(self.work / _folder(arm), "continued", self.stage_2_s / 2, train)

    def _for_seconds(
        self, folder: Path, stage: str, seconds: float, train: Callable[[Path, int], None]
    ) -> tuple[Path, dict[str, float]]:
        """`train` in a folder for about so many processor seconds."""

        def cost(steps: int) -> float:
            started = time.process_time()
            train(folder, steps)
            return time.process_time() - started

        few, more = (cost(steps) for steps in PROBE_STEPS)
        steps = max(1, round(seconds * (PROBE_STEPS[1] - PROBE_STEPS[0]) / (more - few)))
        return folder, {f"{stage}_steps": steps, f"{stage}_s": cost(steps)}

    def _train_autoencoder(self, folder: Path, changes: Sequence[str]) -> tuple[Path, dict[str, float]]:
        def train(folder: Path, steps: int) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            recipe = load_recipe("quickstart", [*changes, f"autoencoder.training.steps={steps}"])
            train_autoencoder(self.data, Run(folder), recipe, device="cpu")

        return self._for_seconds(folder, "stage_1", self.stage_1_s, train)

    def _train_denoiser(self, folder: Path, source: Path, changes: Sequence[str], steps: int) -> None:
        """In a fresh run with the autoencoder of `source`."""
        shutil.rmtree(folder, ignore_errors=True)
        for part in ("autoencoder", "cache"):
            if (source / part).exists():
                shutil.copytree(source / part, folder / part)
        for file in ("config.yaml", "users.json", "axes.json"):
            shutil.copy(source / file, folder / file)
        recipe = Run(folder).recipe(
            [*changes, f"denoiser.training.steps={steps}", "denoiser.training.pictures_every=0"]
        )
        train_denoiser(self.data, Run(folder), recipe, device="cpu")


def measured(arm: Arm, bench: Bench, panel: Panel, options: argparse.Namespace) -> dict[str, object]:
    """The row of an arm."""
    run, cost = getattr(bench, arm.made)(arm)
    sampling = [change for change in arm.changes if change.startswith("generate.")]
    counts = f"generate.per_user={options.per_user}", f"generate.steps={options.steps}"
    fixed = *counts, "generate.guidance_scale=2", "generate.guidance_interval=[0, 1]"
    settings = Run(run).recipe([*fixed, *sampling]).generate
    if arm.made == "autoguided":
        settings = settings.model_copy(update={"weak_run": str(bench.work / "weak")})
    started = time.process_time()
    made = generate(run, settings, seed=options.seed, device="cpu")
    cost = {name: round(value, 1) for name, value in {**cost, "sampling_s": time.process_time() - started}.items()}
    return {
        "size": made.images.shape[-1],
        "group": arm.group,
        "arm": arm.name,
        **panel(made),
        **cost,
        "changes": " ".join(arm.changes),
    }


def real_row(data: SpectrogramSet, panel: Panel, per_user: int) -> dict[str, object]:
    """As many training windows in the place of samples: what may be hoped for."""
    train = data.role("train")
    chosen = train.table.groupby("user").sample(per_user, random_state=0).index
    values = panel(train.select(np.sort(chosen.to_numpy())))
    return {"size": data.images.shape[-1], "group": "real", "arm": "training windows", **values, "changes": ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="trained run to sample; without it, arms are trained")
    parser.add_argument("--size", type=int, default=32, help="pixels a side of what is trained on")
    parser.add_argument("--only", nargs="+", default=[], help="groups, e.g. guidance objective")
    parser.add_argument("--stage-1-s", type=float, default=60, help="processor seconds of stage 1")
    parser.add_argument("--stage-2-s", type=float, default=150, help="processor seconds of stage 2")
    parser.add_argument("--per-user", type=int, default=30)
    parser.add_argument("--steps", type=int, default=12, help="of the sampler, in every arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    data = read_dataset(options.data)
    if options.run is None:
        data = data.with_images(shrink(data.images, options.size))
    panel = Panel(data, options.seed)
    bench = Bench(data, options.run or options.work / "autoencoder", options.work, options.stage_1_s, options.stage_2_s)
    rows = options.work / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    size = data.images.shape[-1]
    makers: dict[str, Callable[[], dict[str, object]]] = {"real": lambda: real_row(data, panel, options.per_user)}
    for arm in ARMS:
        if (arm.group == "guidance") == (options.run is not None) and (not options.only or arm.group in options.only):
            makers[_folder(arm)] = partial(measured, arm, bench, panel, options)
    for name, make in makers.items():
        file = rows / f"{size}-{name}.json"
        if not file.exists():
            file.write_text(json.dumps(make()))
            write_result([json.loads(f.read_text()) for f in rows.iterdir()], options)


def _folder(arm: Arm) -> str:
    return arm.name.replace(",", "").replace(" ", "-")


def write_result(rows: list[dict[str, object]], options: argparse.Namespace) -> None:
    """All rows there are, in the order of the arms: as a table, and with settings and versions."""
    order = ["training windows", *(arm.name for arm in ARMS)]
    table = pd.DataFrame(sorted(rows, key=lambda row: (-int(str(row["size"])), order.index(str(row["arm"])))))
    first = ["size", "group", "arm", *MEASURES]
    table = table[[*first, *(column for column in table if column not in (*first, "changes")), "changes"]]
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "ablation.csv", index=False)
    result = {
        "options": {key: value for key, value in vars(options).items() if key not in ("data", "run", "work", "out")},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "threads": torch.get_num_threads(),
        },
        "best": MEASURES,
        "arms": [{key: value for key, value in row.items() if value == value} for row in table.to_dict("records")],
    }
    (options.out / "ablation.json").write_text(json.dumps(result, indent=1) + "\n")
    print(table.drop(columns="changes").to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
