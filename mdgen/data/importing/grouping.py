"""Which recording each window belongs to, and which role it gets. Reads converted windows of one owner at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.dataset import ROLES, START_COLUMN
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.overlaps import RecordingPlan, block_names, find_recordings
from mdgen.data.recordings import NATIVE_COLUMNS, NATIVE_START
from mdgen.data.splits import GUARD, UNUSED, assign_roles, leak_share, random_roles
from mdgen.data.stacks import Stack
from mdgen.errors import MdgenError

#: Columns that say something else than under which circumstances a window was recorded.
_NO_CIRCUMSTANCE = {
    *("file", "source", "row", "user", "session", "recording", "split", "number", "residual"),
    *("velocity_min_mps", "velocity_max_mps", "duration_s", "db_min", "db_max", START_COLUMN, NATIVE_COLUMNS),
}
_MAX_LINES = 40
#: Runs of numbers shorter than this on average are no order of time: files were shuffled or numbered otherwise.
_MIN_RUN = 2.0


def name_groups(
    table: pd.DataFrame, strips: Stack, width: int, settings: ImportSettings, natural: bool
) -> tuple[pd.DataFrame, list[str]]:
    """(the table with session and recording, and start columns where windows overlap; lines of the report).

    Names, manifests and blocks of numbers win. Else windows of equal circumstances (user, session, labels, folder) are
    searched for overlap. Where even numbers are missing, recordings stay unknown. strips: of all spectrograms, as fine
    as they were. width: columns of the result. natural: pictures of things.
    """
    table = table.copy()
    if settings.session_length:
        table["session"] = _blocks(table, settings.session_length, "s")
    if settings.recording_length:
        table["recording"] = _blocks(table, settings.recording_length, "r")
    if (table["recording"] != "").any() or natural:
        count = len(table[["user", "session", "recording"]].drop_duplicates())
        known = "as named or numbered" if not natural else "unknown: natural pictures"
        return table, [f"sessions and recordings {known}: {count} groups of all users"]
    lines, unknown = [], 0
    owner_of = _owners(table)
    members = owner_of.groupby(owner_of, sort=False).indices
    columns = {"recording": table["recording"].to_numpy(object, copy=True)}
    columns |= {column: np.full(len(table), np.nan) for column in (START_COLUMN, NATIVE_START)}
    for owner in natsorted(map(str, members)):
        rows = members[owner]
        if not _is_numbered(table["number"].to_numpy()[rows]):
            unknown += len(rows)
            continue
        plan = _overlap_of(table, rows, owner, strips)
        lines.append(plan.lines[0])
        for column, values in plan.table.items():
            columns[str(column)][rows] = values
    columns[START_COLUMN] *= width / strips.shape[-1]
    if unknown:
        lines.append(f"recordings unknown for {unknown} windows (names give no order of time); reports will say so")
    if len(lines) > _MAX_LINES:
        lines = [*lines[:_MAX_LINES], f"... and {len(lines) - _MAX_LINES} more"]
    table = table.assign(**{column: values for column, values in columns.items() if not pd.isna(values).all()})
    _tell_owners_apart(table, owner_of)
    return table, lines


def give_roles(table: pd.DataFrame, settings: ImportSettings, width: int) -> tuple[pd.DataFrame, list[str]]:
    """(the table with a split for every row, lines of the report).

    Roles the source gave are kept; those it lacks are taken from its train rows.
    """
    table = table.copy()
    given = table["split"].to_numpy()
    missing = {r: f for r, f in settings.fractions.items() if r == "train" or r not in set(given)}
    free = (given == "train") | (given == "")
    if free.any() and (len(missing) > 1 or (given == "").any()):
        shares = {role: share / sum(missing.values()) for role, share in missing.items()}
        rows = table[free].reset_index(drop=True)
        roles = assign_roles(rows, shares, settings.seed, guard=max(GUARD, _overlap_guard(rows, width)))
        table.loc[free, "split"] = roles.to_numpy()
    lines = ["roles the source gives are kept"] if not free.all() else []
    return _name_cut_parts(table, [*lines, *_split_lines(table, settings, width)])


def _blocks(table: pd.DataFrame, length: int, prefix: str) -> list[str]:
    return block_names(table["number"].tolist(), length, prefix)


def _owners(table: pd.DataFrame) -> pd.Series:
    """What windows of one recording have in common, as text: user, session, given split, folder and labels."""
    labels = [c for c in table.columns if c not in _NO_CIRCUMSTANCE and table[c].nunique() > 1]
    folder = [source.partition("::")[0].rpartition("/")[0] for source in table["source"]]
    named = [table[c].astype(str).tolist() for c in ("user", "session", "split")]
    parts = zip(*named, folder, *(table[c].astype(str).tolist() for c in labels), strict=True)
    return pd.Series(["\x1f".join(part) for part in parts], index=table.index)


def _is_numbered(numbers: np.ndarray) -> bool:
    """Whether numbers look like an order of time: given, distinct, and mostly in runs."""
    if (numbers < 0).any() or len(np.unique(numbers)) < len(numbers):
        return False
    runs = 1 + int((np.diff(np.sort(numbers)) != 1).sum())
    return len(numbers) / runs >= _MIN_RUN or len(numbers) < _MIN_RUN


class _Rows:
    """Some rows of a stack, as windows of their own."""

    def __init__(self, stack: Stack, rows: np.ndarray) -> None:
        self.stack, self.rows = stack, rows
        self.shape = (len(rows), *stack.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.stack[self.rows[rows]]


def _overlap_of(table: pd.DataFrame, rows: np.ndarray, owner: str, strips: Stack) -> RecordingPlan:
    """The recordings among `rows`."""
    spans = table[NATIVE_COLUMNS].to_numpy()[rows] if NATIVE_COLUMNS in table else None
    if spans is not None and np.isnan(spans).any():
        spans = None
    label = " ".join(dict.fromkeys(part for part in owner.split("\x1f") if part and "/" not in part))
    images = _Rows(strips, table["row"].to_numpy()[rows])
    return find_recordings(images, [label] * len(rows), table["number"].to_numpy()[rows].tolist(), spans)


def _tell_owners_apart(table: pd.DataFrame, owner_of: pd.Series) -> None:
    """Recordings found under different circumstances of one user and session get different names."""
    per_user = owner_of.groupby([table["user"], table["session"]])
    several = per_user.transform("nunique") > 1
    number = per_user.transform(lambda owners: pd.factorize(owners)[0] + 1)
    named = several.to_numpy(bool) & (table["recording"] != "").to_numpy(bool)
    names = [f"c{n:02d}-{r}" if k else r for k, n, r in zip(named, number, table["recording"], strict=True)]
    table["recording"] = names


def _overlap_guard(table: pd.DataFrame, width: int) -> int:
    """Windows to leave out so that those around share under 5 %, from the smallest usual shift of any user."""
    if START_COLUMN not in table or table[START_COLUMN].isna().all():
        return GUARD
    starts = pd.to_numeric(table[START_COLUMN])
    steps = starts.groupby([table["user"], table["recording"]]).diff()
    shift = steps[steps > 0].groupby(table["user"]).median().min()
    return GUARD if np.isnan(shift) else int(np.ceil(0.95 * width / shift)) - 1


def _split_lines(table: pd.DataFrame, settings: ImportSettings, width: int) -> list[str]:
    counts = table["split"].value_counts()
    roles = ", ".join(f"{role} {counts[role]}" for role in (*ROLES, UNUSED) if role in counts)
    drawn = table.assign(split=random_roles(table, settings.fractions, settings.seed))
    ours, random = leak_share(table, width=width), leak_share(drawn, width=width)
    return [f"roles: {roles}", f"leak share: {ours:.1%} of held-out windows; a random split would leak {random:.1%}"]


def _name_cut_parts(table: pd.DataFrame, lines: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Name the parts of recordings that were cut between roles, so that no group lies in two roles."""
    groups = table.groupby(["user", "session", "recording"])
    cut = groups["split"].transform("nunique") > 1
    number = len(table.loc[cut, ["user", "session", "recording"]].drop_duplicates())
    table.loc[cut, "recording"] = (table["recording"] + "-" + table["split"]).str.removeprefix("-")[cut]
    if number:
        unused = int((table.loc[cut, "split"] == UNUSED).sum())
        lines = [
            *lines,
            f"{number} recording(s) cut between roles, parts are named by role; {unused} windows between the parts are "
            "left unused, so that no two roles share signal",
        ]
    return table, lines


def check_blocks(table: pd.DataFrame, settings: ImportSettings) -> None:
    """Raise where blocks of numbers are asked for and a file has no number."""
    if (settings.session_length or settings.recording_length) and (table["number"] < 0).any():
        file = table.loc[table["number"] < 0, "file"].iloc[0]
        raise MdgenError(f"{file}: has no number in its name; --session-length and --recording-length need one")
