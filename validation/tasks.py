"""What the command line does with the judge: run it, print what it found, and return the exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import mdgen
import validation
from mdgen.data.dataset import SpectrogramSet, write_dataset
from mdgen.data.folders import atomic_folder, require_free
from mdgen.errors import MdgenError
from validation import controls, run, sifting
from validation.cache import Arrays, Cache, cache_key, source_hash
from validation.networks.inception import default_weights
from validation.processes import everywhere, is_main
from validation.report.compare import compare_reports
from validation.results import EXIT_CODES, FAIL, PASS, UNAVAILABLE
from validation.settings import ValidationSettings

Say = Callable[[str], None]


def validate(
    real: SpectrogramSet,
    synthetic: SpectrogramSet,
    out: Path,
    settings: ValidationSettings,
    say: Say,
    provenance: dict[str, Any],
    kept: Path | None = None,
) -> int:
    """Judge, write the report and print the verdict. With `kept`, sift into that folder first (`_sift`).

    What was judged before by the same code, settings and packages is not judged again: its report is in the cache.
    """
    if kept is not None:
        return _sift(real, synthetic, out, settings, say, provenance, kept)
    if is_main():
        require_free(out)
    made = []

    def judge() -> Arrays:
        made.append(run.validate(real, synthetic, out, settings, say, provenance))
        return _read_files(out)

    files = Cache(settings.cache, say).arrays(_report_key(real, synthetic, settings), judge)
    if not made and is_main():
        say("judged before: this is the report that was kept")
        _write_files(files, out)
    everywhere(True)  # the other processes go on when the report is there
    return print_verdict(out)


def self_check(real: SpectrogramSet, settings: ValidationSettings, say: Say, out: Path | None) -> int:
    """Try to fool the judge with controls made of `real`; 1 where it was fooled. out: folder for self_check.csv."""
    table = controls.self_check(real, settings, say)
    fooled = table.loc[~table["ok"].astype(bool), "control"].tolist()
    if is_main():
        _print_table(table)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            table.to_csv(out / "self_check.csv", index=False)
        print("the judge was fooled by: " + ", ".join(fooled) if fooled else "the judge was not fooled")
    return EXIT_CODES[FAIL if fooled else PASS]


def compare(reports: Sequence[Path], out: Path) -> int:
    """Several reports on one page."""
    print(f"comparison of {len(reports)} reports: {compare_reports(list(reports), out)}")
    return 0


def read_limits(file: Path) -> Mapping[str, Mapping[str, float]]:
    """{gate: {limit: number}} of a YAML file. Raises `MdgenError`; the names are checked later."""
    try:
        limits = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MdgenError(f"{file}: cannot be read as YAML ({error})") from error
    if not isinstance(limits, dict) or not all(isinstance(value, dict) for value in limits.values()):
        raise MdgenError(f"{file}: must hold gates with limits, e.g. user_accuracy: {{threshold: 0.7}}")
    return limits


def default_cache() -> Path:
    """Where judges and features are kept between runs: $XDG_CACHE_HOME/mdgen, usually ~/.cache/mdgen."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdgen"


def print_verdict(report: Path) -> int:
    """Print the verdict table of a report, once however many processes there are, and give its exit code."""
    summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    if not is_main():
        return EXIT_CODES[summary["verdict"]]
    table = Table("gate", "status", "value", "95 % interval", "threshold", "ceiling", "n")
    for name, gate in summary["gates"].items():
        interval = "" if gate["ci_low"] is None else f"{gate['ci_low']:.3f} to {gate['ci_high']:.3f}"
        numbers = ["" if gate[key] is None else f"{gate[key]:.3f}" for key in ("value", "threshold", "ceiling")]
        table.add_row(name, gate["status"], numbers[0], interval, *numbers[1:], str(gate["n"] or ""))
    console = Console()
    console.print(table)
    for name, gate in summary["gates"].items():
        if gate["status"] not in (PASS, UNAVAILABLE):
            console.print(escape(f"{name}: {gate['note']}"))
    console.print(f"verdict: {summary['verdict']}; report: {escape(str(report / 'report.html'))}", soft_wrap=True)
    return EXIT_CODES[summary["verdict"]]


def _report_key(real: SpectrogramSet, synthetic: SpectrogramSet, settings: ValidationSettings) -> str:
    """Of everything a report depends on, encoders that may be missing included, but the command that asked for it."""
    code = [source_hash(Path(package.__path__[0])) for package in (mdgen, validation)]
    packages = [version(name) for name in ("torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")]
    sets = [(data.name, data.fingerprint(), data.table.to_json(double_precision=15)) for data in (real, synthetic)]
    weights = settings.inception_weights or default_weights()
    at_hand = [weights.is_file(), find_spec("efficientnet_lite_pytorch") is not None]
    return cache_key("report", code, packages, at_hand, settings.model_dump(mode="json", exclude={"cache"}), sets)


def _read_files(folder: Path) -> Arrays:
    """Every file below `folder` as bytes, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): np.frombuffer(path.read_bytes(), np.uint8) for path in files}


def _write_files(files: Arrays, out: Path) -> None:
    """The folder `_read_files` read, whole or not at all."""
    with atomic_folder(out) as folder:
        for name, content in files.items():
            path = folder / name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise MdgenError(f"{name!r} in the cache leads out of the report; empty the cache")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.tobytes())


def _sift(
    real: SpectrogramSet,
    synthetic: SpectrogramSet,
    out: Path,
    settings: ValidationSettings,
    say: Say,
    provenance: dict[str, Any],
    kept: Path,
) -> int:
    """Reports out/unfiltered and out/sifted by the same judges, none of them the one that sifts, and both compared."""
    if is_main():
        require_free(kept)
        require_free(out)
    sifting_rows = sifting.split_judge_rows(real, settings.seed)[1]
    before = run.validate(sifting_rows, synthetic, out / "unfiltered", settings, say, provenance)
    sifted = sifting.sift(real, before.context.sets.synthetic, settings, before.implausible, say)
    if is_main():
        write_dataset(sifted.kept, kept)
    notes = {"sifting": sifted.notes, "yields": sifted.yields.reset_index().to_dict("records")}
    run.validate(sifted.real, sifted.kept, out / "sifted", settings, say, provenance | notes)
    if is_main():
        page = compare_reports([out / "unfiltered", out / "sifted"], out / "comparison")
        _print_table(sifted.yields.reset_index())
        print("\n".join([*sifted.notes, f"kept: {kept}; both reports side by side: {page}"]))
    return print_verdict(out / "sifted")


def _print_table(table: pd.DataFrame) -> None:
    shown = Table(*[str(column) for column in table.columns])
    for row in table.itertuples(index=False):
        shown.add_row(*[escape(f"{value:.3f}" if isinstance(value, float) else str(value)) for value in row])
    Console().print(shown)
