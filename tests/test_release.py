"""What is released: a wheel with everything in it, one version and licence in all files, a reference of the modules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from mdgen import __version__

ROOT = Path(__file__).parents[1]
DOCUMENTED = ("mdgen.config", "mdgen.data.dataset", "mdgen.diffusion", "mdgen.training.task", "validation.rules")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, since building leaves folders behind."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("mdgen", "validation", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("cli.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_all_that_the_packages_read(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("*.py", "*.yaml", "*.j2", "py.typed")
    wanted = {
        str(file.relative_to(ROOT))
        for package in ("mdgen", "validation", "configs")
        for kind in kinds
        for file in (ROOT / package).rglob(kind)
    }
    assert {"mdgen/py.typed", "validation/py.typed", "validation/gates.yaml", "configs/quickstart.yaml"} <= wanted
    assert wanted | {"cli.py"} <= held
    assert not [name for name in held if name.startswith(("tests", "benchmarks", "docs"))]
    assert [name for name in held if name.endswith("LICENSE")]


def test_recipes_and_gates_are_found_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    target, empty = tmp_path / "site", tmp_path / "elsewhere"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:  # installing a wheel of pure Python is unpacking it
        archive.extractall(target)
    probe = (
        "import cli, mdgen, validation.rules as rules; from mdgen.config import load_recipe, shipped_recipes;"
        f"assert cli.__file__.startswith({str(target)!r}), cli.__file__;"
        "[load_recipe(name) for name in shipped_recipes()]; print(len(shipped_recipes()), len(rules.shipped_rules()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    run = [sys.executable, "-c", probe]
    done = subprocess.run(run, cwd=empty, env=environment, check=True, capture_output=True, text=True)
    gates = yaml.safe_load((ROOT / "validation" / "gates.yaml").read_text())
    assert done.stdout.split() == [str(len(list((ROOT / "configs").glob("*.yaml")))), str(len(gates))]


def test_version_and_licence_are_the_same_everywhere() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'\nversion = "{__version__}"\n' in project
    assert citation["version"] == __version__
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert f'license = "{citation["license"]}"' in project
    assert (ROOT / "LICENSE").read_text().startswith(f"{citation['license']} License")


def test_every_dependency_has_a_lower_bound() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert listed
    named = re.findall(r'"([^"]+)"', listed[1])
    assert named
    assert not [name for name in named if not re.fullmatch(r"[\w-]+>=[\d.]+", name)]


def test_the_reference_of_the_modules_is_built_from_their_docstrings(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pdoc", "--no-include-undocumented", "-o", str(tmp_path), *DOCUMENTED]
    allowed = {**os.environ, "PDOC_ALLOW_EXEC": "1"}  # libraries that look at the processor while they are imported
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=allowed)
    assert "Warn" not in done.stderr, done.stderr
    page = (tmp_path / "mdgen" / "config.html").read_text()
    assert "The recipe of a YAML file, or of the name of one shipped" in page
