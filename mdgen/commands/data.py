"""Getting data: simulated, imported, public."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdgen.commands.options import (
    DryRunOption,
    SeedOption,
    command,
    make_progress,
)
from mdgen.errors import MdgenError

if TYPE_CHECKING:
    from mdgen.data.dataset import SpectrogramSet


@command
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
    from mdgen.data.folders import require_free
    from mdgen.data.simulator import make_scene, simulated_truth, whole_numbers, write_simulated
    from mdgen.data.simulator import simulate as simulate_people

    require_free(out)
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
    data = simulate_people(users, sessions, windows, side, seed, scene=scene)
    joints = simulated_truth(users, sessions, windows, side, seed, scene=scene) if truth else None
    write_simulated(data, joints, out)
    print_counts(data)
    print(f"{len(data)} spectrograms of {len(data.users)} walkers in {out}")


@command
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
    fractions: Annotated[str | None, typer.Option(help="Shares of the roles, e.g. train=.7,test=.3.")] = None,
    on_error: Annotated[str, typer.Option(help="stop, or skip and list what cannot be read.")] = "stop",
    storage: Annotated[str, typer.Option(help="files, one for each picture, or one stack of all.")] = "files",
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
    if radar is not None and not raw:
        raise MdgenError("--radar: describes samples; give --raw too")
    if raw:
        from mdgen.data.raw.importer import import_raw, plan_raw
        from mdgen.data.raw.settings import read_radar

        described = read_radar(radar)
        if dry_run:
            return print("\n".join(plan_raw(source, out, described, settings)))
        report = import_raw(source, out, described, settings, make_progress())
    elif dry_run:
        return print("\n".join(plan_import(source, out, settings)))
    else:
        report = import_dataset(source, out, settings, make_progress())
    found = f"{report.windows} spectrograms of {report.users} users in {out}"
    print("\n".join([*report.lines, f"{found}; see how to train on them with: mdgen inspect --data {out} --out card"]))


@command
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
    from mdgen.data.dataset import write_dataset
    from mdgen.data.folders import require_free
    from mdgen.data.public import import_public as read_public

    require_free(out)
    data = read_public(name, data_root, download=download, size=size, limit=limit, attribute=attribute, seed=seed)
    write_dataset(data, out)
    print(f"{len(data)} pictures of {len(data.users)} classes in {out}")


def _likeness(like: Path | None, seed: int) -> Any:
    if like is None:
        return None
    from mdgen.data.dataset import read_dataset
    from mdgen.data.simulator.like import fit_likeness

    fit = fit_likeness(read_dataset(like), seed)
    print("\n".join(fit.lines))
    return fit


def print_counts(data: SpectrogramSet) -> None:
    from mdgen.data.inspect import describe

    print(describe(data).to_string())
