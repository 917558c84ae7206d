"""What the HTML pages share: pictures inside the page, numbers for people, tables that sort, one strict template set.

The templates escape everything they are given, and the page forbids itself whatever it does not carry: no request, no
script but its own (by its hash). User names, notes and paths are therefore only ever text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

#: A figure's inch on the page, in CSS pixels, and how many pixels of the PNG make one of those: sharp on fine screens.
PIXELS_PER_INCH, SHARPNESS = 80, 2
TITLES = {"fid": "FID (Inception)", "tstr": "TSTR (train on synthetic, test on real)"}
ACRONYMS = ("auc", "ci", "db", "eer", "fid", "kid", "roc", "snr", "trtr", "tstr")
UNITS = {"mps": "(m/s)", "hz": "(Hz)", "db": "(dB)"}


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
        loader=FunctionLoader(lambda name: files("validation.report").joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(cell=cell, sort_key=sort_key, words=words, csp_hash=csp_hash)
    environment.filters.update(scale=scale, listed=listed, sentence=sentence, prose=prose)
    environment.tests["numeric"] = pd.api.types.is_numeric_dtype
    return environment.get_template(template).render(**values)


def cell(value: Any, digits: int = 3) -> str:
    """A value for people: "–" where there is none, no more digits than help, thousands apart."""
    if missing(value):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        tiny = 1e-9 < abs(value) < 10**-digits
        return f"{value:.2g}" if tiny else f"{value:,.{digits if abs(value) < 100 else 1}f}"
    return str(value)


def sort_key(value: Any) -> str:
    """What a table sorts by: all digits of a number, "" where there is none, else the text."""
    if missing(value):
        return ""
    return str(float(value)) if isinstance(value, int | float | np.number | np.bool_) else str(value)


def missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NA, or a number that is not finite."""
    return value is None or value is pd.NA or (isinstance(value, float | np.floating) and not np.isfinite(value))


def gate_name(name: str) -> str:
    """A gate's name inside a sentence: "user_accuracy" -> "user accuracy", "tstr" -> "TSTR"."""
    return " ".join(part.upper() if part in ACRONYMS else part for part in name.split("_"))


def gate_names(names: str) -> str:
    """Comma-separated names of gates, for people."""
    return ", ".join(gate_name(name) for name in names.split(", "))


def words(name: str) -> str:
    """The name of a gate or a column as a heading: "eer" -> "EER", "speed_mps" -> "Speed (m/s)"."""
    stem, _, last = str(name).rpartition("_")
    text = f"{gate_name(stem)} {UNITS[last]}" if stem and last in UNITS else TITLES.get(name, gate_name(str(name)))
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """`text` with a capital and a full stop, "" if empty."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def prose(text: str) -> Markup:
    """Escaped text in which `backticks` mark code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def listed(names: Sequence[str], most: int = 12) -> str:
    """a, b and c; at most `most` of them by name."""
    names, more = list(names[:most]), len(names) - most
    parts = [*names, f"{more} more"] if more > 0 else names
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else "nothing"


def scale(gate: Mapping[str, Any]) -> dict[str, float]:
    """Where the numbers of a gate lie between the smallest and the largest of them, in percent; {} without a value."""
    keys = ("value", "ci_low", "ci_high", "threshold", "ceiling", "floor")
    numbers = {key: float(gate[key]) for key in keys if gate.get(key) is not None}
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
