"""What a data set holds, counted: for a look before training, and for reports."""

from __future__ import annotations

import pandas as pd

from mdgen.data.dataset import ROLES, START_COLUMN, SpectrogramSet
from mdgen.data.splits import UNUSED, leak_share


def describe(data: SpectrogramSet) -> pd.DataFrame:
    """One row per user in natural order: windows of each role present ("" = no role yet), in all, and groups."""
    counts = pd.crosstab(data.table["user"], data.table["split"])
    order = [role for role in (*ROLES, UNUSED, "") if role in counts.columns]
    groups = data.groups.groupby(data.table["user"]).nunique()
    return counts[order].assign(windows=counts.sum(axis=1), groups=groups).loc[data.users].rename_axis(columns=None)


def describe_lines(data: SpectrogramSet) -> list[str]:
    """The same in words: size, shape, what is known of recordings, and how much the split leaks."""
    n, channels, height, width = data.images.shape
    known = (data.table["recording"] != "") | (data.table["session"] != "")
    lines = [
        f"{data.name}: {n} windows of {len(data.users)} users, {height}x{width} with {channels} channel(s)",
        f"{data.groups.nunique()} groups (user, session, recording); {(~known).sum()} windows of unknown recording",
        f"start columns known for {_known_starts(data.table)} windows",
    ]
    if set(data.table["split"]) & set(ROLES[1:]):
        lines.append(f"leak share: {leak_share(data.table, width=width):.1%} of held-out windows")
    return lines


def _known_starts(table: pd.DataFrame) -> int:
    return int(table[START_COLUMN].notna().sum()) if START_COLUMN in table else 0
