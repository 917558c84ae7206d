"""What happens when a file cannot be imported: stop with one line, or leave it out and say so at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mdgen.errors import MachineError, MdgenError

_SHOWN = 5


@dataclass
class Problems:
    """skip: leave out instead of stopping. found: what was left out, and why."""

    skip: bool = False
    found: dict[str, str] = field(default_factory=dict)

    def meet(self, item: str, error: MdgenError) -> None:
        """Raise `error`, or remember that `item` is left out because of it. A `MachineError` is always raised."""
        if not self.skip or isinstance(error, MachineError):
            raise error
        self.found[item] = " ".join(str(error).split())

    @property
    def lines(self) -> list[str]:
        """How many were left out, the first of them with reasons."""
        if not self.found:
            return []
        kinds = Counter(reason.split(": ", 1)[-1].split(" (")[0].split(";")[0] for reason in self.found.values())
        summary = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common(_SHOWN))
        more = len(self.found) - _SHOWN
        return [
            f"skipped: {len(self.found)} ({summary}); see skipped.csv",
            *(f"  {reason}" for reason in list(self.found.values())[:_SHOWN]),
            *([f"  and {more} more"] if more > 0 else []),
        ]
