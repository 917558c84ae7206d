"""The files below a folder, safely: no hidden files, no pipes or devices, no folder twice (links may go in circles)."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mdgen.errors import MdgenError

_DIGITS = re.compile(r"(\d+)")
_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass
class Walk:
    """files: paths below the root (with `/`) in natural order. left_out: why and how many."""

    files: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    @property
    def lines(self) -> list[str]:
        return [f"left out: {number} {reason}" for reason, number in sorted(self.left_out.items())]


def walk(root: Path, only: str | None = None) -> Walk:
    """Every regular file below `root` whose path fits `only` (shell pattern; None: all)."""
    result = Walk()
    found = _files(root, "", result, set())
    fitting = [f for f in found if only is None or fnmatch.fnmatch(f, only) or fnmatch.fnmatch(Path(f).name, only)]
    result.files = sorted(fitting, key=_natural)
    return result


def _natural(name: str) -> list[str | int]:
    """`ID_2` before `ID_10`."""
    parts: list[str | int] = list(_DIGITS.split(name))
    parts[1::2] = map(int, parts[1::2])
    return parts


def _files(folder: Path, prefix: str, result: Walk, seen: set[tuple[int, int]]) -> Iterator[str]:
    pending = [(folder, prefix)]
    while pending:
        folder, prefix = pending.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                result.leave_out("folder(s) already seen (links)")
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = list(os.scandir(folder))
        except OSError as error:
            if not prefix:
                raise MdgenError(f"{folder}: cannot be listed ({error.strerror}); change its permissions") from error
            result.leave_out("folder(s) that cannot be listed")
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in _CLUTTER:
                continue
            try:
                if entry.is_dir():
                    pending.append((Path(entry.path), f"{prefix}{entry.name}/"))
                elif entry.is_file():
                    yield f"{prefix}{entry.name}"
                else:
                    result.leave_out("pipe(s), device(s) or broken link(s)")
            except OSError:
                result.leave_out("pipe(s), device(s) or broken link(s)")
