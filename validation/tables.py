"""The measurements as tables: one tidy row each, and one row per user."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from validation.accuracy import Recognition
from validation.gates import failing_users
from validation.measure import Measured
from validation.results import Metric, Summary
from validation.sets import Sets
from validation.settings import ValidationSettings
from validation.texture import TextureRatio
from validation.verification import VerificationResult


def per_user_table(sets: Sets, m: Measured, limit: float, settings: ValidationSettings) -> pd.DataFrame:
    """One row per user: accuracy of synthetic and of real, with intervals, near copies, and whether the user fails.

    limit: the similarity above which a synthetic image counts as a near copy.
    """
    failing = set(failing_users(m.synthetic, m.real, m.train, settings))
    owner = sets.synthetic.table["user"].to_numpy()
    near = pd.Series(m.near_synthetic.similarity > limit).groupby(owner).mean()
    table = m.synthetic.per_user.rename(columns={"n": "n_synthetic"})
    real = m.real.per_user.rename(columns={"accuracy": "real_accuracy", "n": "n_real"})
    table = table.join(real[["real_accuracy", "n_real"]])
    table["ratio"] = (table["accuracy"] / table["real_accuracy"]).where(table["real_accuracy"] > 0)
    table["near_copies"] = near.reindex(table.index)
    table["status"] = ["fail" if user in failing else "ok" for user in table.index]
    return table.rename_axis("user").reset_index()


def all_metrics(sets: Sets, m: Measured, summary: Summary) -> list[Metric]:
    """Every measurement as one tidy row; the gates first."""
    rows = [
        Metric(
            g.name, g.value, "", "gate", "", "", "", g.ci_low, g.ci_high, None, g.n, "", g.threshold, g.status, g.note
        )
        for g in summary.gates
    ]
    rows += _accuracy_rows("test", m.real) + _accuracy_rows("synthetic", m.synthetic)
    rows += _accuracy_rows("train", m.train)
    rows += _verification_rows(m.verification)
    rows += [row for fidelity in m.fidelity for row in fidelity.metrics]
    rows += _texture_rows("synthetic", m.texture, len(sets.test)) + _texture_rows(
        "train", m.texture_real, len(sets.test)
    )
    return rows + _inception_rows(m)


def _accuracy_rows(name: str, found: Recognition) -> list[Metric]:
    base = Metric("user_accuracy", found.macro, "judge", set_a="judge", set_b=name, n_b=found.n, direction="higher")
    low, high = found.interval
    by_judge = "by judge: " + ", ".join(f"{value:.3f}" for value in found.seed_macros)
    spread = float(np.std(found.seed_macros))
    rows = [
        replace(base, ci_low=low, ci_high=high, note=by_judge),
        replace(base, metric="user_accuracy_spread", value=spread, direction="lower", note="deviation over judges"),
    ]
    for user, row in found.per_user.astype(float).iterrows():
        low, high, count = float(row["ci_low"]), float(row["ci_high"]), int(row["n"])
        own = replace(base, scope="user", user=str(user), value=float(row["accuracy"]))
        rows.append(replace(own, ci_low=low, ci_high=high, n_b=count))
    return rows


def _verification_rows(v: VerificationResult | str) -> list[Metric]:
    base = Metric("equal_error_rate", None, "verification", set_a="enrolment", direction="lower")
    if isinstance(v, str):
        return [replace(base, status="unavailable", note=v)]
    rows = []
    for name, eer, (low, high), auc, scores in (
        ("test", v.eer_real, v.eer_real_interval, v.auc_real, v.real_real),
        ("synthetic", v.eer_synthetic, v.eer_synthetic_interval, v.auc_synthetic, v.real_synthetic),
    ):
        n_a, n_b = scores.scores.shape
        rate = replace(base, value=eer, ci_low=low, ci_high=high, set_b=name, n_a=n_a, n_b=n_b)
        mean = float(scores.genuine.mean())
        rows += [
            rate,
            replace(rate, metric="roc_auc", value=auc, ci_low=None, ci_high=None, direction="higher"),
            replace(rate, metric="genuine_similarity", value=mean, ci_low=None, ci_high=None, direction=""),
        ]
    among = float(v.synthetic_genuine.mean()) if len(v.synthetic_genuine) else None
    note = "far above real-real: the synthetic windows of a person are too much alike"
    alike = Metric("genuine_similarity", among, "verification", set_a="synthetic", set_b="synthetic", note=note)
    return [*rows, alike]


def _texture_rows(name: str, ratios: list[TextureRatio], n_test: int) -> list[Metric]:
    return [
        Metric(
            f"texture_{r.axis}", r.value, set_a="test", set_b=name, ci_low=r.ci_low, ci_high=r.ci_high, n_a=n_test,
            direction="one",
        )
        for r in ratios
    ]  # fmt: skip


def _inception_rows(m: Measured) -> list[Metric]:
    found = m.inception
    if isinstance(found, str):
        return []
    base = Metric("fid", None, "inception_v3", set_a="test", n_a=found.n, n_b=found.n, direction="lower")
    score = replace(base, metric="inception_score", set_a="", n_a=None, direction="higher")
    return [
        replace(base, value=found.fid, set_b="synthetic"),
        replace(base, value=found.fid_real, set_b="train"),
        replace(score, value=found.score, set_b="synthetic"),
        replace(score, value=found.score_real, set_b="test"),
    ]
