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
    windows: Annotated[int, typer.Option(help="Spectrograms per session and activity.")] = 20,
    size: Annotated[int | None, typer.Option(help="Pixels a side; 64, or those of --like.")] = None,
    activities: Annotated[
        str, typer.Option(help="Of walk, run, limp, carry_bag, sit_stand, arm_wave; comma separated.")
    ] = "walk",
    views: Annotated[str, typer.Option(help="Aspect angles of the radars in degrees: 0 towards, 180 away.")] = "0",
    bands: Annotated[str, typer.Option(help="Carriers of the radars in GHz, of 24, 60, 77.")] = "24",
    treadmill: Annotated[bool, typer.Option("--treadmill", help="Who walks stays in front of the radar.")] = False,
    companion: Annotated[bool, typer.Option("--companion", help="A stranger walks behind.")] = False,
    truth: Annotated[bool, typer.Option("--truth", help="Write where every joint was: truth.npz.")] = False,
    like: Annotated[Path | None, typer.Option(help="Look like this real data set: axes, floor, range, SNR.")] = None,
    seed: SeedOption = 0,
) -> None:
    """Simulate people before radars: kinematics, echo, spectrogram.

    Example: mdgen simulate --out data --users 12 --sessions 6 --windows 20 --size 64 --seed 0
    """
    from mdgen.data.simulator import make_scene, simulate_with_truth, whole_numbers, write_simulated

    fit = _likeness(like, seed)
    scene = make_scene(
        activities.split(","),
        whole_numbers(views, "views"),
        whole_numbers(bands, "bands"),
        treadmill=treadmill,
        companion=companion,
        **({"radar": fit.radar, "conditions": fit.conditions} if fit else {}),
    )
    side = size or (fit.size if fit else 64)
    data, path = simulate_with_truth(users, sessions, windows, side, seed, scene=scene, with_truth=truth)
    write_simulated(data, path, out)
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


@app.command("import-public")
@_command
def import_public(
    name: Annotated[str, typer.Option("--name", help="cifar10, cifar100, mnist, fashion-mnist or celeba.")],
    data_root: Annotated[Path, typer.Option("--data-root", help="Where it lies, or is downloaded to.")],
    out: Annotated[Path, typer.Option("--out", help="Data set to write.")],
    download: Annotated[bool, typer.Option("--download", help="Fetch it by torchvision if it is not there.")] = False,
    size: Annotated[int | None, typer.Option(help="Pixels a side; 32, or 64 for celeba, if not given.", min=8)] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many of each part.", min=1)] = None,
    attribute: Annotated[str, typer.Option(help="celeba: the attribute that makes two classes.")] = "Smiling",
    seed: SeedOption = 0,
) -> None:
    """Bring a public set of pictures into a data set; its classes stand where users stand.

    Example: mdgen import-public --name cifar10 --data-root downloads --download --out data/cifar10
    """
    from mdgen.data.dataset import require_free, write_dataset
    from mdgen.data.public import import_public as read_public

    require_free(out)
    data = read_public(name, data_root, download=download, size=size, limit=limit, attribute=attribute, seed=seed)
    write_dataset(data, out)
    print(f"{len(data)} pictures of {len(data.users)} classes in {out}")


@app.command()
@_command
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

    data_card(read_dataset(data), out, seed, _progress().say)


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


@app.command("fine-tune")
@_command
def fine_tune(
    data: DataOption,
    source: Annotated[Path, typer.Option("--from", help="Trained run to go on from; it is only read.")],
    run: Annotated[Path, typer.Option("--run", help="Run folder to write.")],
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    max_minutes: MinutesOption = None,
) -> None:
    """Teach a trained run new people from few recordings, or all of it other data (--set fine_tuning.learn=all).

    Example: mdgen fine-tune --data newcomers --from runs/walkers --run runs/more --set fine_tuning.rank=4
    """
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.training.fine_tuning import fine_tune as teach
    from mdgen.training.schedule import Budget

    budget, recipe = Budget.of(max_minutes), Run(source).recipe(overrides or ())
    teach(read_dataset(data), source, Run(run), recipe, device=device, progress=_progress(), budget=budget)
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
        str | None, typer.Option(help="dpm++, unipc, ddim, ddpm, lcm; euler and heun on straight paths (flow).")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Of runs with labels, e.g. style=others or activity=running.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="png16, png8, npy, npz, hdf5, webdataset or imagefolder.")
    ] = None,
    overrides: SetOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
) -> None:
    """Write a synthetic data set of a trained model. What is not given is the recipe's. The same command goes on.

    Example: mdgen generate --run runs/walkers --out synthetic --per-user 50 --guidance-scale 2.0 --steps 25 --seed 0
    """
    from mdgen.config import GenerateConfig, checked
    from mdgen.data.labels import parse_labels
    from mdgen.generate import write_synthetic
    from mdgen.plan_generation import generation_plan_lines
    from mdgen.run import Run

    given = {
        **{"per_user": per_user, "guidance_scale": guidance_scale, "steps": steps},
        **{"sampler": sampler, "format": format_},
    }
    changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    changed |= {"labels": parse_labels(label)} if label else {}
    recipe = Run(run).recipe(overrides or ())
    settings = checked(GenerateConfig, {**recipe.generate.model_dump(), **changed}, "generate")
    names = users.split(",") if users else None
    if dry_run:
        return print("\n".join(generation_plan_lines(run, settings, out, seed=seed, users=names, device=device)))
    count = write_synthetic(run, settings, out, seed=seed, users=names, device=device, progress=_progress())
    print(f"{count} synthetic spectrograms in {out}, as {settings.format}; see {out / 'contact_sheet.png'}")


@app.command()
@_command
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
    distill_run(run, out, recipe, device=device, progress=_progress(), budget=Budget.of(max_minutes))
    print(f"model in {out}; sample it with: mdgen generate --run {out} --out synthetic")


@app.command()
@_command
def visualize(
    run: RunOption,
    out: Annotated[Path, typer.Option("--out", help="Folder for the pictures.")],
    what: Annotated[
        str | None,
        typer.Option(
            help="Some of denoising, interpolation, users, grid, latents, curves, style-transfer; unset: all."
        ),
    ] = None,
    users: Annotated[str | None, typer.Option(help="Whom to show, comma separated; transfer goes from a to b.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Real data set, for style-transfer and latents.")] = None,
    overrides: SetOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
) -> None:
    """Draw how a model denoises, what lies between noises and users, its latent space and its losses.

    Example: mdgen visualize --run runs/walkers --out pictures --what denoising,users --users walker_01,walker_02
    """
    from mdgen.data.dataset import read_dataset
    from mdgen.run import Run
    from mdgen.visualize import visualize as draw

    files = draw(
        run,
        out,
        what.split(",") if what else [],
        settings=Run(run).recipe(overrides or ()).generate,
        users=users.split(",") if users else None,
        data=read_dataset(data) if data else None,
        seed=seed,
        device=device,
    )
    print("\n".join(str(file) for file in files))


@app.command()
@_command
def export(
    run: RunOption,
    out: Annotated[Path, typer.Option("--out", help="Folder for the ONNX files.")],
) -> None:
    """Write denoiser and decoder as ONNX, checked in onnxruntime. Needs the extra `onnx`.

    Example: mdgen export --run runs/walkers --out walkers-onnx
    """
    from mdgen.export import export_onnx

    for name, difference in export_onnx(run, out).items():
        print(f"{out / name}.onnx: differs from torch by at most {difference:.1g}")


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


@app.command("augment-study")
@_command
def augment_study(
    real: Annotated[Path, typer.Option("--real", help="Real data set with recordings; its roles are not used.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for models, results.csv, summary and figure.")],
    recordings: Annotated[str, typer.Option(help="Recordings of a newcomer that may be seen.")] = "1,2,4",
    windows: Annotated[str, typer.Option(help="Windows of a newcomer that may be seen.")] = "20",
    seeds: Annotated[int, typer.Option(help="Paired repetitions.", min=1)] = 6,
    ratios: Annotated[str, typer.Option(help="Generated windows for each real one.")] = "3,10",
    classifiers: Annotated[str, typer.Option(help="Of cnn, linear, frozen, resnet18.")] = "cnn,linear,frozen",
    styles: Annotated[str, typer.Option(help="Of others, own, none; empty: no generator.")] = "others,own",
    config: ConfigOption = "few-shot",
    overrides: SetOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Do generated windows help to identify people from few recordings? Half of the people are newcomers in turn.

    Example: mdgen augment-study --real data --out study --recordings 1,2 --windows 20 --seeds 4
    """
    from mdgen.config import load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.few_shot import FewShotGenerator
    from validation.study import tasks

    recipe = load_recipe(config, overrides or ())
    made = {
        f"generated in styles of {wish}": FewShotGenerator(recipe, out / "models", wish, device, _progress())
        for wish in filter(None, styles.split(","))
    }
    settings = tasks.read_settings(recordings, windows, seeds, ratios, classifiers)
    tasks.study(read_dataset(real), made, settings, out)


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
    if not (report / "summary.json").exists():
        progress.say("4/5 generating")
        write_synthetic(run, recipe.generate, synthetic, seed=seed, device=device, progress=progress)
    if (report / "summary.json").exists():
        return tasks.print_verdict(report)
    progress.say("5/5 judging")
    return tasks.validate(real, read_dataset(synthetic), report, settings, progress.say, {"command": sys.argv[1:]})


@app.command("train-joint")
@_command
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
        given, source, Run(run), recipe, device=device, progress=_progress(), budget=budget,
        identity_retention=_identity_judge(given, recipe.seed) if judge else None,
    )  # fmt: skip
    print("\n".join(measured.lines()))
    print(f"model in {run}; sample it with: mdgen generate --run {run} --out synthetic")


@app.command()
@_command
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
        return _print_plan(recipe, spectrograms)
    if not (run / "logs" / "autoencoder_check.json").exists():
        _train_vae(spectrograms, run, recipe, device, judge, _progress(), first)
    train_prior(spectrograms, Run(run), recipe, device=device, progress=_progress(), budget=budget)
    print(f"baseline in {run}; sample it with: mdgen generate --run {run} --out synthetic")


@app.command()
@_command
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
        findings = check_run(Run(_given(run, "--run")), given, _identity_judge(given, 0) if given else None)
    print("\n".join(finding.line() for finding in findings))
    return exit_code(findings)


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


def _likeness(like: Path | None, seed: int) -> Any:
    if like is None:
        return None
    from mdgen.data.dataset import read_dataset
    from mdgen.data.simulator.like import fit_likeness

    fit = fit_likeness(read_dataset(like), seed)
    print("\n".join(fit.lines))
    return fit


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
