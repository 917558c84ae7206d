"""Every command the documentation shows runs: on tiny data, with tiny settings, offline.

`README.md` and each page of `docs/` get a folder with what they presuppose, and their fenced commands are run there in
the order of the page. `TINY` is what is appended so that each takes seconds; `NOT_RUN` are those that are only parsed,
with the reason. Parsing checks the command, every option, the recipe and every `--set` key.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
import yaml
from accelerate.commands.launch import launch_command_parser
from diffusers import DDPMScheduler, UNet2DModel
from typer.testing import CliRunner

from cli import COMMANDS, app
from mdgen.config import load_recipe
from mdgen.data.dataset import SpectrogramSet, read_dataset, write_dataset
from mdgen.data.raw.settings import read_radar
from tests.conftest import ridges
from tests.docs.pages import PAGES, ROOT, blocks, commands, mdgen_arguments, spans
from tests.docs.tiny import TINY_JUDGE, TINY_SETTINGS, write_pictures

#: Of shown commands, only parsed: words that must all be in it, and why.
NOT_RUN = {
    ("--download",): "downloads from the network; data/test_public.py and test_benchmarks.py have stand-ins",
    ("validate", "--self-check"): "judges a dozen sets; tests/validation/test_controls.py runs it",
    ("denoiser.training.sharded=true",): "needs several processes; tests/training/test_processes.py starts them",
}

#: Launchers of several processes: their own options are parsed by accelerate; what they launch is run in one process.
LAUNCHERS = ("accelerate", "torchrun")

_TRAIN = [word for setting in TINY_SETTINGS for word in ("--set", setting)]
_WALKERS = ["--sessions", "4", "--windows", "1", "--size", "32"]

#: Appended to each command, so that it takes seconds.
TINY = {
    "simulate": _WALKERS,
    "train-vae": [*_TRAIN, "--no-judge"],
    "train-ldm": _TRAIN,
    "fine-tune": _TRAIN,
    "adopt": _TRAIN,
    "train-joint": [*_TRAIN, "--no-judge"],
    "train-classifier": _TRAIN,
    "distill": _TRAIN,
    "baseline": [*_TRAIN, "--no-judge"],
    "generate": ["--per-user", "2"],
    "augment": ["--per-window", "1"],
    "validate": ["--quick", "--config", "tiny.yaml"],
    "quickstart": [*_TRAIN, "--quick", "--users", "3", *_WALKERS, "--set", "validate.judge_steps=5"],
    "augment-study": [
        *("--recordings", "2", "--windows", "8", "--seeds", "1", "--ratios", "1"),
        *("--classifiers", "linear", "--made", ""),
    ],
}

#: Commands whose exit code is a verdict.
VERDICTS = ("check", "validate", "quickstart")

#: What a page presupposes; every page not named here gets `data` and the trained `runs/mine`.
GIVEN = {
    "README.md": ("pictures",),
    "README.zh-CN.md": (),
    "docs/autoencoders.md": ("data", "runs/mine", "report"),
    "docs/conditioning.md": ("data", "newcomers", "other", "runs/mine", "runs/weak", "downloads/ddpm-64"),
    "docs/few-recordings.md": ("data of whole recordings",),
    "docs/generating.md": ("data", "runs/walkers"),
    "docs/inspect.md": ("data",),
    "docs/objectives.md": ("data",),
    "docs/recipes.md": ("data/cifar10",),
    "docs/simulator.md": ("data/gait", "few"),
    "docs/scaling.md": ("data", "runs/mine"),
    "docs/study.md": ("data",),
    "docs/your-data.md": ("pictures",),
    "docs/training.md": ("data", "runs/mine", "kaggle/working/run", "kaggle/input/last-session/run"),
}
DEFAULT_GIVEN = ("data", "runs/mine")

#: Runs of which only stage 1 is there.
STAGE_1 = ("runs/weak", "kaggle/working/run", "kaggle/input/last-session/run")

#: A model as diffusers saves one.
SMALL_UNET: dict[str, Any] = {
    **{"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2},
    **{"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1},
}

#: Commands that only read, so that each combination of their options is run once; a repeated one gets a copy of what
#: the first made, which is kept beside the materials.
READING = ("validate", "visualize", "inspect", "check", "augment-study")

runner = CliRunner()
made_before: dict[tuple[str, str], Path | None] = {}


def run_or_copy(arguments: list[str], materials: Path) -> None:
    """Run a command in the current folder, or copy what it made before with the same options on like data."""
    given = _context(arguments[0], [*arguments[1:], *TINY.get(arguments[0], [])]).params
    own = ("data", "run", "real", "synthetic", "out")
    key = arguments[0], str(sorted((n, v) for n, v in given.items() if n not in own or v is None))
    out = Path(given["out"]).resolve() if given.get("out") else None
    if key not in made_before:
        _make_room(arguments)
        run(arguments)
        if arguments[0] in READING and "--compare" not in arguments:
            kept = materials / f"made-{len(made_before)}"
            made_before[key] = shutil.copytree(out, kept) if out else None
    elif known := made_before[key]:
        _make_room(arguments)
        shutil.copytree(known, out)


def _context(name: str, words: list[str]) -> click.Context:
    """A command's options as they are understood."""
    return _command(name).make_context(name, words)


def _command(name: str) -> click.Command:
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


def run(arguments: list[str], appended: list[str] | None = None) -> str:
    """The output of a command in the current folder; fails unless its exit code is the expected one."""
    name = arguments[0]
    result = runner.invoke(app, [*arguments, *(TINY.get(name, []) if appended is None else appended)])
    assert result.exit_code in ((0, 1, 3) if name in VERDICTS else (0,)), (arguments, result.output, result.exception)
    return result.output


@pytest.fixture(scope="session")
def materials(tmp_path_factory) -> Path:
    """A tiny set of simulated walkers, a run of one stage and of both, all made by the command line."""
    folder = tmp_path_factory.mktemp("materials")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(["simulate", "--out", "data"], ["--users", "6", "--sessions", "8", "--windows", "1", "--size", "32"])
        run(["train-vae", "--data", "data", "--run", "stage-1", "--config", "quickstart"])
        shutil.copytree("stage-1", "trained")
        run(["train-ldm", "--data", "data", "--run", "trained"])
        run(["simulate", "--out", "newcomers"], ["--users", "2", "--seed", "7", *_WALKERS])
        write_dataset(_renamed(read_dataset(Path("newcomers"))), Path("newcomers-renamed"))
    return folder


def _renamed(data: SpectrogramSet) -> SpectrogramSet:
    """The same walkers as people of other names: newcomers."""
    return SpectrogramSet(data.images, data.table.assign(user="new " + data.table["user"].astype(str)), data.name)


def _place(name: str, materials: Path) -> None:
    """Put what a page presupposes as `name` into the current folder."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    if name == "pictures":
        write_pictures(Path(name))
    elif name == "data/cifar10":
        gray = ridges(3, size=32)
        write_dataset(SpectrogramSet(np.repeat(gray.images, 3, axis=1), gray.table, "colour"), Path(name))
    elif name == "downloads/ddpm-64":
        UNet2DModel(32, 1, 1, **SMALL_UNET).save_pretrained(f"{name}/unet")
        DDPMScheduler().save_pretrained(f"{name}/scheduler")
    elif name == "report":
        run(["generate", "--run", str(materials / "trained"), "--out", "for-report"])
        run_or_copy(["validate", "--real", "data", "--synthetic", "for-report", "--out", name], materials)
    elif name == "data of whole recordings":
        run(["simulate", "--out", "data"], ["--users", "4", "--sessions", "6", "--windows", "5", "--size", "32"])
    else:
        source = {"newcomers": "newcomers-renamed", **dict.fromkeys(("data", "other", "few", "data/gait"), "data")}.get(
            name
        )
        shutil.copytree(materials / (source or ("stage-1" if name in STAGE_1 else "trained")), name)


def _make_room(arguments: list[str]) -> None:
    """Remove what a command is about to make, so that one page may show several commands for one folder."""
    makes_run = arguments[0] in ("train-vae", "baseline") or "--from" in arguments
    for option in ("--out", "--run") if makes_run else ("--out",):
        if option in arguments:
            shutil.rmtree(arguments[arguments.index(option) + 1], ignore_errors=True)


def parse(arguments: list[str]) -> None:
    """Raise unless command, options, recipe and settings exist; `...` and left-out required options are let pass."""
    words = [word for word in arguments if word not in ("...", "…", "|")]
    assert words[0] in COMMANDS, f"mdgen has no command {words[0]!r}"
    for option in _command(words[0]).params:
        if option.required and option.param_type_name == "option" and not set(option.opts) & set(words):
            words += [option.opts[0], "1"]
    given = _context(words[0], words[1:]).params
    if "overrides" in given or "config" in given:
        config = given.get("config")
        shipped = config and not str(config).endswith((".yaml", ".yml")) and config not in ("NAME", "FILE")
        load_recipe(config if shipped else None, given.get("overrides") or ())


def _reason_not_run(command: list[str]) -> str | None:
    return next((why for words, why in NOT_RUN.items() if set(words) <= set(command)), None)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) and page != "README.zh-CN.md"])
def test_the_commands_of_a_page_run(page: str, materials: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(yaml.safe_dump({"validate": TINY_JUDGE}))
    for name in GIVEN.get(page, DEFAULT_GIVEN):
        _place(name, materials)
    for command in commands(page):
        arguments = mdgen_arguments(command)
        if arguments is None:
            _check_other_program(command)
            continue
        parse(arguments)
        _check_launcher(command)
        if _reason_not_run(command) is None:
            arguments = [word.replace("/kaggle/", "kaggle/") for word in arguments]
            run_or_copy([*arguments, "--steps", "2"] if "--steps" in arguments else arguments, materials)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_of_a_page_parse(page: str) -> None:
    for span in spans(page):
        if span.startswith("mdgen ") and not span.startswith("mdgen --"):
            parse(shlex.split(span)[1:])


def test_the_python_of_a_page_runs(materials: Path, tmp_path: Path, monkeypatch) -> None:
    """`docs/conditioning.md` teaches newcomers from Python; its 300 steps are two here."""
    monkeypatch.chdir(tmp_path)
    styles = ["--set", "conditioning.style=true"]
    shutil.copytree(materials / "newcomers-renamed", "newcomers")
    run(["train-vae", "--data", str(materials / "data"), "--run", "runs/styles", *styles])
    run(["train-ldm", "--data", str(materials / "data"), "--run", "runs/styles"], [])
    (shown,) = (b.text for b in blocks("docs/conditioning.md") if b.language == "python")
    tiny, replaced = re.subn(r"steps=300", "steps=2", shown)
    assert replaced == 1
    values: dict[str, object] = {}
    exec(compile(tiny.replace('"newcomer"', '"new walker_01"'), "docs/conditioning.md", "exec"), values)
    assert isinstance(values["lent"], SpectrogramSet)
    assert values["lent"].users == ["new walker_01"]


def test_the_radar_description_of_a_page_is_read(tmp_path: Path) -> None:
    (shown,) = (b.text for b in blocks("docs/data.md") if b.language == "yaml")
    (tmp_path / "radar.yaml").write_text(shown)
    assert read_radar(tmp_path / "radar.yaml").layout == "adc"


def test_a_renamed_option_recipe_or_setting_is_noticed() -> None:
    parse(["train-vae", "--data", "data", "--run", "runs/a", "--config", "gait", "--set", "autoencoder.kind=vq"])
    for wrong in (
        "train-vae --data data --run runs/a --recipe gait",
        "train-vae --data data --run runs/a --config gaits",
        "train-vae --data data --run runs/a --set autoencoder.sort=vq",
        "train-vea --data data --run runs/a",
    ):
        with pytest.raises(Exception, match=r"recipe|gaits|sort|train-vea"):
            parse(wrong.split())


def test_what_is_not_run_is_shown_somewhere() -> None:
    shown = [set(command) for page in PAGES for command in commands(page)]
    for words, reason in NOT_RUN.items():
        assert reason
        assert any(set(words) <= command for command in shown), f"{words}: no page shows it any more"


def _check_launcher(command: list[str]) -> None:
    """The launcher's own options exist; accelerate's parser ends the test otherwise."""
    if command[0] == "accelerate":
        assert command[1] == "launch"
        launched = launch_command_parser().parse_args(command[2:])
        assert launched.module
        assert launched.training_script == "cli"
    assert command[0] in ("mdgen", *LAUNCHERS)


def _check_other_program(command: list[str]) -> None:
    """`make` has the target, `pip` the extra, `python` the script and its options."""
    program, *rest = command
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
    elif program == "pip":
        for extra in re.findall(r"\[(\w+)\]", " ".join(rest)):
            assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE), command
    elif program in ("python", "python3") and rest[0].endswith(".py"):
        text = (ROOT / rest[0]).read_text()
        assert all(f'"{word}"' in text for word in rest if word.startswith("--")), command
    else:
        assert program in ("tensorboard", "git", "cd", "docker"), f"no check for {command}"


@pytest.mark.parametrize("page", PAGES)
def test_no_page_writes_two_different_things_into_one_folder(page: str) -> None:
    """Who follows a page from top to bottom would be refused at the second."""
    made: dict[str, list[str]] = {}
    for arguments in filter(None, map(mdgen_arguments, commands(page))):
        if "--out" in arguments and "--dry-run" not in arguments and arguments[0] not in ("visualize", "augment-study"):
            folder = arguments[arguments.index("--out") + 1]
            assert made.setdefault(folder, arguments) == arguments, f"{page} writes {folder} twice"
