"""Training that asks a judge how much identity reconstructions keep, and checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdgen.commands.options import (
    ConfigOption,
    DataOption,
    DeviceOption,
    DryRunOption,
    FromOption,
    MinutesOption,
    NewRunOption,
    RunOption,
    SetOption,
    SourceOption,
    command,
    make_progress,
    print_plan,
    required,
)
from mdgen.errors import MdgenError
from validation.commands.opinion import identity_judge, judge_settings

if TYPE_CHECKING:
    from mdgen.config import Recipe
    from mdgen.data.dataset import SpectrogramSet
    from mdgen.progress import Progress
    from mdgen.training.schedule import Budget

JudgeOption = Annotated[bool, typer.Option(help="Ask a judge how much identity reconstructions keep.")]


@command
def train_vae(
    data: DataOption,
    run: RunOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    judge: JudgeOption = True,
    max_minutes: MinutesOption = None,
    source: FromOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Stage 1: train the autoencoder and check what it keeps. The same command again goes on where it stopped.

    Without --config it takes plain defaults; `mdgen inspect` recommends a recipe.

    Example: mdgen train-vae --data data --run runs/walkers --config quickstart
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.schedule import Budget

    budget = Budget.of(max_minutes)
    recipe = Run(source).recipe(overrides or ()) if source and not config else load_recipe(config, overrides or ())
    judge_settings(recipe)
    spectrograms = read_dataset(data)
    if dry_run:
        return print_plan(recipe, spectrograms)
    if source:
        Run(run).continue_from(source)
    stage_1(spectrograms, run, recipe, device, judge, make_progress(), budget)
    print(f"train stage 2 with: mdgen train-ldm --data {data} --run {run}")


@command
def train_joint(
    data: DataOption,
    source: SourceOption,
    run: NewRunOption,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    judge: JudgeOption = True,
    max_minutes: MinutesOption = None,
) -> None:
    """Fine-tune autoencoder and denoiser of a trained run together, end to end.

    Example: mdgen train-joint --data data --from runs/walkers --run runs/joint
    """
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.joint import train_joint as tune
    from mdgen.training.schedule import Budget

    budget, recipe, given = Budget.of(max_minutes), Run(source).recipe(overrides or ()), read_dataset(data)
    measured = tune(
        given, source, Run(run), recipe, device=device, progress=make_progress(), budget=budget,
        identity_retention=identity_judge(given, recipe.seed) if judge else None,
    )  # fmt: skip
    print("\n".join(measured.lines()))
    print(f"model in {run}; sample it with: mdgen generate --run {run} --out synthetic")


@command
def baseline(
    data: DataOption,
    run: RunOption,
    config: ConfigOption = "baseline",
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    judge: JudgeOption = True,
    max_minutes: MinutesOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """What diffusion is compared with: autoencoder with codes, and a transformer that draws them one after the other.

    Example: mdgen baseline --data data --run runs/baseline
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.prior import train_prior
    from mdgen.training.schedule import Budget

    budget, first = Budget.of(max_minutes), Budget.of(max_minutes and max_minutes / 3)
    recipe, spectrograms = load_recipe(config, overrides or ()), read_dataset(data)
    if dry_run:
        return print_plan(recipe, spectrograms)
    if not (run / "logs" / "autoencoder_check.json").exists():
        stage_1(spectrograms, run, recipe, device, judge, make_progress(), first)
    train_prior(spectrograms, Run(run), recipe, device=device, progress=make_progress(), budget=budget)
    print(f"baseline in {run}; sample it with: mdgen generate --run {run} --out synthetic")


@command
def check(
    run: Annotated[Path | None, typer.Option("--run", help="Run folder to look at.")] = None,
    config: ConfigOption = None,
    data: Annotated[Path | None, typer.Option("--data", help="Data set: measure on it, not on a stand-in.")] = None,
    size: Annotated[
        int, typer.Option(help="Pixels a side of the stand-in, where a recipe is tried without data.")
    ] = 64,
    overrides: SetOption = None,
) -> int:
    """Look over a recipe or a run; each line passes, warns or fails, with the mend. Exit code 1 where one failed.

    Example: mdgen check --run runs/walkers --data data
    """
    from mdgen.check.recipe import check_recipe, stand_in
    from mdgen.check.remarks import exit_code
    from mdgen.check.run import check_run
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run

    if (run is None) == (config is None):
        raise MdgenError("give one of --run and --config")
    given = read_dataset(data) if data else None
    if config:
        recipe = load_recipe(config, overrides or ())
        judge_settings(recipe)
        remarks = check_recipe(recipe, stand_in(size) if given is None else given)
    else:
        remarks = check_run(Run(required(run, "--run")), given, identity_judge(given, 0) if given else None)
    print("\n".join(remark.line() for remark in remarks))
    return exit_code(remarks)


def stage_1(
    data: SpectrogramSet, run: Path, recipe: Recipe, device: str, judged: bool, progress: Progress,
    budget: Budget | None = None,
) -> None:  # fmt: skip
    """Train the autoencoder, and say what it keeps; with `judged`, also of identity."""
    from mdgen.run import Run
    from mdgen.training.autoencoder import train_autoencoder

    opinion = identity_judge(data, recipe.seed) if judged else None
    measured = train_autoencoder(
        data, Run(run), recipe, device=device, progress=progress, budget=budget, identity_retention=opinion
    )
    print(f"autoencoder in {run}, checked on {measured.images} held-out spectrograms:")
    print("\n".join(f"  {line}" for line in measured.lines()))
    print(f"  look at {run / 'figures' / 'reconstructions.png'}")
