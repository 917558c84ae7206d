"""The command line: each command parses, calls one function and prints its result. Heavy imports wait until then.

Commands that need no judge are in `mdgen.commands`; only this file knows both halves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdgen import __version__
from mdgen.commands import data, sampling, training
from mdgen.commands.options import (
    ConfigOption,
    DataOption,
    DeviceOption,
    DryRunOption,
    FromOption,
    MinutesOption,
    RunOption,
    SeedOption,
    SetOption,
    command,
    make_progress,
    print_plan,
    required,
)
from mdgen.errors import MdgenError

if TYPE_CHECKING:
    from mdgen.config import Recipe
    from mdgen.data.dataset import SpectrogramSet
    from mdgen.progress import Progress
    from mdgen.training.schedule import Budget

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Learn to generate micro-Doppler spectrograms of given people, and judge whether they are usable.",
)


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        print(f"mdgen {__version__}")
        raise typer.Exit


@command
def train_vae(
    data: DataOption,
    run: RunOption,
    config: ConfigOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    judge: Annotated[bool, typer.Option(help="Ask a judge how much identity reconstructions keep.")] = True,
    max_minutes: MinutesOption = None,
    source: FromOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Stage 1: train the autoencoder and check what it keeps. The same command again goes on where it stopped.

    Example: mdgen train-vae --data data --run runs/walkers --config quickstart
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.schedule import Budget

    budget = Budget.of(max_minutes)
    recipe = Run(source).recipe(overrides or ()) if source and not config else load_recipe(config, overrides or ())
    _judge_settings(recipe)
    spectrograms = read_dataset(data)
    if dry_run:
        return print_plan(recipe, spectrograms)
    if source:
        Run(run).continue_from(source)
    _train_vae(spectrograms, run, recipe, device, judge, make_progress(), budget)


@command
def train_joint(
    data: DataOption,
    source: Annotated[Path, typer.Option("--from", help="Trained run to go on from; it is only read.")],
    run: Annotated[Path, typer.Option("--run", help="Run folder to write.")],
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    judge: Annotated[bool, typer.Option(help="Ask a judge how much identity reconstructions keep.")] = True,
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
        identity_retention=_identity_judge(given, recipe.seed) if judge else None,
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
    judge: Annotated[bool, typer.Option(help="Ask a judge how much identity reconstructions keep.")] = True,
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
        _train_vae(spectrograms, run, recipe, device, judge, make_progress(), first)
    train_prior(spectrograms, Run(run), recipe, device=device, progress=make_progress(), budget=budget)
    print(f"baseline in {run}; sample it with: mdgen generate --run {run} --out synthetic")


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
    from mdgen.check.findings import exit_code
    from mdgen.check.recipe import check_recipe, stand_in
    from mdgen.check.run import check_run
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run

    if (run is None) == (config is None):
        raise MdgenError("give one of --run and --config")
    given = read_dataset(data) if data else None
    if config:
        recipe = load_recipe(config, overrides or ())
        _judge_settings(recipe)
        findings = check_recipe(recipe, stand_in(size) if given is None else given)
    else:
        findings = check_run(Run(required(run, "--run")), given, _identity_judge(given, 0) if given else None)
    print("\n".join(finding.line() for finding in findings))
    return exit_code(findings)


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
    settings = _judge_settings(load_recipe(config), seed, quick, given)
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
    ratios: Annotated[str, typer.Option(help="Generated windows for each real one.")] = "3,10",
    classifiers: Annotated[str, typer.Option(help="Of cnn, linear, frozen, resnet18.")] = "cnn,linear,frozen",
    made: Annotated[
        str, typer.Option(help="Windows made: styles others, own; others@0.5: real ones varied; warps. Empty: none.")
    ] = "others,own,others@0.6,warps",
    sift: Annotated[
        bool, typer.Option("--sift", help="Also the half of them that is most surely its person's.")
    ] = False,
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


@command
def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Folder for data, model, synthetic data and report.")] = Path(
        "demo"
    ),
    users: Annotated[int, typer.Option(help="Walkers.")] = 12,
    sessions: Annotated[int, typer.Option(help="Sessions per walker.")] = 6,
    windows: Annotated[int, typer.Option(help="Spectrograms per session.")] = 20,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 64,
    quick: Annotated[bool, typer.Option("--quick", help="One judge and fewer draws.")] = False,
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

    recipe = load_recipe(config, [*(overrides or ()), f"seed={seed}"])
    settings = _judge_settings(recipe, seed=seed, quick=quick)
    progress = make_progress()
    if not (out / "data" / "manifest.csv").exists():
        progress.say(f"1/5 simulating {users} walkers")
        write_dataset(simulate_walkers(users, sessions, windows, size, seed), out / "data")
    return _whole_way(read_dataset(out / "data"), out, recipe, settings, device, progress)


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
    quick: Annotated[bool, typer.Option("--quick", help="One judge and fewer draws.")] = False,
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
    settings = _judge_settings(recipe, seed=seed, quick=quick)
    progress = make_progress()
    progress.say(f"1/5 reading {name}")
    real = benchmark_data(name, data_root, out, download=download, limit=limit)
    code = _whole_way(real, out, recipe, settings, device, progress, max_minutes)
    about = {"benchmark": name, "recipe": recipe.name, "seed": seed, "per_user": recipe.generate.per_user}
    append_row(results, {**about, **report_row(out / "report")})
    print(f"row in {results}")
    return code


@command
def doctor() -> None:
    """Print versions, machine and devices: what to paste into a question.

    Example: mdgen doctor
    """
    from mdgen.doctor import report_lines

    print("\n".join(report_lines()))


def _whole_way(
    real: SpectrogramSet, out: Path, recipe: Recipe, settings: Any, device: str, progress: Progress,
    max_minutes: float | None = None,
) -> int:  # fmt: skip
    """From a data set to `out/report` by `out/run` and `out/synthetic`, each only if it is not there; the exit code."""
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
    if not (run / "logs" / "autoencoder_check.json").exists():
        progress.say("2/5 training the autoencoder")
        budget = Budget.of(max_minutes and max_minutes * AUTOENCODER_SHARE)
        _train_vae(real, run, recipe, device, True, progress, budget)
    if not (run / "model_index.json").exists():
        progress.say("3/5 training the denoiser")
        budget = Budget.of(max_minutes and max_minutes * (1 - AUTOENCODER_SHARE))
        train_denoiser(real, Run(run), recipe, device=device, progress=progress, budget=budget)
    progress.say("4/5 generating")
    write_synthetic(run, recipe.generate, synthetic, seed=settings.seed, device=device, progress=progress)
    progress.say("5/5 judging")
    return tasks.validate(real, read_dataset(synthetic), report, settings, progress.say, {"command": sys.argv[1:]})


def _train_vae(
    data: SpectrogramSet, run: Path, recipe: Recipe, device: str, judged: bool, progress: Progress,
    budget: Budget | None = None,
) -> None:  # fmt: skip
    from mdgen.run import Run
    from mdgen.training.autoencoder import train_autoencoder

    opinion = _identity_judge(data, recipe.seed) if judged else None
    measured = train_autoencoder(
        data, Run(run), recipe, device=device, progress=progress, budget=budget, identity_retention=opinion
    )
    print(f"autoencoder in {run}, checked on {measured.images} held-out spectrograms:")
    print("\n".join(f"  {line}" for line in measured.lines()))
    print(f"  look at {run / 'figures' / 'reconstructions.png'}")


def _identity_judge(data: SpectrogramSet, seed: int) -> Any:
    """A judge of how much identity reconstructions keep; None without rows to train it on."""
    judges = data.role("judge")
    if len(judges) == 0:
        return None
    from validation.networks.judge import identity_retention

    return partial(identity_retention, judge_data=judges, seed=seed)


def _judge_settings(
    recipe: Recipe, seed: int | None = None, quick: bool = False, given: dict[str, Any] | None = None
) -> Any:
    from mdgen.config import checked
    from validation.settings import ValidationSettings

    content = {"seed": recipe.seed if seed is None else seed, **recipe.validate_, **(given or {})}
    settings = checked(ValidationSettings, content, "validate")
    return settings.quick() if quick else settings


#: In the order of `mdgen --help`.
COMMANDS: dict[str, Callable[..., None]] = {
    "simulate": data.simulate,
    "import": data.import_,
    "import-public": data.import_public,
    "inspect": inspect,
    "train-vae": train_vae,
    "train-ldm": training.train_ldm,
    "fine-tune": training.fine_tune,
    "adopt": training.adopt,
    "train-joint": train_joint,
    "train-classifier": training.train_classifier,
    "distill": training.distill,
    "baseline": baseline,
    "check": check,
    "generate": sampling.generate,
    "visualize": sampling.visualize,
    "export": sampling.export,
    "validate": validate,
    "augment-study": augment_study,
    "quickstart": quickstart,
    "benchmark": benchmark,
    "doctor": doctor,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)


if __name__ == "__main__":  # accelerate launch -m cli ...
    app()
