"""Training that asks no judge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
)


@command
def train_ldm(
    data: DataOption,
    run: RunOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    max_minutes: MinutesOption = None,
    source: FromOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Stage 2: train the user-conditioned denoiser on the run's latents. Without --config, the run's own recipe.

    Example: mdgen train-ldm --data data --run runs/walkers
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.denoiser import train_denoiser
    from mdgen.training.schedule import Budget

    budget = Budget.of(max_minutes)
    recipe = load_recipe(config, overrides or ()) if config else Run(source or run).recipe(overrides or ())
    spectrograms = read_dataset(data)
    if dry_run:
        return print_plan(recipe, spectrograms)
    if source:
        Run(run).continue_from(source)
    train_denoiser(spectrograms, Run(run), recipe, device=device, progress=make_progress(), budget=budget)
    print(f"model in {run}; sample it with: mdgen generate --run {run} --out synthetic")


@command
def fine_tune(
    data: DataOption,
    source: SourceOption,
    run: NewRunOption,
    replay: Annotated[
        Path | None, typer.Option(help="Data set of people known: learned along, as much of each as of a newcomer.")
    ] = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    max_minutes: MinutesOption = None,
) -> None:
    """Teach a trained run new people from few recordings, or all of it other data (--set fine_tuning.learn=all).

    Example: mdgen fine-tune --data newcomers --replay data --from runs/a --run runs/b --set fine_tuning.learn=all
    """
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.fine_tuning import fine_tune as teach
    from mdgen.training.schedule import Budget

    budget, recipe = Budget.of(max_minutes), Run(source).recipe(overrides or ())
    known = None if replay is None else read_dataset(replay)
    teach(
        read_dataset(data), source, Run(run), recipe,
        replay=known, device=device, progress=make_progress(), budget=budget,
    )  # fmt: skip
    print(f"model in {run}; sample it with: mdgen generate --run {run} --out synthetic")


@command
def adopt(
    data: DataOption,
    source: Annotated[Path, typer.Option("--from", help="Folder as diffusers saves a model: unet, scheduler, vae.")],
    run: RunOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Make a run of a model that diffusers saved, with the data set's users, to fine-tune from.

    Example: mdgen adopt --data data --from downloads/ddpm --run runs/adopted
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.adoption import adopt as adopt_model

    adopt_model(source, read_dataset(data), Run(run), load_recipe(config, overrides or ()))
    print(f"adopted in {run}; teach it the users with: mdgen fine-tune --data {data} --from {run} --run NEW")


@command
def distill(
    run: RunOption,
    out: Annotated[Path, typer.Option("--out", help="New run folder for the distilled model.")],
    evaluations: Annotated[int | None, typer.Option(help="Network evaluations a sample.", min=1, max=8)] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Guidance to fold in.")] = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    max_minutes: MinutesOption = None,
) -> None:
    """Teach a copy of a model to sample in a few evaluations, guidance folded in. Needs no data.

    Example: mdgen distill --run runs/walkers --out runs/walkers-4 --evaluations 4
    """
    from mdgen.run import Run
    from mdgen.training.distill import distill as distill_run
    from mdgen.training.schedule import Budget

    given = {"distill.evaluations": evaluations, "distill.guidance_scale": guidance_scale}
    changed = [f"{key}={value}" for key, value in given.items() if value is not None]
    recipe = Run(run).recipe([*changed, *(overrides or ())])
    distill_run(run, out, recipe, device=device, progress=make_progress(), budget=Budget.of(max_minutes))
    print(f"model in {out}; sample it with: mdgen generate --run {out} --out synthetic")


@command
def train_classifier(
    data: DataOption,
    run: RunOption,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    max_minutes: MinutesOption = None,
) -> None:
    """Train a user classifier on the run's noisy latents, for classifier guidance.

    Example: mdgen train-classifier --data data --run runs/walkers
    """
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.latent_classifier import train_latent_classifier
    from mdgen.training.schedule import Budget

    budget, recipe = Budget.of(max_minutes), Run(run).recipe(overrides or ())
    train_latent_classifier(
        read_dataset(data), Run(run), recipe, device=device, progress=make_progress(), budget=budget
    )
    print(f"classifier in {run}; use it with: mdgen generate --run {run} --set generate.classifier_scale=1 ...")
