"""The command line: each command parses, calls one function and prints its result. Heavy imports wait until then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdgen import __version__
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import mute_other_processes

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

DataOption = Annotated[
    Path, typer.Option("--data", help="Data set: folder with manifest.csv, folder per user, or .npz.")
]
RunOption = Annotated[Path, typer.Option("--run", help="Run folder that holds the model.")]
ConfigOption = Annotated[
    str | None, typer.Option("--config", help="Recipe: a YAML file, or the name of a shipped one.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override, e.g. autoencoder.training.steps=200.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Everything random follows from it.")]
MinutesOption = Annotated[
    float | None,
    typer.Option("--max-minutes", help="Fit the schedule to this time; stop with a checkpoint."),
]
FromOption = Annotated[
    Path | None, typer.Option("--from", help="Go on from this run, which is only read; --run is the new one.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the resolved plan and stop.")]


def _command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Turn a library error into one line on stderr and its exit code; other errors keep their traceback."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        mute_other_processes()
        try:
            code = function(*args, **kwargs)
        except MdgenError as error:
            code = _fail(error, error.exit_code)
        except MemoryError as error:
            code = _fail(
                error or MachineError("out of memory; use a smaller batch_size or size"), MachineError.exit_code
            )
        except OSError as error:
            code = _fail(MachineError(f"{error}; nothing more was written, earlier results are intact"), 4)
        except KeyboardInterrupt:
            code = _fail("interrupted", 130)
        raise typer.Exit(code or 0)

    return run


def _fail(error: object, code: int) -> int:
    print(f"mdgen: {' '.join(str(error).split())}", file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        print(f"mdgen {__version__}")
        raise typer.Exit


@app.command()
@_command
def simulate(
    out: Annotated[Path, typer.Option("--out", help="Data set to write.")],
    users: Annotated[int, typer.Option(help="Walkers.")] = 12,
    sessions: Annotated[int, typer.Option(help="Sessions per walker; each role gets whole ones.")] = 6,
    windows: Annotated[int, typer.Option(help="Spectrograms per session.")] = 20,
    size: Annotated[int, typer.Option(help="Pixels a side.")] = 64,
    seed: SeedOption = 0,
) -> None:
    """Simulate walking people: kinematics, radar echo, spectrogram.

    Example: mdgen simulate --out data --users 12 --sessions 6 --windows 20 --size 64 --seed 0
    """
    from mdgen.data.dataset import write_dataset
    from mdgen.data.simulator import simulate as simulate_walkers

    data = simulate_walkers(users, sessions, windows, size, seed)
    write_dataset(data, out)
    _print_counts(data)
    print(f"{len(data)} spectrograms of {len(data.users)} walkers in {out}")


@app.command("import")
@_command
def import_(
    source: Annotated[Path, typer.Option("--from", help="Folder, manifest or file of arrays; with --raw of samples.")],
    out: Annotated[Path, typer.Option("--out", help="Data set to write.")],
    size: Annotated[int | None, typer.Option(help="Pixels a side; 0 keeps the files' own.", min=0)] = 64,
    user_from_name: Annotated[
        str | None, typer.Option(help="Regular expression (groups user, session, ...) or a preset: gait31, ci4r, ...")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Files that fit this pattern, e.g. '*.png'.")] = None,
    array: Annotated[str | None, typer.Option(help="Arrays to take inside .mat, .npz, HDF5; a pattern.")] = None,
    labels: Annotated[str | None, typer.Option(help="Array inside the file that names the users.")] = None,
    colormap: Annotated[str, typer.Option(help="auto, gray, jet, parula, ...; rgb keeps natural colours.")] = "auto",
    crop: Annotated[bool, typer.Option(help="Cut axes and white borders off.")] = True,
    scale: Annotated[str, typer.Option(help="auto, signed, unit, gray, db, amplitude or power.")] = "auto",
    dynamic_range_db: Annotated[float, typer.Option(help="What values in dB span below their peak.")] = 40.0,
    orientation: Annotated[str, typer.Option(help="auto, keep, flip, transpose or transpose-flip.")] = "auto",
    session_length: Annotated[int | None, typer.Option(help="So many consecutive numbers are one session.")] = None,
    recording_length: Annotated[int | None, typer.Option(help="So many consecutive numbers are one recording.")] = None,
    fractions: Annotated[
        str | None, typer.Option(help="Shares of the roles, e.g. train=.5,judge=.25,val=.1,test=.15.")
    ] = None,
    on_error: Annotated[str, typer.Option(help="stop, or skip and list what cannot be read.")] = "stop",
    workers: Annotated[int, typer.Option(help="Processes that convert.", min=1)] = 1,
    raw: Annotated[bool, typer.Option("--raw", help="The files hold radar samples; describe the radar.")] = False,
    radar: Annotated[Path | None, typer.Option(help="YAML that describes the radar, for --raw.")] = None,
    dry_run: DryRunOption = False,
    seed: SeedOption = 0,
) -> None:
    """Bring spectrograms (or, with --raw, radar samples) into a data set, and say what was found and what not.

    The same command goes on where a killed one stopped. What to type for what: docs/data.md.

    Example: mdgen import --from gait --out data/gait --size 64
    """
    from mdgen.config import checked
    from mdgen.data.importing.importer import import_dataset, plan_import
    from mdgen.data.importing.settings import ImportSettings
    from mdgen.data.splits import parse_fractions

    given = {k: v for k, v in locals().items() if k in ImportSettings.model_fields and k not in ("size", "fractions")}
    given |= {"size": size or None} | ({"fractions": parse_fractions(fractions)} if fractions else {})
    settings = checked(ImportSettings, given, "import")
    if raw:
        from mdgen.data.raw.importer import import_raw, plan_raw
        from mdgen.data.raw.settings import read_radar

        described = read_radar(radar)
        if dry_run:
            return print("\n".join(plan_raw(source, out, described, settings)))
        report = import_raw(source, out, described, settings, _progress())
    elif dry_run:
        return print("\n".join(plan_import(source, out, settings)))
    else:
        report = import_dataset(source, out, settings, _progress())
    print("\n".join([*report.lines, f"{report.windows} spectrograms of {report.users} users in {out}"]))


@app.command()
@_command
def inspect(data: DataOption) -> None:
    """Show what a data set holds.

    Example: mdgen inspect --data data/gait
    """
    from mdgen.data.dataset import read_dataset
    from mdgen.data.inspect import describe_lines

    spectrograms = read_dataset(data)
    print("\n".join(describe_lines(spectrograms)))
    _print_counts(spectrograms)


@app.command("train-vae")
@_command
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
        return _print_plan(recipe, spectrograms)
    if source:
        Run(run).continue_from(source)
    _train_vae(spectrograms, run, recipe, device, judge, _progress(), budget)


@app.command("train-ldm")
@_command
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
        return _print_plan(recipe, spectrograms)
    if source:
        Run(run).continue_from(source)
    train_denoiser(spectrograms, Run(run), recipe, device=device, progress=_progress(), budget=budget)
    print(f"model in {run}; sample it with: mdgen generate --run {run} --out synthetic")


@app.command()
@_command
def generate(
    run: RunOption,
    out: Annotated[Path, typer.Option("--out", help="Data set to write.")],
    per_user: Annotated[int | None, typer.Option(help="Spectrograms of each user.", min=1)] = None,
    users: Annotated[str | None, typer.Option(help="Only these, comma separated.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="1 is none; 1.5 to 4 makes identity stronger.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.", min=1, max=1000)] = None,
    sampler: Annotated[
        str | None, typer.Option(help="euler, heun, dpm++ (flow); ddim, ddpm, dpm++ (v_prediction).")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Write a synthetic data set of a trained model. What is not given is the recipe's.

    Example: mdgen generate --run runs/walkers --out synthetic --per-user 50 --guidance-scale 2.0 --steps 25 --seed 0
    """
    from mdgen.config import GenerateConfig, checked
    from mdgen.data.dataset import require_free
    from mdgen.generate import generate as sample
    from mdgen.generate import write_synthetic
    from mdgen.run import Run

    require_free(out)
    given = {"per_user": per_user, "guidance_scale": guidance_scale, "steps": steps, "sampler": sampler}
    changed = {key: value for key, value in given.items() if value is not None}
    settings = checked(GenerateConfig, {**Run(run).recipe().generate.model_dump(), **changed}, "generate")
    data = sample(
        run, settings, seed=seed, users=users.split(",") if users else None, device=device, progress=_progress()
    )
    write_synthetic(data, out)
    print(f"{len(data)} synthetic spectrograms of {len(data.users)} users in {out}; see {out / 'contact_sheet.png'}")


@app.command()
@_command
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
        return tasks.compare([*compare, *(reports or ())], _given(out, "--out"))
    given: dict[str, Any] = {"cache": cache or tasks.default_cache()}
    if users:
        given["users"] = users.split(",")
    if gates:
        given["gates"] = tasks.read_limits(gates)
    settings = _judge_settings(load_recipe(config), seed, quick, given)
    progress, real_set = _progress().say, read_dataset(_given(real, "--real"))
    if self_check:
        return tasks.self_check(real_set, settings, progress, out)
    synthetic_set, report = read_dataset(_given(synthetic, "--synthetic")), _given(out, "--out")
    return tasks.validate(real_set, synthetic_set, report, settings, progress, {"command": sys.argv[1:]}, sift)


@app.command()
@_command
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
    from mdgen.generate import generate as sample
    from mdgen.generate import write_synthetic
    from mdgen.run import Run
    from mdgen.training.denoiser import train_denoiser
    from validation import tasks

    recipe = load_recipe(config, [*(overrides or ()), f"seed={seed}"])
    settings = _judge_settings(recipe, seed=seed, quick=quick)
    progress = _progress()
    data, run, synthetic, report = (out / name for name in ("data", "run", "synthetic", "report"))
    if not (data / "manifest.csv").exists():
        progress.say(f"1/5 simulating {users} walkers")
        write_dataset(simulate_walkers(users, sessions, windows, size, seed), data)
    real = read_dataset(data)
    if not (run / "logs" / "autoencoder_check.json").exists():
        progress.say("2/5 training the autoencoder")
        _train_vae(real, run, recipe, device, True, progress)
    if not (run / "model_index.json").exists():
        progress.say("3/5 training the denoiser")
        train_denoiser(real, Run(run), recipe, device=device, progress=progress)
    if not synthetic.exists():
        progress.say("4/5 generating")
        write_synthetic(sample(run, recipe.generate, seed=seed, device=device, progress=progress), synthetic)
    if (report / "summary.json").exists():
        return tasks.print_verdict(report)
    progress.say("5/5 judging")
    return tasks.validate(real, read_dataset(synthetic), report, settings, progress.say, {"command": sys.argv[1:]})


@app.command()
@_command
def doctor() -> None:
    """Print versions, machine and devices: what to paste into a question.

    Example: mdgen doctor
    """
    from mdgen.doctor import report_lines

    print("\n".join(report_lines()))


def _train_vae(
    data: SpectrogramSet, run: Path, recipe: Recipe, device: str, judged: bool, progress: Progress,
    budget: Budget | None = None,
) -> None:  # fmt: skip
    from mdgen.run import Run
    from mdgen.training.autoencoder import train_autoencoder

    opinion = None
    judges = data.role("judge")
    if judged and len(judges) > 0:
        from validation.judge import identity_retention

        opinion = partial(identity_retention, judge_data=judges, seed=recipe.seed)
    check = train_autoencoder(
        data, Run(run), recipe, device=device, progress=progress, budget=budget, identity_retention=opinion
    )
    print(f"autoencoder in {run}, checked on {check.images} held-out spectrograms:")
    print("\n".join(f"  {line}" for line in check.lines()))
    print(f"  look at {run / 'figures' / 'reconstructions.png'}")


def _judge_settings(
    recipe: Recipe, seed: int | None = None, quick: bool = False, given: dict[str, Any] | None = None
) -> Any:
    from mdgen.config import checked
    from validation.settings import ValidationSettings

    content = {"seed": recipe.seed if seed is None else seed, **recipe.validate_, **(given or {})}
    settings = checked(ValidationSettings, content, "validate")
    return settings.quick() if quick else settings


def _given(path: Path | None, option: str) -> Path:
    if path is None:
        raise MdgenError(f"{option} is missing")
    return path


def _print_counts(data: SpectrogramSet) -> None:
    from mdgen.data.inspect import describe

    print(describe(data).to_string())


def _print_plan(recipe: Recipe, data: SpectrogramSet) -> None:
    from mdgen.config import dump_recipe
    from mdgen.plan import plan_lines

    print(dump_recipe(recipe))
    print("\n".join(plan_lines(recipe, data)))


def _progress() -> Progress:
    from mdgen.progress import Progress

    return Progress()


if __name__ == "__main__":  # accelerate launch -m cli ...
    app()
