"""What commands share: their common options, how errors become exit codes, progress and plans."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdgen.errors import MachineError, MdgenError
from mdgen.progress import mute_other_processes

if TYPE_CHECKING:
    from mdgen.config import Recipe
    from mdgen.data.dataset import SpectrogramSet
    from mdgen.progress import Progress

DataOption = Annotated[
    Path, typer.Option("--data", help="Data set: folder with manifest.csv, folder per user, or .npz.")
]
RunOption = Annotated[Path, typer.Option("--run", help="Run folder that holds the model.")]
SourceOption = Annotated[Path, typer.Option("--from", help="Trained run to go on from; it is only read.")]
NewRunOption = Annotated[Path, typer.Option("--run", help="Run folder to write.")]
ConfigOption = Annotated[
    str | None, typer.Option("--config", help="Recipe: a YAML file, or the name of a shipped one.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting of the recipe, e.g. generate.steps=8.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Everything random follows from it.")]
MinutesOption = Annotated[
    float | None,
    typer.Option("--max-minutes", help="Fit the schedule to this time."),
]
FromOption = Annotated[
    Path | None, typer.Option("--from", help="Go on from this run, which is only read; --run is the new one.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the resolved plan and stop.")]


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Turn a library error into one line on stderr and its exit code; other errors keep their traceback."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        mute_other_processes()
        try:
            code = function(*args, **kwargs)
        except MdgenError as error:
            code = fail(error, error.exit_code)
        except MemoryError as error:
            code = fail(str(error) or "out of memory; use a smaller batch_size or size", MachineError.exit_code)
        except OSError as error:
            code = fail(MachineError(f"{error}; nothing more was written, earlier results are intact"), 4)
        except KeyboardInterrupt:
            code = fail("interrupted; give the same command again", 130)
        raise typer.Exit(code or 0)

    return run


def fail(error: object, code: int) -> int:
    print(f"mdgen: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def required(path: Path | None, option: str) -> Path:
    if path is None:
        raise MdgenError(f"{option} is missing")
    return path


def print_plan(recipe: Recipe, data: SpectrogramSet) -> None:
    from mdgen.config import dump_recipe
    from mdgen.plan import plan_lines

    print(dump_recipe(recipe))
    print("\n".join(plan_lines(recipe, data)))


def make_progress() -> Progress:
    from mdgen.progress import Progress

    return Progress()
