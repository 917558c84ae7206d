"""Judging data sets, and what they are good for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mdgen.commands.options import (
    ConfigOption,
    DataOption,
    DeviceOption,
    SeedOption,
    SetOption,
    command,
    make_progress,
    required,
)
from mdgen.errors import MdgenError
from validation.commands.opinion import judge_settings


@command
def inspect(
    data: DataOption,
    out: Annotated[Path | None, typer.Option(help="Folder for card.html, plan and ready recipe.")] = None,
    seed: SeedOption = 0,
) -> None:
    """Show what a data set holds, what is wrong with it, what it suffices for, and how to train on it.

    Example: mdgen inspect --data data/gait --out card
    """
    from mdgen.data.dataset import read_dataset
    from validation.report.card import data_card

    data_card(read_dataset(data), out, seed, make_progress().say)


@command
def validate(
    real: Annotated[Path | None, typer.Option("--real", help="Real data set, with roles.")] = None,
    synthetic: Annotated[Path | None, typer.Option("--synthetic", help="Synthetic set of the same users.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Report folder to write.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One judge and fewer draws: a first look.")] = False,
    users: Annotated[str | None, typer.Option(help="Judge these alone, e.g. a,b.")] = None,
    gates: Annotated[Path | None, typer.Option(help="YAML of other limits: {gate: {limit: number}}.")] = None,
    sift: Annotated[Path | None, typer.Option(help="Write what a sifting judge keeps here; judge it too.")] = None,
    self_check: Annotated[bool, typer.Option("--self-check", help="Try to fool the judge with --real.")] = False,
    compare: Annotated[list[Path] | None, typer.Option(help="Put reports side by side: --compare A B ...")] = None,
    reports: Annotated[list[Path] | None, typer.Argument(hidden=True)] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for judges and features; ~/.cache/mdgen if unset.")] = None,
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> int:
    """Judge a synthetic data set against a real one. Exit code 0 pass, 1 fail, 3 inconclusive.

    Example: mdgen validate --real data --synthetic synthetic --out report
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from validation import tasks

    if reports and not compare:
        raise MdgenError(f"{reports[0]}: name it, with --real, --synthetic, --out or --compare")
    if compare:
        return tasks.compare([*compare, *(reports or ())], required(out, "--out"))
    given: dict[str, Any] = {"cache": cache or tasks.default_cache()}
    if users:
        given["users"] = users.split(",")
    if gates:
        given["gates"] = tasks.read_limits(gates)
    settings = judge_settings(load_recipe(config), seed, quick, given)
    progress, real_set = make_progress().say, read_dataset(required(real, "--real"))
    if self_check:
        return tasks.self_check(real_set, settings, progress, out)
    synthetic_set, report = read_dataset(required(synthetic, "--synthetic")), required(out, "--out")
    return tasks.validate(real_set, synthetic_set, report, settings, progress, {"command": sys.argv[1:]}, sift)


@command
def augment_study(
    real: Annotated[Path, typer.Option("--real", help="Real data set with recordings; its roles are not used.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for models, results.csv, summary and figure.")],
    recordings: Annotated[str, typer.Option(help="Recordings of a newcomer that may be seen.")] = "1,2,4",
    windows: Annotated[str, typer.Option(help="Windows of a newcomer that may be seen.")] = "20",
    seeds: Annotated[int, typer.Option(help="Paired repetitions.", min=1)] = 6,
    ratios: Annotated[str, typer.Option(help="Generated windows for each real one.")] = "5,20",
    classifiers: Annotated[str, typer.Option(help="Of cnn, linear, frozen, resnet18.")] = "cnn,linear,frozen",
    made: Annotated[
        str,
        typer.Option(
            help="Windows made: styles others, own; others@0.5: real ones varied; warps, warps@1.5. Empty: none."
        ),
    ] = "others,own,others@0.6,warps",
    sift: Annotated[bool, typer.Option("--sift", help="Also the half of them most surely their person's.")] = False,
    simulated: Annotated[int, typer.Option(help="Simulated walkers the generator learns too, like --real.", min=0)] = 0,
    config: ConfigOption = "few-shot",
    overrides: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Do generated windows help to identify people from few recordings? Half of the people are newcomers in turn.

    Example: mdgen augment-study --real data --out study --recordings 1,2 --windows 20 --seeds 4
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.few_shot import few_shot_generators
    from validation.study import tasks

    recipe, wishes = load_recipe(config, overrides or ()), [*filter(None, made.split(","))]
    generators = few_shot_generators(wishes, recipe, out / "models", device, make_progress(), simulated)
    settings = tasks.read_settings(recordings, windows, seeds, ratios, classifiers, sift)
    tasks.study(read_dataset(real), generators, settings, out)
