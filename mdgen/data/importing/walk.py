"""The files below a folder, safely: no hidden files, no pipes or devices, no folder twice (links may go in circles)."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from natsort import natsorted

from mdgen.errors import MdgenError

_CLUTTER = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass
class Walk:
    """files: path below the root (with `/`) and size in bytes, in natural order. left_out: why and how many."""

    files: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    @property
    def lines(self) -> list[str]:
        return [f"left out: {number} {reason}" for reason, number in sorted(self.left_out.items())]


def walk(root: Path, only: str | None = None) -> Walk:
    """Every regular file below `root` whose path fits `only` (shell pattern; None: all)."""
    result = Walk()
    found = dict(_files(root, "", result, set()))
    fitting = [f for f in found if only is None or fnmatch.fnmatch(f, only) or fnmatch.fnmatch(Path(f).name, only)]
    result.files = {name: found[name] for name in natsorted(fitting)}
    return result


def _files(folder: Path, prefix: str, result: Walk, seen: set[tuple[int, int]]) -> Iterator[tuple[str, int]]:
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
                    yield f"{prefix}{entry.name}", entry.stat().st_size
                else:
                    result.leave_out("pipe(s), device(s) or broken link(s)")
            except OSError:
                result.leave_out("pipe(s), device(s) or broken link(s)")
