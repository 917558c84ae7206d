"""What the documentation names exists (files, options, settings, recipes, gates), and its figures are measured."""

from __future__ import annotations

import json
import re

import pytest
import typer
import yaml

from cli import app
from mdgen.config import Recipe, shipped_recipes
from mdgen.config.section import known_keys
from tests.docs.pages import PAGES, ROOT, read, spans

#: Options that are not mdgen's: of tensorboard, and of accelerate.
FOREIGN_OPTIONS = {
    *("--help", "--logdir", "--multi_gpu", "--num_processes", "--num_machines", "--machine_rank", "--use_fsdp")
}

#: Recipes that belong to one command, and are described there.
RECIPES_ELSEWHERE = {"baseline": "docs/autoencoders.md", "few-shot": "docs/study.md"}


def _options() -> set[str]:
    group = typer.main.get_command(app)
    every = [*group.params, *(p for c in group.commands.values() for p in c.params)]  # type: ignore[attr-defined]
    return {name for parameter in every for name in (*parameter.opts, *parameter.secondary_opts)}


def _script_options(span: str) -> set[str]:
    """Options of the benchmark that a span calls; empty where it calls none."""
    script = re.search(r"benchmarks[./](\w+)", span) if span.startswith("python") else None
    return set(re.findall(r"--[a-z][\w-]*", (ROOT / f"benchmarks/{script[1]}.py").read_text())) if script else set()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", read(page)):
        if not target.startswith(("http://", "https://")):
            assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    for span in spans(page):
        for word in span.split():
            if re.fullmatch(r"[\w/]*test_\w+\.py", word):
                assert (ROOT / "tests" / word.removeprefix("tests/")).exists(), f"{page} names {word}"
            elif re.fullmatch(r"(benchmarks|mdgen|validation|configs|docs|examples)/[\w./-]+", word):
                assert (ROOT / word).exists(), f"{page} names {word}"


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_exist(page: str) -> None:
    known = _options() | FOREIGN_OPTIONS
    for span in spans(page):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span):
            assert option in (_script_options(span) or known), f"{page} names {option}"


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page: str) -> None:
    known = set(known_keys(Recipe.model_fields))
    sections = {name.partition(".")[0] for name in known if "." in name}
    for span in spans(page):
        for name in re.findall(r"(?<![\w./[])([a-z_]+(?:\.[a-z_0-9]+)+)", span):
            if name.partition(".")[0] in sections and not name.endswith((".py", ".yaml", ".onnx", ".md")):
                assert name in known, f"{page} names the setting {name}"


def test_every_recipe_is_described_once() -> None:
    described = re.findall(r"^\| `([\w-]+)` \|", read("docs/recipes.md"), re.MULTILINE)
    assert sorted(described) == sorted(set(shipped_recipes()) - set(RECIPES_ELSEWHERE))
    for name, page in RECIPES_ELSEWHERE.items():
        assert f"`{name}`" in read(page)


@pytest.mark.parametrize("page", ["README.md", "docs/judge.md"])
def test_every_gate_is_described(page: str) -> None:
    gates = yaml.safe_load((ROOT / "validation" / "gates.yaml").read_text())
    assert not [gate for gate in gates if gate not in read(page)]


#: Rows of the README's table of measured gates, and the gate of the result they come from.
MEASURED = {
    "user accuracy": "user_accuracy",
    "equal error rate": "verification",
    "train on synthetic, test on real": "tstr",
    "augmentation gain": "augmentation_gain",
    "own real user nearest": "conditioning",
    "distance to real over real to real": "fidelity",
    "near copies": "memorisation",
    "variety over real": "diversity",
    "kinematic distance, in sessions": "kinematics",
    "texture": "texture",
    "told from the background alone": "shortcuts",
    "likeness to altered images": "alterations",
}


@pytest.mark.parametrize(("row", "gate"), MEASURED.items())
def test_the_figures_of_the_readme_are_the_measured_ones(row: str, gate: str) -> None:
    (line,) = re.findall(rf"^\| {row} \|(.*)\|$", read("README.md"), re.MULTILINE)
    for cell, result in zip(line.split("|"), ("quickstart", "gait", "gestures"), strict=True):
        measured = json.loads((ROOT / "benchmarks" / "results" / f"{result}.json").read_text())["gates"][gate]
        figures, _, status = cell.strip().rpartition(" ")
        assert status == measured["status"]
        for shown, key in zip(figures.split(" / "), ("value", "ceiling", "threshold"), strict=True):
            if shown != "-":
                assert _as_shown(shown, measured[key]) == shown, (row, key)


#: Rows of the README's table of systems, and the figure of a result that they show.
COMPARED = {
    "distance to real": "fidelity",
    "kernel distance, EfficientNet-Lite0": "kid_efficientnet_lite0",
    "kernel distance, judges": "kid_judge",
    "trained on synthetic": "tstr",
    "accuracy": "user_accuracy",
    "error rate": "verification",
    "variety": "diversity",
    "kinematics": "kinematics",
    "fine texture": "texture",
    "images/s": "images_per_processor_s",
    "gates failed": "failed",
}
#: Of which data set and minutes each column is; all with bfloat16.
COLUMNS = tuple((data, minutes) for data in ("gait", "walkers", "gestures") for minutes in (10, 30))


@pytest.mark.parametrize(("row", "figure"), COMPARED.items())
def test_the_compared_systems_of_the_readme_are_the_measured_ones(row: str, figure: str) -> None:
    measured = {
        (r["data"], r["budget_minutes"], r["system"]): r | {"failed": len(r["failed"].split())}
        for r in json.loads((ROOT / "benchmarks" / "results" / "peers.json").read_text())
        if r["precision"] == "bfloat16"
    }
    (line,) = re.findall(rf"^\| {row} \|(.*)\|$", read("README.md"), re.MULTILINE)
    for cell, column in zip(line.split("|"), COLUMNS, strict=True):
        ours, theirs = (measured[(*column, system)] for system in ("mdgen", "diffusers UNet2DModel"))
        shown = re.findall(r"[\d.]+", cell)
        values = [ours[figure], theirs[figure], ours.get(f"{figure}_real")][: len(shown)]
        assert [_as_shown(number, value) for number, value in zip(shown, values, strict=True)] == shown, column


def _as_shown(shown: str, value: float) -> str:
    """`value` with the digits, sign and unit that `shown` has."""
    number, _, rest = shown.partition(" ")
    digits = len(number.partition(".")[2])
    sign = "+" if number.startswith("+") else ""
    return f"{100 * value:.{digits}f} %" if rest.startswith("%") else f"{value:{sign}.{digits}f}"
