"""The Kaggle notebook runs from top to bottom on a tiny recipe, and is committed without outputs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.docs.pages import ROOT
from tests.docs.tiny import TINY_JUDGE, TINY_SETTINGS, write_pictures

NOTEBOOK = ROOT / "examples" / "kaggle.ipynb"


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]


@pytest.mark.timeout(1200)
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch) -> None:
    pictures, work, recipe = tmp_path / "pictures", tmp_path / "work", tmp_path / "tiny.yaml"
    work.mkdir()
    write_pictures(pictures)
    recipe.write_text(yaml.safe_dump(_nested(TINY_SETTINGS) | {"validate": TINY_JUDGE}))
    given = {
        "PICTURES": pictures,
        "WORK": work,
        "RECIPE": recipe,
        "PER_USER": 4,
        "MAX_MINUTES": 20,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    assert any(output.get("text", "").startswith("verdict: ") for output in shown)
    assert (work / "report" / "report.html").exists()


def _nested(settings: list[str]) -> dict:
    """`a.b=value` texts as the mapping that a recipe's YAML holds."""
    recipe: dict = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        *path, last = key.split(".")
        section = recipe
        for part in path:
            section = section.setdefault(part, {})
        section[last] = yaml.safe_load(value)
    return recipe
