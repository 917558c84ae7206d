"""The verdict of a report as a table on the terminal."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_verdict(report: Path) -> int:
    """The verdict table of a report, and its exit code."""
    summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
    table = Table("gate", "status", "value", "95 % interval", "threshold", "ceiling", "n")
    for name, gate in summary["gates"].items():
        interval = "" if gate["ci_low"] is None else f"{gate['ci_low']:.3f} to {gate['ci_high']:.3f}"
        numbers = ["" if gate[key] is None else f"{gate[key]:.3f}" for key in ("value", "threshold", "ceiling")]
        table.add_row(name, gate["status"], numbers[0], interval, *numbers[1:], str(gate["n"] or ""))
    console = Console()
    console.print(table)
    for name, gate in summary["gates"].items():
        if gate["status"] not in ("pass", "unavailable"):
            console.print(escape(f"{name}: {gate['note']}"))
    console.print(f"verdict: {summary['verdict']}; report: {escape(str(report / 'report.html'))}", soft_wrap=True)
    return {"pass": 0, "fail": 1, "inconclusive": 3}[summary["verdict"]]
