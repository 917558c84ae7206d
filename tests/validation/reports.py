"""A report of made-up findings about users with hostile names: every part a page can have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from validation.findings import Drawing, Finding
from validation.report.report import write_report
from validation.results import Gate, Metric, Summary, metrics_table, spreadsheet_safe
from validation.rules import shipped_rules
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

SCRIPT = "<script>document.title='owned'</script>"
USERS = ("001", SCRIPT, '"><img src=x onerror=alert(1)>', "=cmd()", "$y$ ünïcode 用户 " + "long_" * 20)
GATES = (
    Gate("verification", "pass", 0.10, 0.05, 0.19, 0.16, 0.11, 240, "rises by 0.010", floor=0.5),
    Gate("user_accuracy", "fail", 0.61, 0.55, 0.68, 0.8, 0.9, 600, f"users that fail: {SCRIPT}", floor=0.2),
    Gate("fid", "unavailable", threshold=50.0, note="no weights, fetch https://example.org/weights"),
    Gate("texture", "inconclusive", 0.9, 0.9, 0.9, 0.9, 0.9, 600),
)


def made_up(rng: np.random.Generator, roles: tuple[str, ...]) -> SpectrogramSet:
    """Two 12x16 images of noise per user and role, with axes."""
    rows = [(user, role) for user in USERS for role in roles for _ in range(2)]
    table = make_table(user=[user for user, _ in rows], split=[role for _, role in rows])
    table = table.assign(velocity_min_mps=-1.0, velocity_max_mps=3.0, duration_s=2.0, db_min=-40.0, db_max=0.0)
    images = rng.uniform(-1, 1, (len(rows), 1, 12, 16)).astype(np.float32)
    return SpectrogramSet(images, table, f"data of {SCRIPT}")


def drawing(name: str) -> Drawing:
    """A small figure named after a user."""

    def draw():
        from matplotlib.figure import Figure

        from validation.report.figures import label

        figure = Figure(figsize=(3, 2))
        figure.subplots().set(title=label(USERS[4]))
        return figure

    return Drawing(name, f"About {SCRIPT}.", draw)


def findings() -> list[Finding]:
    metrics = [Metric("user_accuracy", 0.5, scope="user", user=user, n_b=i or None) for i, user in enumerate(USERS)]
    by_user = users_table().set_index("user")
    recognition = Finding(
        "Recognition", "Who is who.", [GATES[1]], metrics, by_user[["accuracy"]], [SCRIPT], [drawing("accuracy")],
        [f"{SCRIPT} has few images"],
    )  # fmt: skip
    long_name = Gate("tstr", "inconclusive", 0.7, 0.6, 0.8, 0.72, 0.8, 600)
    texture = Finding(
        "Texture", gates=[GATES[3], long_name], per_user=by_user[["step_hz"]], drawings=[drawing("texture")]
    )
    return [recognition, texture]


def users_table() -> pd.DataFrame:
    fails = ["user_accuracy" if user == SCRIPT else "" for user in USERS]
    status = ["fail" if f else "ok" for f in fails]
    table = pd.DataFrame({"user": USERS, "status": status, "fails": fails})
    table["accuracy"] = [0.9, 0.1, np.nan, 0.75, 10.5]
    table["step_hz"] = [1.5, 2.25, 0.0001, 100.25, -3.0]
    return table.sort_values("status", kind="stable").reset_index(drop=True)


def write_tables(folder: Path, gates: tuple[Gate, ...] = GATES, **provenance: object) -> dict:
    """summary.json and per_user.csv, all that a comparison reads; returns the summary."""
    folder.mkdir(parents=True)
    summary = Summary(list(gates), {"warnings": ["sessions are unknown"], **provenance}).as_dict()
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    spreadsheet_safe(users_table()).to_csv(folder / "per_user.csv", index=False)
    return summary


def write_tiny_report(folder: Path) -> Path:
    """The report folder that `validate` would write for these findings."""
    rng = np.random.default_rng(0)
    sets = prepare_sets(made_up(rng, ROLES), made_up(rng, ("train",)))
    metrics = metrics_table([metric for finding in findings() for metric in finding.metrics])
    summary, settings = write_tables(folder), ValidationSettings(gallery_users=2)
    write_report(folder, summary, findings(), users_table(), metrics, sets, settings, shipped_rules())
    return folder
