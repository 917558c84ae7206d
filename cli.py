"""The command line: a table of all commands. `python -m cli` is `mdgen`, for launchers of several processes.

Commands that need no judge are in `mdgen.commands`, all others in `validation.commands`, where the two halves meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from mdgen import __version__
from mdgen.commands.data import import_, import_public, simulate
from mdgen.commands.doctor import doctor
from mdgen.commands.sampling import augment, export, generate, visualize
from mdgen.commands.training import adopt, distill, fine_tune, train_classifier, train_ldm
from validation.commands.judging import augment_study, inspect, validate
from validation.commands.training import baseline, check, train_joint, train_vae
from validation.commands.whole_way import benchmark, quickstart

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


#: In the order of `mdgen --help`.
COMMANDS: dict[str, Callable[..., None]] = {
    "simulate": simulate,
    "import": import_,
    "import-public": import_public,
    "inspect": inspect,
    "train-vae": train_vae,
    "train-ldm": train_ldm,
    "fine-tune": fine_tune,
    "adopt": adopt,
    "train-joint": train_joint,
    "train-classifier": train_classifier,
    "distill": distill,
    "baseline": baseline,
    "check": check,
    "generate": generate,
    "augment": augment,
    "visualize": visualize,
    "export": export,
    "validate": validate,
    "augment-study": augment_study,
    "quickstart": quickstart,
    "benchmark": benchmark,
    "doctor": doctor,
}
for _name, _function in COMMANDS.items():
    app.command(_name)(_function)

if __name__ == "__main__":
    app()
