"""The picture in docs/architecture.md is what the code imports: no box missing, no arrow upwards, none invented."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT, blocks

Edge = tuple[str, str]


def _picture() -> tuple[dict[str, str], set[Edge]]:
    """Box of every module, by its name, and the arrows between boxes."""
    (text,) = (block.text for block in blocks("docs/architecture.md") if block.language == "mermaid")
    boxes = dict(re.findall(r'(\w+)\["([^"]+)"\]', text))
    arrows = re.findall(r'^\s*(\w+)(?:\["[^"]+"\])? --> (\w+)', text, re.MULTILINE)
    box_of: dict[str, str] = {}
    for box, label in boxes.items():
        package, colon, names = label.partition(": ")
        for name in names.split(", ") if colon else [package]:
            module = f"{package}.{name}" if colon else name
            assert module not in box_of, f"{module} is drawn twice"
            box_of[module] = box
    return box_of, set(arrows)


def _file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)


def _drawn_as(module: str) -> str:
    """The part of a module's name that the picture shows: `mdgen.data` of `mdgen.data.raw.samples`."""
    return ".".join(module.split(".")[:2])


@cache
def imports() -> dict[Edge, str]:
    """(importing, imported) -> file, at any depth of the code, for the parts that the picture shows."""
    found: dict[Edge, str] = {}
    for file in (ROOT / "cli.py", *(ROOT / "mdgen").rglob("*.py"), *(ROOT / "validation").rglob("*.py")):
        here = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for there in _imported(ast.parse(file.read_text(encoding="utf-8"))):
            if _file_of(there) and "." in there and _drawn_as(here) != _drawn_as(there):
                found.setdefault((_drawn_as(here), _drawn_as(there)), str(file.relative_to(ROOT)))
    return found


def _imported(tree: ast.AST) -> set[str]:
    """Names of imported modules; of `from package import module` the module."""
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            given = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {name for name in given if _file_of(name)} or {str(node.module)}
    return modules


def _below(arrows: set[Edge]) -> dict[str, set[str]]:
    """All boxes that can be reached from each."""
    below = {box: {b for a, b in arrows if a == box} for edge in arrows for box in edge}
    for _ in below:
        below = {box: reached.union(*(below[b] for b in reached)) for box, reached in below.items()}
    return below


def test_every_module_is_in_the_picture_and_nothing_else() -> None:
    drawn = {module for module in _picture()[0] if "." in module}
    there = {f"{package}.{path.stem}" for package in ("mdgen", "validation") for path in (ROOT / package).iterdir()
             if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.stem != "__init__"}  # fmt: skip
    assert drawn == there


def test_imports_go_down_the_arrows() -> None:
    box_of, arrows = _picture()
    below = _below(arrows)
    assert not [box for box, reached in below.items() if box in reached], "the picture has a circle"
    for (here, there), file in imports().items():
        a, b = box_of.get(here), box_of[there]
        if a is not None and a != b:
            assert b in below[a], f"{file}: {here} imports {there}, against the picture"


def test_every_arrow_stands_for_an_import() -> None:
    box_of, arrows = _picture()
    real = {(box_of.get(here), box_of[there]) for here, there in imports()}
    assert not arrows - real


def test_the_generator_knows_nothing_of_the_judge_and_the_judge_only_data_sets() -> None:
    for (here, there), file in imports().items():
        assert not (here.startswith("mdgen") and there.startswith("validation")), file
        if here.startswith("validation") and here != "validation.commands" and there.startswith("mdgen"):
            assert there in ("mdgen.data", "mdgen.device", "mdgen.errors", "mdgen.figures"), f"{file}: {there}"
