"""What the HTML pages share: pictures inside the page, numbers for people, tables that sort, one strict template set.

The templates escape everything they are given, and the page forbids itself whatever it does not carry: no request, no
script but its own (by its hash). User names, notes and paths are therefore only ever text.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from PIL import Image

#: Pixels of a saved figure for each CSS pixel on the page, so that text stays sharp on fine screens and on paper.
SHARPNESS = 2
TITLES = {"fid": "FID (Inception)", "tstr": "Train on synthetic, test on real"}
MARKS = ("floor", "ceiling", "threshold", "value")


@dataclass(frozen=True)
class Picture:
    """A PNG that lives inside the page. width: CSS pixels at which it is meant to be seen."""

    uri: str
    width: int
    height: int
    caption: str
    name: str

    @classmethod
    def read(cls, path: Path, caption: str) -> Picture:
        """The picture in the file `path`."""
        with Image.open(path) as image:
            width, height = image.size
        uri = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
        return cls(uri, round(width / SHARPNESS), round(height / SHARPNESS), caption, path.stem)


def render(template: str, **values: Any) -> str:
    """The page `template` of this package, with every value escaped."""
    environment = Environment(
        loader=FunctionLoader(lambda name: files("validation").joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cell=cell, sort_key=sort_key, title=title, words=words, csp_hash=csp_hash)
    environment.filters.update(scale=scale, listed=listed, sentence=sentence)
    environment.tests["numeric"] = pd.api.types.is_numeric_dtype
    return environment.get_template(template).render(**values)


def cell(value: Any, digits: int = 3) -> str:
    """A value for people: "–" where there is none, no more digits than help, thousands apart."""
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer() and abs(value) >= 10):
        return f"{value:,.0f}"
    if isinstance(value, float | np.floating):
        tiny = value != 0 and abs(value) < 10**-digits
        return f"{value:.2g}" if tiny else f"{value:,.{digits if abs(value) < 100 else 1}f}"
    return str(value)


def sort_key(value: Any) -> str:
    """What a table sorts by: all digits of a number, "" where there is none, else the text."""
    missing = value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value))
    return "" if missing else str(float(value)) if isinstance(value, int | float | np.number) else str(value)


def title(gate: str) -> str:
    """A gate's name for people."""
    return TITLES.get(gate, words(gate))


def words(name: str) -> str:
    """A column's or gate's name as words, with a capital."""
    text = str(name).replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """`text` with a capital and a full stop, "" if empty."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def listed(names: Sequence[str], most: int = 12) -> str:
    """a, b and c; at most `most` of them by name."""
    names, more = list(names[:most]), len(names) - most
    parts = [*names, f"{more} more"] if more > 0 else names
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else "nothing"


def scale(gate: Mapping[str, Any]) -> dict[str, float]:
    """Where the numbers of a gate lie between the smallest and the largest of them, in percent; {} without a value."""
    known = {key: gate.get(key) for key in (*MARKS, "ci_low", "ci_high")}
    numbers = {key: float(number) for key, number in known.items() if number is not None}
    low, high = min(numbers.values(), default=0.0), max(numbers.values(), default=0.0)
    if "value" not in numbers or low == high:
        return {}
    return {key: round(100 * (number - low) / (high - low), 2) for key, number in numbers.items()}


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested record as lines: "real.images.train" -> "480"; lists are joined by commas."""
    lines: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            lines.update(flat(value, f"{prefix}{key}."))
        elif isinstance(value, list | tuple):
            lines[f"{prefix}{key}"] = ", ".join(str(part) for part in value) or "none"
        else:
            lines[f"{prefix}{key}"] = "none" if value in (None, {}, "") else str(value)
    return lines


def csp_hash(text: str) -> str:
    """The source expression by which a Content-Security-Policy lets exactly this inline script run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
