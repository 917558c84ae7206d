"""Several reports side by side: verdicts, gates and users, without a score that would hide who fails where."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mdgen.data.folders import atomic_folder
from mdgen.errors import MdgenError
from validation.report.page import gate_names, render
from validation.results import spreadsheet_safe


@dataclass(frozen=True)
class Report:
    """A report folder, read back. name: what tells it from the others. users: its per_user.csv."""

    name: str
    summary: dict[str, Any]
    users: pd.DataFrame

    @property
    def gates(self) -> dict[str, dict[str, Any]]:
        """The gates by name."""
        return self.summary["gates"]

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the report came from."""
        return self.summary["provenance"]


def compare_reports(reports: list[Path], out: Path) -> Path:
    """Write folder `out` with comparison.html (self-contained), gates.csv and users.csv; returns the page.

    reports: at least two folders written by `mdgen validate`. Raises `MdgenError` on one that is not a report.
    """
    if len({Path(report).resolve() for report in reports}) < max(2, len(reports)):
        raise MdgenError("--compare: give at least two reports, each once")
    read = [read_report(path, name) for path, name in zip(reports, short_names(reports), strict=True)]
    gates, users = gates_table(read), users_table(read)
    with atomic_folder(Path(out)) as folder:
        spreadsheet_safe(gates).to_csv(folder / "gates.csv", index=False)
        spreadsheet_safe(users).to_csv(folder / "users.csv", index=False)
        page = render(
            "compare.html.j2",
            reports=read,
            gates=list(dict.fromkeys(gates["gate"])),
            statuses=side_by_side(users.assign(status=_status_with_fails(users)), "status"),
            columns={name: side_by_side(users, name) for name in _numeric_columns(users)},
            warnings=differences(read),
        )
        (folder / "comparison.html").write_text(page, encoding="utf-8")
    return Path(out) / "comparison.html"


def read_report(folder: Path, name: str) -> Report:
    """The report in `folder`; raises `MdgenError` where there is none."""
    mend = "give a folder written by `mdgen validate`"
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        users = pd.read_csv(folder / "per_user.csv", converters={"user": _name_as_it_was})
    except FileNotFoundError as error:
        raise MdgenError(f"{folder}: not a report, it has no {Path(error.filename).name}; {mend}") from error
    except (ValueError, OSError) as error:
        raise MdgenError(f"{folder}: a report that cannot be read ({error}); {mend}") from error
    if not isinstance(summary, dict) or not {"verdict", "gates", "provenance"} <= set(summary):
        raise MdgenError(f"{folder / 'summary.json'}: not the summary of a report; {mend}")
    if not {"user", "status"} <= set(users.columns):
        raise MdgenError(f"{folder / 'per_user.csv'}: lacks the columns user and status; {mend}")
    return Report(name, summary, users)


def short_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [Path(folder).resolve().parts for folder in folders]
    for length in range(1, max(len(p) for p in parts) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            break
    return names


def gates_table(reports: Sequence[Report]) -> pd.DataFrame:
    """One row per gate and report: gate, report, status, value, interval, threshold, ceiling, floor, n, note."""
    names = dict.fromkeys(name for report in reports for name in report.gates)
    rows = [
        {"gate": name, "report": report.name, **report.gates[name]}
        for name in names
        for report in reports
        if name in report.gates
    ]
    return pd.DataFrame(rows)


def users_table(reports: Sequence[Report]) -> pd.DataFrame:
    """The per-user tables below one another, with the column report in front."""
    return pd.concat([report.users.assign(report=report.name) for report in reports], ignore_index=True)


def side_by_side(users: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row per user, one column per report: what `column` of the users' table says."""
    table = users.pivot(index="user", columns="report", values=column)
    table = table.reindex(index=users["user"].unique(), columns=users["report"].unique())
    return table.rename_axis(index="user / report", columns=None).reset_index()


def differences(reports: Sequence[Report]) -> list[str]:
    """Why the numbers may not be comparable: other real data, limits or settings, other versions."""
    asked = {
        "the real data differ (fingerprints)": lambda p: p.get("real", {}).get("fingerprint"),
        "the settings differ": lambda p: p.get("settings"),
        "the limits of the gates differ": lambda p: p.get("limits"),
        "the versions of mdgen differ": lambda p: p.get("mdgen"),
    }
    return [
        f"{text}, so numbers compare only roughly"
        for text, answer in asked.items()
        if len({json.dumps(answer(report.provenance), sort_keys=True) for report in reports}) > 1
    ]


def _status_with_fails(users: pd.DataFrame) -> pd.Series:
    fails = users.get("fails", pd.Series("", index=users.index)).fillna("")
    return users["status"].where(fails == "", users["status"] + ": " + fails.map(gate_names))


def _name_as_it_was(text: str) -> str:
    """Undo the apostrophe of `spreadsheet_safe`."""
    return re.sub(r"^'(?=[=+\-@\t\r])", "", text)


def _numeric_columns(users: pd.DataFrame) -> list[str]:
    return [str(column) for column in users.select_dtypes("number").columns]
