"""`validate`: two data sets in, one report folder and one verdict out."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import mdgen
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.folders import atomic_folder
from validation.blocks.accuracy import assess_user_accuracy
from validation.blocks.alterations import assess_alterations
from validation.blocks.conditioning import assess_conditioning
from validation.blocks.diversity import assess_diversity
from validation.blocks.fidelity import assess_fidelity
from validation.blocks.memorisation import assess_memorisation
from validation.blocks.motion import assess_kinematics
from validation.blocks.shortcuts import assess_shortcuts
from validation.blocks.texture import assess_texture
from validation.blocks.usefulness import assess_usefulness
from validation.blocks.verification import assess_verification
from validation.context import Context
from validation.findings import Finding
from validation.networks.inception import assess_inception
from validation.processes import everywhere, is_main
from validation.results import FAIL, NOT_JUDGED, OK, Metric, Summary, metrics_table, spreadsheet_safe
from validation.sets import Sets, prepare_sets
from validation.settings import ValidationSettings

#: The blocks, in the order of the report.
BLOCKS: tuple[Callable[[Context], Finding], ...] = (
    assess_user_accuracy,
    assess_verification,
    assess_usefulness,
    assess_conditioning,
    assess_fidelity,
    assess_memorisation,
    assess_diversity,
    assess_kinematics,
    assess_texture,
    assess_shortcuts,
    assess_alterations,
    assess_inception,
)


@dataclass(frozen=True)
class Assessment:
    """All that a report is written from. findings: one of each block, in the order of the report."""

    context: Context
    findings: list[Finding]
    summary: Summary

    @property
    def users(self) -> pd.DataFrame:
        """One row per user: status, the gates it fails by name, and the columns of all blocks."""
        return per_user_table(self.context.sets, self.findings)

    @property
    def implausible(self) -> dict[int, str]:
        """Row of the synthetic set -> why a block finds it impossible."""
        return {row: reason for finding in self.findings for row, reason in finding.implausible.items()}


def validate(
    real: SpectrogramSet,
    synthetic: SpectrogramSet,
    out: Path,
    settings: ValidationSettings | None = None,
    progress: Callable[[str], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Assessment:
    """Judge `synthetic` against `real` and write the report folder `out`, all of it or nothing.

    real: rows with roles train, judge, val, test; without any, they are made and the decisive gates turn advisory.
    synthetic: users among those of `real`, images of the same shape. out: must not exist or be empty; receives
    summary.json, metrics.csv, per_user.csv, figures/ and report.html, by the main process of several. progress: told
    what is being done, in words. provenance: whatever else the summary should keep. Raises `MdgenError` on sets that do
    not fit.
    """
    settings = settings or ValidationSettings()
    with atomic_folder(Path(out)) if is_main() else nullcontext() as folder:
        assessment = assess(real, synthetic, settings, progress, provenance)
        if folder is not None:
            _write(folder, assessment)
    everywhere(True)  # the other processes go on when the report is there
    return assessment


def assess(
    real: SpectrogramSet,
    synthetic: SpectrogramSet,
    settings: ValidationSettings,
    progress: Callable[[str], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Assessment:
    """Everything `validate` does but the files."""
    sets = prepare_sets(real, synthetic, settings.seed, settings.users)
    return assess_context(Context(sets, settings, progress or (lambda _: None)), provenance)


def assess_context(context: Context, provenance: dict[str, Any] | None = None) -> Assessment:
    """Run every block on a context, which may share its judges with others (`Context.judging`)."""
    findings = [block(context) for block in BLOCKS]
    order = {name: place for place, name in enumerate(context.rules)}
    gates = sorted((gate for finding in findings for gate in finding.gates), key=lambda gate: order[gate.name])
    return Assessment(context, findings, Summary(gates, _provenance(context, findings, provenance or {})))


def per_user_table(sets: Sets, findings: list[Finding]) -> pd.DataFrame:
    """user, status ("fail", "not judged" or "ok"), fails (gates, comma-separated), then the numbers of all blocks.

    Failing users first, then those whom a block could not judge or who lack real rows to be judged by.
    """
    fails = {
        user: ", ".join(f.gates[0].name for f in findings if user in f.failed_users)
        for user in dict.fromkeys([*sets.users, *sets.missing, *sets.unjudged])
    }
    table = pd.DataFrame({"fails": fails}).rename_axis("user")
    unknown = table.index.isin([*sets.unjudged, *(user for f in findings for user in f.open_users)])
    table.insert(0, "status", np.select([table["fails"] != "", unknown], [FAIL, NOT_JUDGED], OK))
    columns = [f.per_user for f in findings if not f.per_user.empty]
    order = {status: place for place, status in enumerate((FAIL, NOT_JUDGED, OK))}
    return table.join(columns).sort_values("status", kind="stable", key=lambda column: column.map(order)).reset_index()


def all_metrics(findings: list[Finding], summary: Summary) -> list[Metric]:
    """Every measurement as one tidy row; the gates first."""
    gates = [
        Metric(
            g.name, g.value, scope="gate", ci_low=g.ci_low, ci_high=g.ci_high, n_b=g.n, threshold=g.threshold,
            status=g.status, note=g.note,
        )
        for g in summary.gates
    ]  # fmt: skip
    return gates + [row for finding in findings for row in finding.metrics]


def _provenance(context: Context, findings: list[Finding], given: dict[str, Any]) -> dict[str, Any]:
    sets, settings = context.sets, context.settings
    return {
        "mdgen": getattr(mdgen, "__version__", "unknown"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "real": _describe(sets.real) | {"images": sets.real.table["split"].value_counts().to_dict()},
        "synthetic": _describe(sets.synthetic) | {"images": len(sets.synthetic)},
        "users": sets.users,
        "judge_seeds": [settings.seed + i for i in range(settings.judge_seeds)],
        "judge_and_generator_apart": "proven by recording" if not sets.advisory else sets.advisory,
        "warnings": sets.warnings + [warning for finding in findings for warning in finding.warnings],
        "settings": settings.model_dump(mode="json"),
        "limits": {name: dict(rule.limits) for name, rule in context.rules.items()},
        **given,
    }


def _describe(data: SpectrogramSet) -> dict[str, Any]:
    return {"name": data.name, "fingerprint": data.fingerprint()}


def _write(folder: Path, found: Assessment) -> None:
    from validation.report.report import write_report  # draws, so it brings matplotlib

    summary, users = found.summary.as_dict(), found.users
    metrics = metrics_table(all_metrics(found.findings, found.summary))
    spreadsheet_safe(metrics).to_csv(folder / "metrics.csv", index=False)
    spreadsheet_safe(users).to_csv(folder / "per_user.csv", index=False)
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    context = found.context
    write_report(folder, summary, found.findings, users, metrics, context.sets, context.settings, context.rules)
