"""What a trained model gives: data sets, pictures, ONNX; and what real windows give without one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mdgen.commands.options import (
    ConfigOption,
    DeviceOption,
    DryRunOption,
    RunOption,
    SeedOption,
    SetOption,
    command,
    make_progress,
)

FormatOption = Annotated[
    str | None, typer.Option("--format", help="png16, png8, npy, npz, hdf5, webdataset or imagefolder.")
]


@command
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
    format_: FormatOption = None,
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
    count = write_synthetic(run, settings, out, seed=seed, users=names, device=device, progress=make_progress())
    sheet = out / "contact_sheet.png"
    seen = f"; see {sheet}" if sheet.exists() else ""
    print(f"{count} synthetic spectrograms in {out}, as {settings.format}{seen}")
    print(f"judge them beside real ones with: mdgen validate --real DATA --synthetic {out} --out report")


@command
def augment(
    real: Annotated[Path, typer.Option("--real", help="Real data set with recordings; only role train is used.")],
    out: Annotated[Path, typer.Option("--out", help="Data set to write.")],
    users: Annotated[
        str | None, typer.Option(help="Whose windows, comma separated; everybody's if not given. All others lend.")
    ] = None,
    per_window: Annotated[int | None, typer.Option(help="Warps of each real window.", min=1)] = None,
    strength: Annotated[float | None, typer.Option(help="Above 1: more than recordings differ.")] = None,
    format_: FormatOption = None,
    config: ConfigOption = "few-shot",
    overrides: SetOption = None,
    seed: SeedOption = 0,
) -> None:
    """Write warps of few real windows, to train a classifier with: changed as other people's recordings differ.

    Needs no model. The same command goes on where it stopped. When it helps, when not: docs/few-recordings.md.

    Example: mdgen augment --real data --out warped --users walker_01,walker_02
    """
    from mdgen.config import WarpsConfig, checked, load_recipe
    from mdgen.data.dataset import read_dataset
    from mdgen.warps import write_warps

    given = {k: v for k, v in {"per_window": per_window, "strength": strength}.items() if v is not None}
    recipe = load_recipe(config, overrides or ())
    settings = checked(WarpsConfig, {**recipe.warps.model_dump(), **given}, "warps")
    names = users.split(",") if users else None
    format_name = format_ or recipe.generate.format
    count = write_warps(read_dataset(real), settings, out, seed=seed, users=names, format_name=format_name)
    print(f"{count} warped spectrograms in {out}, as {format_name}: to learn from beside the real ones")


@command
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


@command
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
