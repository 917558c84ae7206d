"""Tables that say which file is whose: `manifest.csv`, `.parquet`, the Hub's `metadata.csv`, any with a file column."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from mdgen.data.dataset import AXIS_COLUMNS, ROLES, read_parquet_text
from mdgen.data.importing.problems import Problems
from mdgen.errors import MdgenError

#: Names that tables use for our columns, in order of preference.
ALIASES = {
    "file": ("file", "file_name", "filename", "path", "filepath", "file_path", "image"),
    "user": ("user", "user_id", "subject", "subject_id", "person", "person_id", "participant", "label", "class", "id"),
    "session": ("session", "session_id", "visit", "day"),
    "recording": ("recording", "recording_id", "clip", "take", "sequence"),
    "split": ("split", "set", "fold", "subset"),
    "number": ("number", "window"),
}
_TABLES = (".csv", ".tsv", ".parquet")
_NAMES = ("manifest.csv", "manifest.parquet", "metadata.csv", "metadata.parquet")
#: Words for our roles.
ROLE_WORDS = {**{r: r for r in ROLES}, "valid": "val", "validation": "val", "dev": "val", "training": "train"}
ROLE_WORDS |= {"testing": "test", "t10k": "test", "eval": "test", "unused": "unused", "": ""}


def find_manifest(root: Path) -> Path | None:
    """The manifest of a folder: one of the usual names, or its only table if that has a file column."""
    named = next((root / name for name in _NAMES if (root / name).is_file()), None)
    tables = [f for f in root.iterdir() if f.suffix.lower() in _TABLES and f.is_file() and not f.name.startswith(".")]
    if named is None and len(tables) == 1 and is_manifest(tables[0]):
        return tables[0]
    return named


def is_manifest(file: Path) -> bool:
    """Whether `file` is a table with a file column."""
    if file.suffix.lower() not in _TABLES:
        return False
    try:
        return _column(_read(file, rows=1), "file") is not None
    except MdgenError:
        return False


def read_manifest(file: Path, problems: Problems) -> tuple[pd.DataFrame, list[str]]:
    """(table with file, user, session, recording, split, and every further column; lines of the report).

    Paths are below the manifest's folder; absolute ones and those that lead outside are refused. Equal rows count once.
    """
    table = _read(file)
    for ours in ALIASES:
        theirs = _column(table, ours)
        if theirs is None and ours in ("file", "user"):
            raise MdgenError(f"{file}: has no column for the {ours}; name one of them {ours!r}")
        if theirs is not None and theirs != ours:
            table = table.rename(columns={theirs: ours})
    if table.empty:
        raise MdgenError(f"{file}: has no rows; nothing to import")
    rows, lines = len(table), [f"manifest {file.name}: {len(table)} rows"]
    table = table.drop_duplicates().reset_index(drop=True)
    if len(table) < rows:
        lines.append(f"left out: {rows - len(table)} rows that repeat another")
    table = _sound_rows(table, file, problems)
    table["split"] = [_role(text, file) for text in table["split"]] if "split" in table else ""
    for column in AXIS_COLUMNS:
        if column in table:
            table[column] = pd.to_numeric(table[column], errors="coerce")
    return table, lines


def _read(file: Path, rows: int | None = None) -> pd.DataFrame:
    try:
        if file.suffix.lower() == ".parquet":
            table = read_parquet_text(file)
            return table.head(rows) if rows else table
        table = pd.read_csv(
            file, dtype=str, keep_default_na=False, encoding="utf-8-sig", sep=_separator(file), nrows=rows
        )
        return table.astype(str)
    except Exception as error:  # parsers raise anything on what is no table
        reason = " ".join(str(error).split())[:120]
        raise MdgenError(f"{file}: cannot be read as a table ({reason}); write it anew") from error


def _separator(file: Path) -> str:
    with open(file, encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline(100_000)
    return max((",", ";", "\t"), key=first.count)


def _column(table: pd.DataFrame, ours: str) -> str | None:
    lower = {str(c).strip().lower(): str(c) for c in reversed(table.columns.tolist())}
    return next((lower[name] for name in ALIASES[ours] if name in lower), None)


def _sound_rows(table: pd.DataFrame, file: Path, problems: Problems) -> pd.DataFrame:
    """The rows that name a user and a path below the manifest's folder, each file once."""
    twice = set(table.loc[table["file"].duplicated(keep=False), "file"])
    sound = []
    for row, (path, user) in enumerate(zip(table["file"], table["user"], strict=True)):
        try:
            _check_row(path, user, path in twice, file, row + 2)
            sound.append(row)
        except MdgenError as error:
            problems.meet(f"{file.name} row {row + 2}", error)
    return table.take(sound).reset_index(drop=True)


def _check_row(path: str, user: str, twice: bool, file: Path, row: int) -> None:
    if user == "":
        raise MdgenError(f"{file}: row {row} has no user; give every row a user")
    pure = PurePosixPath(path.replace("\\", "/"))
    outside = pure.is_absolute() or ".." in pure.parts or ":" in path[:2] or "\0" in path
    if not path or outside or not (file.parent / path).resolve().is_relative_to(file.parent.resolve()):
        raise MdgenError(f"{file}: row {row}: the file {path!r} must be a path below {file.parent}")
    if twice:
        raise MdgenError(f"{file}: row {row}: the file {path!r} is in several rows that differ; keep one of them")


def _role(text: str, file: Path) -> str:
    role = ROLE_WORDS.get(text.strip().lower())
    if role is None:
        raise MdgenError(f"{file}: unknown split {text!r}; use one of {', '.join(ROLES)}")
    return role
