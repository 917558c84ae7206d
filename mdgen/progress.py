"""How a command shows that it lives: bars with time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

Advance = Callable[..., None]


class Progress:
    """Messages and progress on stderr; `quiet` says nothing. `interval_s` spaces the plain lines."""

    def __init__(self, quiet: bool = False, interval_s: float = 15.0) -> None:
        self.quiet = quiet or not is_first_process()
        self.console = Console(stderr=True, quiet=self.quiet, highlight=False)
        self.interval_s = interval_s

    def say(self, message: str) -> None:
        """One line of text, shown as it is."""
        self.console.print(message, markup=False, soft_wrap=True)

    @contextmanager
    def task(self, name: str, total: int, done: int = 0) -> Iterator[Advance]:
        """`advance(count, values, new_total)` to call in the block; `values`: named numbers to show beside the bar."""
        if self.console.is_terminal and not self.quiet:
            yield from self._bar(name, total, done)
        else:
            yield self._lines(name, total, done)

    def _bar(self, name: str, total: int, done: int) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=self.console) as bar:
            task = bar.add_task(name, total=total, completed=done, note="")

            def advance(count: int = 1, values: dict[str, float] | None = None, new_total: int | None = None) -> None:
                bar.update(task, advance=count, total=new_total)
                if values:
                    bar.update(task, note=_note(values))

            yield advance

    def _lines(self, name: str, total: int, done: int) -> Advance:
        first = last = time.monotonic()
        start, note = done, ""

        def advance(count: int = 1, values: dict[str, float] | None = None, new_total: int | None = None) -> None:
            nonlocal done, last, note, total
            done, total = done + count, new_total or total
            note = _note(values) if values else note
            now = time.monotonic()
            if now - last >= self.interval_s or done == total:
                left = (now - first) / max(1, done - start) * (total - done)
                self.say(f"{name} {done}/{total}, {now - first:.0f} s, {left:.0f} s left {note}".rstrip())
                last = now

        return advance


def _note(values: dict[str, float]) -> str:
    return " ".join(f"{key} {value:.4g}" for key, value in values.items())


def is_first_process() -> bool:
    """Whether this is the process that speaks, among those that `accelerate launch` may have started."""
    return os.environ.get("RANK", "0") == "0"


def mute_other_processes() -> None:
    """From now on only the first process prints results; errors and warnings of all are shown."""
    if not is_first_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  until the process ends


def warn(message: str) -> None:
    """A warning on stderr that no quiet mode hides."""
    print(f"warning: {message}", file=sys.stderr)
