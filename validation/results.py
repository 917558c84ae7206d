"""What a validation finds: single measurements, gates with a status, and the verdict that follows from them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

PASS, FAIL, INCONCLUSIVE, UNAVAILABLE, ADVISORY = "pass", "fail", "inconclusive", "unavailable", "advisory"
#: Of a user that no gate fails, and of one that some gate could not judge.
OK, NOT_JUDGED = "ok", "not judged"
#: Without a decision on these, nothing can be called usable per user.
DECISIVE = ("user_accuracy", "verification", "tstr", "conditioning", "memorisation", "diversity")
EXIT_CODES = {PASS: 0, FAIL: 1, INCONCLUSIVE: 3}


@dataclass(frozen=True)
class Metric:
    """One row of `metrics.csv`. direction: "higher", "lower" or "one" (a ratio that should be 1) is better."""

    metric: str
    value: float | None
    encoder: str = ""
    scope: str = "all"
    user: str = ""
    set_a: str = ""
    set_b: str = ""
    ci_low: float | None = None
    ci_high: float | None = None
    n_a: int | None = None
    n_b: int | None = None
    direction: str = ""
    threshold: float | None = None
    status: str = ""
    note: str = ""


@dataclass(frozen=True)
class Gate:
    """One question with its answer. ceiling: the same number measured on held-out real data; floor: on data known to be
    useless (chance, noise, shuffled labels)."""

    name: str
    status: str
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    threshold: float | None = None
    ceiling: float | None = None
    n: int | None = None
    note: str = ""
    floor: float | None = None


def unavailable(name: str, reason: str, threshold: float | None = None) -> Gate:
    """A gate that could not be measured, and why."""
    return Gate(name, UNAVAILABLE, threshold=threshold, note=reason)


@dataclass(frozen=True)
class Summary:
    """The verdict, its gates, and where everything came from."""

    gates: list[Gate]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """What the gates add up to: fail if any fails, inconclusive if any is or a decisive one is open, else pass."""
        status = {gate.name: gate.status for gate in self.gates}
        if FAIL in status.values():
            return FAIL
        decided = all(status.get(name) == PASS for name in DECISIVE)
        return PASS if decided and INCONCLUSIVE not in status.values() else INCONCLUSIVE

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 inconclusive."""
        return EXIT_CODES[self.verdict]

    def gate(self, name: str) -> Gate:
        """The gate called `name`."""
        return next(gate for gate in self.gates if gate.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON: {"verdict", "gates": {name: {...}}, "provenance"}; numbers that are not finite become null."""
        gates = {g.name: {k: v for k, v in asdict(g).items() if k != "name"} for g in self.gates}
        return strict_json({"verdict": self.verdict, "gates": gates, "provenance": self.provenance})


def strict_json(value: Any) -> Any:
    """`value` with plain Python numbers, text for whatever JSON does not know, and null for NaN and infinities."""
    if isinstance(value, dict):
        return {str(k): strict_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [strict_json(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def metrics_table(metrics: list[Metric]) -> pd.DataFrame:
    """One row per measurement, columns in the order of `Metric` with the names first."""
    order = ["metric", "encoder", "scope", "user", "set_a", "set_b", "value", "ci_low", "ci_high"]
    order += ["n_a", "n_b", "direction", "threshold", "status", "note"]
    table = pd.DataFrame([asdict(m) for m in metrics], columns=order)
    return table.astype({"n_a": "Int64", "n_b": "Int64"})


def spreadsheet_safe(table: pd.DataFrame) -> pd.DataFrame:
    """The table with text that a spreadsheet would run as a formula made plain by a leading apostrophe."""

    def plain(value: Any) -> Any:
        return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

    return table.map(plain)
