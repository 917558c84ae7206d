"""The unfinished import: a hidden folder beside the target that holds what is done, and becomes the target at the end.

A killed import goes on with the same command: spectrograms that the journal names are not converted again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mdgen.data.folders import require_free, write_whole
from mdgen.data.importing.convert import Fact
from mdgen.data.importing.settings import ImportSettings, Storage
from mdgen.data.stacks import Stack, one_file_each
from mdgen.errors import MachineError, MdgenError

#: Settings that only matter after conversion, or not at all: they may differ when an import goes on.
_LATER = {"fractions", "seed", "session_length", "recording_length", "workers", "on_error", "storage"}
_IDENTITY = "import.json"
JOURNAL = "journal.csv"


class Work:
    """The folder `.NAME.importing` beside `out`, for one source and one set of settings."""

    def __init__(self, out: Path, identity: str) -> None:
        """identity: text that differs where what is to be imported, or how, does."""
        require_free(out)
        self.out = out
        self.folder = out.parent / f".{out.name}.importing"
        self.identity = identity
        self.was_other = False

    def begin(self) -> None:
        """Make the folder, or take up what lies there if it is the same import."""
        try:
            if self._stored_identity() != self.identity:
                self.was_other = self.folder.exists()
                self.discard()
                self.folder.mkdir(parents=True)
                (self.folder / _IDENTITY).write_text(json.dumps({"identity": self.identity}))
        except OSError as error:
            raise MachineError(f"{self.out}: cannot be written ({error.strerror}); choose another folder") from error

    def finish(self, manifest: pd.DataFrame, skipped: dict[str, str], storage: Storage, *aside: str) -> None:
        """Write the manifest and what was left out, and turn the folder into the target, without the files `aside`."""
        try:
            manifest = one_file_each(self.folder, manifest) if storage == "files" else manifest
            manifest.to_csv(self.folder / "manifest.csv", index=False)
            if skipped:
                table = pd.DataFrame({"file": list(skipped), "reason": list(skipped.values())})
                table.to_csv(self.folder / "skipped.csv", index=False)
            require_free(self.out)
            for name in (*aside, _IDENTITY):
                (self.folder / name).unlink(missing_ok=True)
            for folder in self.folder.iterdir():
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            if self.out.exists():
                self.out.rmdir()
            os.replace(self.folder, self.out)
        except OSError as error:
            raise MachineError(f"{self.out}: writing failed ({error.strerror}); free disk space or move it") from error

    def discard(self) -> None:
        """Remove what was begun."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stored_identity(self) -> str | None:
        try:
            return json.loads((self.folder / _IDENTITY).read_text()).get("identity")
        except (OSError, ValueError, AttributeError):
            return None


class Journal:
    """The facts of rows that are stored already, one line each, so that a torn end loses one line."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / JOURNAL

    def read(self, *stacks: Stack) -> list[Fact]:
        """Facts of the rows of which `stacks` hold what the journal says; the others are struck out."""
        facts: dict[int, Fact] = {}
        if self.file.exists():
            with open(self.file, newline="", encoding="utf-8", errors="replace") as stream:
                for line in csv.reader(line.replace("\0", "") for line in stream):
                    fact = _fact(line)
                    if fact is not None and 0 <= fact.row < len(stacks[0]) and _is_stored(fact, stacks):
                        facts[fact.row] = fact
        write_whole(self.file, "".join(map(_line, facts.values())))
        return list(facts.values())

    def note(self, facts: Iterable[Fact]) -> None:
        """Add rows that have been stored."""
        with open(self.file, "a", encoding="utf-8") as stream:
            stream.write("".join(map(_line, facts)))


def _line(fact: Fact) -> str:
    return ",".join(map(repr, fact[:-1])) + "\n"


def _fact(line: list[str]) -> Fact | None:
    try:
        row, check, *numbers = line
        return Fact(int(row), int(check), *map(float, numbers)) if len(line) == len(Fact._fields) - 1 else None  # type: ignore[arg-type]
    except ValueError:
        return None


def _is_stored(fact: Fact, stacks: Iterable[Stack]) -> bool:
    return zlib.crc32(b"".join(stack.bytes_of(fact.row) for stack in stacks)) == fact.check


def source_identity(root: Path, table: pd.DataFrame, **shaping: Any) -> str:
    """sha256 of a folder, of what `table` names in it and says of it, and of what shapes the result."""
    digest = hashlib.sha256(json.dumps([str(root.resolve()), shaping], sort_keys=True, default=str).encode())
    for column in table.columns:
        digest.update(pd.util.hash_pandas_object(table[column], index=False).to_numpy().tobytes())
    return digest.hexdigest()


def shaping_settings(settings: ImportSettings) -> dict[str, Any]:
    """The settings that pictures depend on."""
    return {k: v for k, v in settings.model_dump(mode="json").items() if k not in _LATER}


def check_target(out: Path, source: Path) -> None:
    """Raise `MdgenError` where `out` is taken, or lies inside what is read."""
    require_free(out)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise MdgenError(f"{out}: lies inside the source {source}; choose a folder elsewhere")
