"""One line of a check: what was looked at, how it stands, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Remark:
    """mend: what to do, empty where nothing is to be done."""

    level: Level
    what: str
    mend: str = ""

    def line(self) -> str:
        return f"{self.level:4}  {self.what}" + (f" -> {self.mend}" if self.mend else "")


def passed(what: str) -> Remark:
    return Remark("pass", what)


def warned(what: str, mend: str) -> Remark:
    return Remark("warn", what, mend)


def failed(what: str, mend: str) -> Remark:
    return Remark("fail", what, mend)


def graded(what: str, mend: str, value: float, good: float, bad: float) -> Remark:
    """`value` against two limits; `good` above `bad` where more is better, below it where less is."""
    better = value >= good if good > bad else value <= good
    worse = value < bad if good > bad else value > bad
    return passed(what) if better else failed(what, mend) if worse else warned(what, mend)


def exit_code(remarks: Iterable[Remark]) -> int:
    """1 where anything failed; a warning is not a failure."""
    return int(any(remark.level == "fail" for remark in remarks))
