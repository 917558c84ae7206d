"""How a training is told to stop: the first SIGINT or SIGTERM after the current step, the second one at once."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from mdgen.errors import MdgenError

#: Stands beside the numbers of signals as a reason to stop; lower than theirs, so that a signal counts more.
TIME_UP = 1


class Interrupted(MdgenError):
    """Training was told to stop; the checkpoint is saved. Exit code 130 (SIGINT) or 143 (SIGTERM, time is up)."""

    def __init__(self, message: str, stop: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + (int(signal.SIGTERM) if stop == TIME_UP else stop)


class StopSignal:
    """Turns SIGINT and SIGTERM into a number that the loop reads between two steps."""

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._remember)
            except ValueError:  # only the main thread may: elsewhere signals keep their meaning
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        signal.signal(number, self._previous[number])
