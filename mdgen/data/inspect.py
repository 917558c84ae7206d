"""What a data set holds, counted and checked: for a look before training, for reports, and for `mdgen.data.advice`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mdgen.data.dataset import AXIS_COLUMNS, ROLES, START_COLUMN, SpectrogramSet
from mdgen.data.duplicates import SharedSignal, find_shared_signal, native_side
from mdgen.data.recordings import common_course
from mdgen.data.splits import UNUSED, leak_share

#: Largest user over smallest beyond which classes are called unbalanced.
UNBALANCED = 3.0
#: Share of pixels at one end of the scale beyond which pictures are called clipped.
CLIPPED_LOW, CLIPPED_HIGH = 0.9, 0.05


def describe(data: SpectrogramSet) -> pd.DataFrame:
    """One row per user in natural order: windows of each role present ("" = no role yet), in all, and groups."""
    counts = pd.crosstab(data.table["user"], data.table["split"])
    order = [role for role in (*ROLES, UNUSED, "") if role in counts.columns]
    groups = data.groups.groupby(data.table["user"]).nunique()
    return counts[order].assign(windows=counts.sum(axis=1), groups=groups).loc[data.users].rename_axis(columns=None)


@dataclass(frozen=True)
class Fingerprint:
    """Everything about a data set that a plan depends on; plain numbers and text, ready for JSON.

    windows, users, channels, height, width; native_side: side beyond which pictures hold nothing finer. windows_least,
    windows_most: of a user. train_windows, train_least: in role train, in all and of the user with the fewest.
    independent: windows that would be left without overlap. sessions_least, recordings_least: known ones of a user.
    overlap: usual share of a window that the next one repeats, 0 where none is known. common_course: see
    `mdgen.data.recordings`. roles: those given. axes: those known. labels: further columns that differ. leak: share of
    held-out windows that share signal with training ones, by the table. identical, copies: pairs found. crossing:
    shared pairs between train and held-out roles.
    """

    name: str
    windows: int
    users: int
    channels: int
    height: int
    width: int
    native_side: int
    windows_least: int
    windows_most: int
    train_windows: int
    train_least: int
    independent: int
    sessions_least: int
    recordings_least: int
    overlap: float
    common_course: float
    roles: tuple[str, ...]
    axes: dict[str, float]
    labels: tuple[str, ...]
    leak: float
    identical: int
    copies: int
    crossing: int


@dataclass(frozen=True)
class Inspection:
    """counts: windows by user x session. levels: one row per user of value statistics. shared: windows that hold the
    same signal. warnings: what to mend, most serious first."""

    fingerprint: Fingerprint
    roles: pd.DataFrame
    counts: pd.DataFrame
    levels: pd.DataFrame
    shared: SharedSignal
    warnings: list[str]


def inspect(data: SpectrogramSet, seed: int = 0) -> Inspection:
    """Count and check `data`; some ten seconds for a few thousand windows."""
    shared, counts = find_shared_signal(data, seed), describe(data)
    levels = level_statistics(data)
    fingerprint = _fingerprint(data, counts, shared)
    return Inspection(
        fingerprint, counts, session_counts(data), levels, shared, _warnings(data, fingerprint, levels, shared)
    )


def session_counts(data: SpectrogramSet) -> pd.DataFrame:
    """Windows by user (index) and session; "unknown" where there is none."""
    session = data.table["session"].replace("", "unknown")
    counts = pd.crosstab(data.table["user"], session).loc[data.users]
    return counts[sorted(counts.columns)].rename_axis(columns=None)


def level_statistics(data: SpectrogramSet) -> pd.DataFrame:
    """By user: least, median and greatest level, mean peak of a window, shares of pixels at the floor and the top."""
    rows = {}
    for user in data.users:
        images = data.images[(data.table["user"] == user).to_numpy()]
        rows[user] = {
            "lowest": images.min(),
            "median": np.median(images),
            "highest": images.max(),
            "mean_peak": images.max(axis=(1, 2, 3)).mean(),
            "at_floor": (images <= -0.999).mean(),
            "at_top": (images >= 0.999).mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").astype(float).rename_axis("user")


def describe_lines(data: SpectrogramSet) -> list[str]:
    """In words: size, shape, what is known of recordings, and how much the split leaks."""
    n, channels, height, width = data.images.shape
    known = (data.table["recording"] != "") | (data.table["session"] != "")
    lines = [
        f"{data.name}: {n} windows of {len(data.users)} users, {height}x{width} with {channels} channel(s)",
        f"{data.groups.nunique()} groups (user, session, recording); {(~known).sum()} windows of unknown recording",
        f"start columns known for {_starts(data.table).notna().sum()} windows",
    ]
    if set(data.table["split"]) & set(ROLES[1:]):
        lines.append(f"leak share: {leak_share(data.table, width=width):.1%} of held-out windows")
    return lines


def _fingerprint(data: SpectrogramSet, counts: pd.DataFrame, shared: SharedSignal) -> Fingerprint:
    table = data.table
    n, channels, height, width = data.images.shape
    roles = tuple(role for role in ROLES if role in set(table["split"]))
    train = counts["train"] if "train" in counts else counts["windows"]
    known = set(table.columns) - {*AXIS_COLUMNS, "file", "user", "session", "recording", "split", START_COLUMN}
    independent = _independent(data)
    return Fingerprint(
        name=data.name,
        windows=n,
        users=len(counts),
        channels=channels,
        height=height,
        width=width,
        native_side=native_side(data.images[:: max(1, n // 200)]),
        windows_least=int(counts["windows"].min()),
        windows_most=int(counts["windows"].max()),
        train_windows=int(train.sum()),
        train_least=int(train.min()),
        independent=round(independent),
        sessions_least=_least_known(table, ["session"]),
        recordings_least=_least_known(table, ["session", "recording"]),
        overlap=_overlap(data),
        common_course=common_course(data),
        roles=roles,
        axes=data.axes(),
        labels=tuple(sorted(c for c in known if table[c].nunique() > 1 and not c.startswith(("true_", "native_")))),
        leak=leak_share(table, width=width) if len(roles) > 1 else 0.0,
        identical=shared.count(kind="identical"),
        copies=shared.count(kind="copy"),
        crossing=shared.count(other_role=True),
    )


def _starts(table: pd.DataFrame) -> pd.Series:
    return table[START_COLUMN] if START_COLUMN in table else pd.Series(np.nan, index=table.index)


def _steps(data: SpectrogramSet) -> pd.Series:
    """Columns from each window with a known start to the next one of its group that starts later."""
    starts = _starts(data.table).dropna().sort_values()
    steps = starts.groupby(data.groups[starts.index]).diff().dropna()
    return steps[steps > 0]


def _overlap(data: SpectrogramSet) -> float:
    steps, width = _steps(data), data.images.shape[-1]
    return float(max(0.0, 1 - steps.median() / width)) if len(steps) else 0.0


def _independent(data: SpectrogramSet) -> float:
    """Windows, each counted by the share of it that is new."""
    steps = _steps(data)
    return float(len(data) - (1 - (steps / data.images.shape[-1]).clip(upper=1)).sum())


def _least_known(table: pd.DataFrame, columns: list[str]) -> int:
    """How many different ones the user with the fewest has; 0 where some user's are not known."""
    text = table[columns[0]].str.cat([table[c] for c in columns[1:]], sep="\x1f")
    unknown = text.str.strip("\x1f") == ""
    return 0 if unknown.any() else int(text.groupby(table["user"]).nunique().min())


def _warnings(data: SpectrogramSet, facts: Fingerprint, levels: pd.DataFrame, shared: SharedSignal) -> list[str]:
    found = []
    strangers = shared.count(other_user=True)
    if strangers:
        worst = shared.pairs[shared.pairs["other_user"]].nlargest(1, "correlation").iloc[0]
        names = " and ".join(data.table["file"].iloc[[int(worst["first"]), int(worst["second"])]])
        found.append(
            f"{strangers} pairs of windows hold the same signal under two users, e.g. {names}: one is mislabelled"
        )
    if facts.crossing:
        found.append(
            f"{facts.crossing} pairs share signal between train and held-out roles: there a judge only remembers"
        )
    if facts.leak > 0:
        found.append(f"by the table {facts.leak:.0%} of held-out windows overlap training ones: split by recording")
    if facts.identical:
        found.append(f"identical pictures: {facts.identical} pair(s), remove one of each")
    across = shared.count(other_user=False, other_recording=True)
    if across:
        found.append(f"{across} pairs of windows of different recordings share signal: recordings may be cut in two")
    if facts.recordings_least == 0:
        found.append(
            "recordings are unknown for some windows: overlap cannot be ruled out, `mdgen import` looks for it"
        )
    elif facts.sessions_least < 2:
        what = "sessions are unknown" if facts.sessions_least == 0 else "some user has a single session"
        found.append(f"{what}: what tells users apart may be the day, not the gait")
    if facts.windows_most > UNBALANCED * facts.windows_least:
        found.append(f"users have {facts.windows_least} to {facts.windows_most} windows: rare ones are learned worse")
    missing = [role for role in facts.roles if (describe(data)[role] == 0).any()]
    if missing:
        found.append(f"some user has no window in role {', '.join(missing)}")
    if not facts.roles:
        found.append("no roles are given: `mdgen import` splits by recording")
    floors, tops = levels["at_floor"].mean(), levels["at_top"].mean()
    if floors > CLIPPED_LOW:
        found.append(f"{floors:.0%} of the pixels lie at the floor: the dynamic range cuts the limbs off")
    if tops > CLIPPED_HIGH:
        found.append(f"{tops:.0%} of the pixels lie at the top: the scale is saturated")
    if len(facts.axes) < len(AXIS_COLUMNS):
        found.append("physical axes are not given: motion is measured in rows and columns, not in m/s and s")
    if facts.native_side < min(facts.height, facts.width):
        found.append(f"pictures were blown up: {facts.native_side} pixels a side hold all there is")
    return found
