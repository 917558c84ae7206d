"""`validate`: two data sets in, one report folder and one verdict out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mdgen
from mdgen.data.dataset import SpectrogramSet, atomic_folder
from validation import gates
from validation.accuracy import wilson_interval
from validation.measure import Measured, measure
from validation.neighbours import near_copy_share
from validation.results import Gate, Summary, metrics_table, spreadsheet_safe
from validation.sets import Sets, prepare_sets
from validation.settings import ValidationSettings
from validation.tables import all_metrics, per_user_table


def validate(
    real: SpectrogramSet,
    synthetic: SpectrogramSet,
    out: Path,
    settings: ValidationSettings | None = None,
    progress: Callable[[str], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Summary:
    """Judge `synthetic` against `real` and write the report folder `out`, all of it or nothing.

    real: rows with roles train, judge, val, test; without any, they are made and the decisive gates turn advisory.
    synthetic: users among those of `real`, images of the same shape. out: must not exist or be empty; receives
    summary.json, metrics.csv, per_user.csv, figures/ and report.html. progress: told what is being done, in words.
    provenance: whatever else the summary should keep. Raises `MdgenError` on sets that do not fit.
    """
    settings = settings or ValidationSettings()
    with atomic_folder(Path(out)) as folder:
        assessment = assess(real, synthetic, settings, progress, provenance)
        _write(folder, assessment, settings)
    return assessment.summary


@dataclass(frozen=True)
class Assessment:
    """All that a report is written from. limit: the similarity above which an image counts as a near copy."""

    sets: Sets
    measured: Measured
    limit: float
    summary: Summary


def assess(
    real: SpectrogramSet,
    synthetic: SpectrogramSet,
    settings: ValidationSettings,
    progress: Callable[[str], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Assessment:
    """Everything `validate` does but the files."""
    sets = prepare_sets(real, synthetic, settings.seed)
    measured = measure(sets, settings, progress or (lambda _: None))
    share, limit = near_copy_share(
        measured.near_synthetic.similarity, measured.near_real.similarity, settings.near_copy_quantile
    )
    decisions = decide(sets, measured, (share, limit), settings)
    return Assessment(sets, measured, limit, Summary(decisions, _provenance(sets, settings, provenance or {})))


def decide(sets: Sets, m: Measured, near: tuple[float, float], settings: ValidationSettings) -> list[Gate]:
    """The six gates. near: share of near copies and the similarity that makes one (`near_copy_share`)."""
    advisory = sets.advisory
    copies, limit = near
    known = int(np.isfinite(m.near_synthetic.similarity).sum())
    memorisation = (
        gates.memorisation_gate(copies, wilson_interval(copies, known), known, limit, settings)
        if known and np.isfinite(limit)
        else gates.unavailable("memorisation", "no real rows of role train for these users")
    )
    return [
        gates.user_accuracy_gate(m.synthetic, m.real, m.train, settings, advisory, sets.unjudged),
        _verification_gate(m, settings, advisory),
        gates.texture_gate(m.texture, m.texture_real, len(sets.synthetic), settings),
        memorisation,
        *_inception_gates(m, settings),
    ]


def _verification_gate(m: Measured, settings: ValidationSettings, advisory: str) -> Gate:
    if isinstance(m.verification, str):
        return gates.unavailable("verification", m.verification)
    return gates.verification_gate(m.verification, settings, advisory)


def _inception_gates(m: Measured, settings: ValidationSettings) -> list[Gate]:
    found = m.inception
    if isinstance(found, str):
        return [
            gates.unavailable("fid", found, settings.fid),
            gates.unavailable("inception_score", found, settings.inception_score),
        ]
    return [
        gates.fid_gate(found.fid, found.fid_real, found.n, settings),
        gates.inception_score_gate(found.score, found.score_real, found.n, settings),
    ]


def _provenance(sets: Sets, settings: ValidationSettings, given: dict[str, Any]) -> dict[str, Any]:
    roles = sets.real.table["split"].value_counts().to_dict()
    return {
        "mdgen": getattr(mdgen, "__version__", "unknown"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "real": {"name": sets.real.name, "fingerprint": sets.real.fingerprint(), "images": roles},
        "synthetic": {
            "name": sets.synthetic.name,
            "fingerprint": sets.synthetic.fingerprint(),
            "images": len(sets.synthetic),
        },
        "users": sets.users,
        "judge_seeds": [settings.seed + i for i in range(settings.judge_seeds)],
        "judge_and_generator_apart": "proven by recording" if not sets.advisory else sets.advisory,
        "warnings": sets.warnings,
        "settings": settings.model_dump(mode="json"),
        **given,
    }


def _write(folder: Path, found: Assessment, settings: ValidationSettings) -> None:
    from validation.report import draw_figures, render  # draws, so it brings matplotlib

    sets, measured, limit, summary = found.sets, found.measured, found.limit, found.summary.as_dict()
    metrics = metrics_table(all_metrics(sets, measured, found.summary))
    users = per_user_table(sets, measured, limit, settings)
    spreadsheet_safe(metrics).to_csv(folder / "metrics.csv", index=False)
    spreadsheet_safe(users).to_csv(folder / "per_user.csv", index=False)
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    (folder / "figures").mkdir()
    figures = draw_figures(folder / "figures", sets, measured, metrics, limit, settings)
    (folder / "report.html").write_text(render(summary, users, figures, metrics), encoding="utf-8")
