"""The unfinished import: a hidden folder beside the target that holds what is done, and becomes the target at the end.

A killed import goes on with the same command: spectrograms that the journal names are not converted again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mdgen.data.dataset import require_free
from mdgen.data.importing.convert import STORE, Fact
from mdgen.data.importing.layouts import Listing
from mdgen.data.importing.settings import ImportSettings
from mdgen.errors import MachineError, MdgenError

#: Settings that only matter after conversion, or not at all: they may differ when an import goes on.
_LATER = {"fractions", "seed", "session_length", "recording_length", "workers", "on_error"}


class Work:
    """The folder `.NAME.importing` beside `out`, for one source and one set of settings."""

    def __init__(self, out: Path, listing: Listing, settings: ImportSettings) -> None:
        require_free(out)
        self.out = out
        self.folder = out.parent / f".{out.name}.importing"
        self.journal = self.folder / "journal.csv"
        self.identity = _identity(listing, settings)
        self.was_other = False

    def begin(self) -> list[Fact]:
        """Make the folder, or take up what lies there; returns what is done already (successes only)."""
        try:
            if self._stored_identity() != self.identity:
                self.was_other = self.folder.exists()
                shutil.rmtree(self.folder, ignore_errors=True)
                (self.folder / "images").mkdir(parents=True)
                (self.folder / "import.json").write_text(json.dumps({"identity": self.identity}))
            done = self._read_journal()
            self._rewrite(done)
            return done
        except OSError as error:
            raise MachineError(f"{self.out}: cannot be written ({error.strerror}); choose another folder") from error

    def note(self, facts: Iterable[Fact]) -> None:
        """Add to the journal what has been written; one line each, so that a torn end loses one line."""
        with open(self.journal, "a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(facts)

    def finish(self, manifest: pd.DataFrame, skipped: dict[str, str]) -> None:
        """Write the manifest and what was left out, and turn the folder into the target."""
        try:
            manifest.to_csv(self.folder / "manifest.csv", index=False)
            if skipped:
                table = pd.DataFrame({"file": list(skipped), "reason": list(skipped.values())})
                table.to_csv(self.folder / "skipped.csv", index=False)
            self.journal.unlink(missing_ok=True)
            (self.folder / STORE).unlink(missing_ok=True)
            (self.folder / "import.json").unlink()
            require_free(self.out)
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
            return json.loads((self.folder / "import.json").read_text()).get("identity")
        except (OSError, ValueError):
            return None

    def _read_journal(self) -> list[Fact]:
        if not self.journal.exists():
            return []
        with open(self.journal, newline="", encoding="utf-8", errors="replace") as stream:
            rows = [
                row for row in csv.reader(line.replace("\0", "") for line in stream) if len(row) == len(Fact._fields)
            ]
        facts: dict[int, Fact] = {}
        for row in rows:
            try:
                residual, columns, low, high = map(float, row[2:6])
                fact = Fact(int(row[0]), row[1], residual, columns, low, high)
            except ValueError:
                continue
            if fact.file and self._is_whole(fact.file):
                facts[fact.row] = fact
        return list(facts.values())

    def _is_whole(self, file: str) -> bool:
        try:
            return (self.folder / file).stat().st_size > 0
        except OSError:
            return False

    def _rewrite(self, facts: list[Fact]) -> None:
        """The journal anew, without torn lines."""
        temporary = self.journal.with_suffix(".new")
        with open(temporary, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(facts)
        os.replace(temporary, self.journal)


def _identity(listing: Listing, settings: ImportSettings) -> str:
    """sha256 of the source, its spectrograms and the settings that shape them."""
    shaping = {k: v for k, v in settings.model_dump().items() if k not in _LATER}
    digest = hashlib.sha256(json.dumps([str(listing.root.resolve()), shaping]).encode())
    for column in ("file", "member", "entry", "user"):
        digest.update(pd.util.hash_pandas_object(listing.table[column], index=False).to_numpy().tobytes())
    return digest.hexdigest()


def check_target(out: Path, source: Path) -> None:
    """Raise `MdgenError` where `out` is taken, or lies inside what is read."""
    require_free(out)
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise MdgenError(f"{out}: lies inside the source {source}; choose a folder elsewhere")
