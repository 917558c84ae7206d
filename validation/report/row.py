"""A report as one row of a table, to compare many of them; and a table that grows by such rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mdgen.errors import MdgenError
from validation.results import FAIL

#: Distances of test rows to the synthetic ones, that a row holds for every encoder.
DISTANCES = ("kid", "frechet_distance", "inception_score")


def report_row(report: Path) -> dict[str, Any]:
    """Verdict, gates and distances of a report folder by name; what was unavailable is None.

    `X` is a value, `X_real` the same for as much real data, `X_status` the status of a gate. Distances are named by
    their encoder: `kid_efficientnet_lite0` stands for itself and never for `fid`, which is Inception's.
    """
    try:
        summary = json.loads((report / "summary.json").read_text(encoding="utf-8"))
        metrics = pd.read_csv(report / "metrics.csv")
    except (OSError, ValueError) as error:
        raise MdgenError(f"{report}: is not a report ({error}); write it with `mdgen validate`") from error
    row: dict[str, Any] = {
        "verdict": summary["verdict"],
        "failed": " ".join(name for name, gate in summary["gates"].items() if gate["status"] == FAIL),
        "synthetic": summary["provenance"]["synthetic"]["fingerprint"][:12],
    }
    for name, gate in summary["gates"].items():
        row |= {name: gate["value"], f"{name}_real": gate["ceiling"], f"{name}_status": gate["status"]}
    chosen = metrics[metrics["metric"].isin(DISTANCES) & (metrics["scope"] == "all") & metrics["encoder"].notna()]
    for found in chosen[chosen["set_b"].isin(["synthetic", "train"])].to_dict("records"):
        name = f"{found['metric']}_{found['encoder']}" + ("_real" if found["set_b"] == "train" else "")
        row[name] = None if pd.isna(found["value"]) else found["value"]
    return row


def append_row(table: Path, row: Mapping[str, Any]) -> None:
    """Add a row to the CSV file `table`, all of it or nothing; one about the same synthetic set takes its place."""
    rows = pd.DataFrame([dict(row)])
    if table.exists():
        try:
            old = pd.read_csv(table, dtype={"synthetic": str})
            rows = pd.concat([old[old["synthetic"] != row["synthetic"]], rows], ignore_index=True)
        except (ValueError, KeyError) as error:
            raise MdgenError(f"{table}: is not a table of results ({error}); choose another file") from error
    table.parent.mkdir(parents=True, exist_ok=True)
    unfinished = table.with_name(f".{table.name}.partial")
    rows.to_csv(unfinished, index=False)
    os.replace(unfinished, table)
