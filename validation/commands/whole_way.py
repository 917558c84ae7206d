"""From data to verdict in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdgen.commands.options import (
    ConfigOption,
    DeviceOption,
    MinutesOption,
    SeedOption,
    SetOption,
    command,
    make_progress,
)
from mdgen.errors import MdgenError
from validation.commands.opinion import judge_settings
from validation.commands.training import stage_1

if TYPE_CHECKING:
    from mdgen.config import Recipe
    from mdgen.data.dataset import SpectrogramSet
    from mdgen.progress import Progress
    from validation.settings import ValidationSettings

QuickOption = Annotated[bool, typer.Option("--quick", help="One judge and fewer draws.")]


@command
def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Folder for data, model, synthetic data and report.")] = Path(
        "demo"
    ),
    users: Annotated[int, typer.Option(help="Walkers.")] = 12,
    sessions: Annotated[int, typer.Option(help="Sessions per walker.")] = 6,
    windows: Annotated[int, typer.Option(help="Spectrograms per session.")] = 20,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 64,
    max_minutes: MinutesOption = None,
    quick: QuickOption = False,
    config: ConfigOption = "quickstart",
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> int:
    """The whole way on simulated walkers: simulate, train, generate, judge. The same command goes on where it stopped.

    Example: mdgen quickstart --out demo
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset, write_dataset
    from mdgen.data.simulator import simulate as simulate_walkers
    from mdgen.device import lacks_half_precision

    recipe = load_recipe(config, [*(overrides or ()), f"seed={seed}"])
    settings = judge_settings(recipe, seed=seed, quick=quick)
    progress = make_progress()
    untrained = not (out / "run" / "model_index.json").exists()
    unlimited = max_minutes is None and recipe.denoiser.training.precision == "auto"
    if untrained and unlimited and lacks_half_precision(device):
        progress.say("no half-precision units here, so training takes several times as long: --max-minutes limits it")
    if not (out / "data" / "manifest.csv").exists():
        progress.say(f"1/5 simulating {users} walkers")
        write_dataset(simulate_walkers(users, sessions, windows, size, seed), out / "data")
    real = read_dataset(out / "data")
    if (len(real.users), len(real), real.images.shape[-1]) != (users, users * sessions * windows, size):
        raise MdgenError(
            f"{out / 'data'}: holds other walkers than asked for; ask for the same, or choose another --out"
        )
    return go_the_whole_way(real, out, recipe, settings, device, progress, max_minutes)


@command
def benchmark(
    name: Annotated[str, typer.Argument(help="cifar10, fashion-mnist or celeba64.")],
    data_root: Annotated[Path, typer.Option("--data-root", help="Where the set lies as torchvision stores it.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for data, model, synthetic data and report.")],
    results: Annotated[Path, typer.Option(help="CSV table that gets a row.")] = Path("benchmarks.csv"),
    download: Annotated[bool, typer.Option("--download", help="Fetch the set if it is not there.")] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many pictures of each part.", min=1)] = None,
    steps_scale: Annotated[float, typer.Option(help="Times the recipe's steps of both stages.")] = 1.0,
    max_minutes: MinutesOption = None,
    quick: QuickOption = False,
    config: ConfigOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> int:
    """The whole way on a public set of natural images, and a row in a table. The same command goes on where it stopped.

    Example: mdgen benchmark cifar10 --data-root downloads --download --out runs/cifar10
    """
    from mdgen.benchmarks import benchmark_data, benchmark_named, scaled_recipe
    from validation.report.row import append_row, report_row

    recipe = scaled_recipe(config or benchmark_named(name).recipe, [*(overrides or ()), f"seed={seed}"], steps_scale)
    settings = judge_settings(recipe, seed=seed, quick=quick)
    progress = make_progress()
    progress.say(f"1/5 reading {name}")
    real = benchmark_data(name, data_root, out, download=download, limit=limit)
    code = go_the_whole_way(real, out, recipe, settings, device, progress, max_minutes)
    about = {"benchmark": name, "recipe": recipe.name, "seed": seed, "per_user": recipe.generate.per_user}
    append_row(results, {**about, **report_row(out / "report")})
    print(f"row in {results}")
    return code


def go_the_whole_way(
    real: SpectrogramSet, out: Path, recipe: Recipe, settings: ValidationSettings, device: str, progress: Progress,
    max_minutes: float | None = None,
) -> int:  # fmt: skip
    """From a data set to `out/report` by `out/run` and `out/synthetic`, each only if it is not there; the exit code.

    max_minutes: for both trainings together; what the autoencoder leaves of its share is the denoiser's.
    """
    from mdgen.benchmarks import AUTOENCODER_SHARE
    from mdgen.data.dataset import read_dataset
    from mdgen.generate import write_synthetic
    from mdgen.run import Run
    from mdgen.training.denoiser import train_denoiser
    from mdgen.training.schedule import Budget
    from validation import tasks

    run, synthetic, report = (out / name for name in ("run", "synthetic", "report"))
    if (report / "summary.json").exists():
        return tasks.print_verdict(report)
    budget = Budget.of(max_minutes)
    if not (run / "logs" / "autoencoder_check.json").exists():
        progress.say("2/5 training the autoencoder")
        first = Budget.of(max_minutes and max_minutes * AUTOENCODER_SHARE)
        stage_1(real, run, recipe, device, True, progress, first)
    if not (run / "model_index.json").exists():
        progress.say("3/5 training the denoiser")
        train_denoiser(real, Run(run), recipe, device=device, progress=progress, budget=budget)
    progress.say("4/5 generating")
    write_synthetic(run, recipe.generate, synthetic, seed=settings.seed, device=device, progress=progress)
    progress.say("5/5 judging")
    return tasks.validate(real, read_dataset(synthetic), report, settings, progress.say, {"command": sys.argv[1:]})
