"""The command line: where `mdgen`, which generates, and `validation`, which judges, meet.

Each command parses, calls one function and prints its result; heavy imports wait until then. Commands that need no
judge are in `mdgen.commands`, all others here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from cli.judging import augment_study, inspect, validate
from cli.training import baseline, check, train_joint, train_vae
from cli.whole_way import benchmark, quickstart
from mdgen import __version__
from mdgen.commands.data import import_, import_public, simulate
from mdgen.commands.doctor import doctor
from mdgen.commands.sampling import export, generate, visualize
from mdgen.commands.training import adopt, distill, fine_tune, train_classifier, train_ldm

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
