"""The rules of the gates: shipped in `gates.yaml` with their reasons, overridden by a recipe or a file of the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from mdgen.errors import MdgenError


@dataclass(frozen=True)
class Rule:
    """One gate: what it asks, what to do when the answer is no, why its limits are what they are, and the limits."""

    question: str
    advice: str
    reason: str
    limits: Mapping[str, float]

    def __getitem__(self, limit: str) -> float:
        return self.limits[limit]


@cache
def shipped_rules() -> dict[str, Rule]:
    """The rules of `gates.yaml`, in the order of the report."""
    text = files("validation").joinpath("gates.yaml").read_text(encoding="utf-8")
    return {name: Rule(**entry) for name, entry in yaml.safe_load(text).items()}


def rules_with(overrides: Mapping[str, Mapping[str, float]]) -> dict[str, Rule]:
    """The shipped rules with other limits: {gate: {limit: number}}. Raises `MdgenError` on a name that is not there."""
    rules = dict(shipped_rules())
    for name, limits in overrides.items():
        if name not in rules:
            raise MdgenError(f"gates.{name}: there is no such gate; known are {', '.join(rules)}")
        known = rules[name].limits
        for limit, value in limits.items():
            if limit not in known:
                raise MdgenError(f"gates.{name}.{limit}: unknown; this gate has {', '.join(known) or 'no limits'}")
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise MdgenError(f"gates.{name}.{limit}: must be a number, got {value!r}")
        rule = rules[name]
        rules[name] = Rule(rule.question, rule.advice, rule.reason, {**known, **limits})
    return rules
