"""Who may see what: the real rows by role, the synthetic rows, and how far their separation can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import known_users
from mdgen.data.splits import assign_roles, leak_share
from mdgen.errors import MdgenError

#: Synthetic images of a user below which the user cannot be judged alone: two or three windows may look like one.
ENOUGH_IMAGES = 10


@dataclass(frozen=True)
class Sets:
    """Checked input of a validation.

    users: the synthetic users that can be judged (they have real rows of roles train, judge and test).
    unjudged: the others, and users that the generator learned from who have neither a synthetic image nor such rows.
    missing: users that have such rows, but no synthetic image.
    advisory: why judge and generator are not proven to be apart, "" where they are.
    """

    real: SpectrogramSet
    synthetic: SpectrogramSet
    users: list[str]
    unjudged: list[str]
    missing: list[str]
    advisory: str
    warnings: list[str]

    @property
    def train(self) -> SpectrogramSet:
        """What the generator learned from, of the judged users."""
        return self._judged("train")

    @property
    def judge(self) -> SpectrogramSet:
        """What judges, embedding and encoders learn from: role judge, or train where there is no such role."""
        return self.real.role(judges_role(self.real.table["split"]))

    @property
    def judge_apart(self) -> bool:
        """Whether there is a role judge, so that judges have seen nothing of role train."""
        return judges_role(self.real.table["split"]) == "judge"

    @property
    def val(self) -> SpectrogramSet:
        """Real rows of the judged users for thresholds and choices; may be empty."""
        return self._judged("val")

    @property
    def test(self) -> SpectrogramSet:
        """Held-out real rows of the judged users."""
        return self._judged("test")

    @property
    def unseen(self) -> dict[str, SpectrogramSet]:
        """By role (those that have any), the real rows of the judged users that judges have not learned from."""
        roles = {"test": self.test, "val": self.val} | ({"train": self.train} if self.judge_apart else {})
        return {role: rows for role, rows in roles.items() if len(rows)}

    def with_synthetic(self, synthetic: SpectrogramSet) -> Sets:
        """The same real rows beside another synthetic set. Raises `MdgenError` where they do not fit."""
        return _match(self.real, synthetic, self.warnings, self.advisory)

    def _judged(self, role: str) -> SpectrogramSet:
        return self.real.role(role).of_users(self.users)


def prepare_sets(real: SpectrogramSet, synthetic: SpectrogramSet, seed: int = 0, users: Sequence[str] = ()) -> Sets:
    """Check both sets against each other and give roles where there are none; `users`, if any, are judged alone.

    Raises `MdgenError`.
    """
    if users:
        real, synthetic = (data.of_users(known_users(users, data.users, data.name)) for data in (real, synthetic))
    real, warnings, advisory = _with_roles(real, seed)
    doubts, cut = check_roles(real)
    without = "" if len(real.role("judge")) else "no rows of role judge: the judges share data with the generator"
    advisory = "; ".join(filter(None, [advisory, without, *doubts]))
    return _match(real, synthetic, [*warnings, *cut, *([advisory] if advisory else [])], advisory)


def _match(real: SpectrogramSet, synthetic: SpectrogramSet, warnings: list[str], advisory: str) -> Sets:
    _check_match(real, synthetic)
    needed = (judges_role(real.table["split"]), "train", "test")
    known = set.intersection(*(set(real.role(role).table["user"]) for role in needed))
    users = [u for u in synthetic.users if u in known]
    unjudged = [u for u in dict.fromkeys([*synthetic.users, *real.role("train").users]) if u not in known]
    missing = [u for u in real.role("train").users if u in known and u not in set(synthetic.users)]
    if unjudged:
        warnings = [
            *warnings,
            f"not judged, for want of real rows of roles train, judge, test: {', '.join(unjudged)}",
        ]
    if len(users) < 2:
        raise MdgenError(
            f"{real.name}: fewer than two synthetic users have real rows of roles train, judge and test; add some"
        )
    judged = synthetic.of_users(users)
    return Sets(real, judged, users, unjudged, missing, advisory, warnings)


def check_roles(real: SpectrogramSet) -> tuple[list[str], list[str]]:
    """Why roles are not proven apart, and warnings of those that hold separate parts of the same recordings.

    Where these are train and judge, they are not proven apart. Raises `MdgenError` where a known recording is in both
    of them and its windows share signal.
    """
    doubts, warnings, anywhere = list[str](), list[str](), False
    for pair in combinations(("train", "judge", "test", "val"), 2):
        shared, leaking, unknown = shared_groups(real, *pair)
        if leaking:
            user, session, recording = leaking[0].split("\x1f")
            where = f"user {user!r} session {session!r} recording {recording!r} is in both roles {' and '.join(pair)}"
            if pair == ("train", "judge"):
                raise MdgenError(
                    f"{real.name}: {where}, so the judge would know the generator's data; give whole recordings to one "
                    "role (`mdgen import` does)"
                )
            doubts.append(f"{where}, and windows of it share signal")
        elif shared:
            parts = f"roles {' and '.join(pair)} hold separate parts of the same recordings ({len(shared)} of them)"
            (doubts if pair == ("train", "judge") else warnings).append(parts)
        anywhere |= unknown
    if anywhere:
        doubts.append("sessions and recordings are unknown: roles may share recordings")
    return doubts, warnings


def shared_groups(real: SpectrogramSet, one: str, other: str) -> tuple[list[str], list[str], bool]:
    """Recordings (`SpectrogramSet.groups`) with rows in both roles, those of them with windows that share signal, and
    whether rows of unknown session and recording of a user are in both."""
    roles = real.table["split"].map({one: "train", other: "test"}).fillna("unused")  # what `leak_share` looks at
    groups = real.groups
    both = sorted(set(groups[roles == "train"]) & set(groups[roles == "test"]))
    known = [group for group in both if not group.endswith("\x1f\x1f")]
    table, width = real.table.assign(split=roles), real.images.shape[-1]
    leaking = [group for group in known if leak_share(table[groups == group], width=width) > 0]
    return known, leaking, len(known) < len(both)


def _check_match(real: SpectrogramSet, synthetic: SpectrogramSet) -> None:
    if not len(synthetic):
        raise MdgenError(f"{synthetic.name}: holds no images; nothing to validate")
    if "synthetic" in real.table and (real.table["synthetic"] == "yes").any():
        raise MdgenError(f"{real.name}: holds synthetic images, as its manifest says; give recordings as the real set")
    if real.images.shape[1:] != synthetic.images.shape[1:]:
        raise MdgenError(
            f"{synthetic.name}: images are {_size(synthetic)} but {real.name} has {_size(real)}; "
            "generate from a model trained on this data set"
        )
    strangers = [u for u in synthetic.users if u not in set(real.users)]
    if strangers:
        raise MdgenError(f"{synthetic.name}: users {strangers[:5]} are not in {real.name}; names must match exactly")
    for data in (real, synthetic):
        if not np.isfinite(data.images).all():
            raise MdgenError(f"{data.name}: holds NaN or infinite values; repair or remove those images")


def _with_roles(real: SpectrogramSet, seed: int) -> tuple[SpectrogramSet, list[str], str]:
    split = real.table["split"]
    if (split == "").all():
        real = replace(real, table=real.table.assign(split=assign_roles(real.table, seed=seed)))
        note = f"roles were missing and were made here (seed {seed}): the generator may have seen any of these rows"
        return real, [], note
    for role in ("train", "test"):
        if not (split == role).any():
            raise MdgenError(
                f"{real.name}: has no rows of role {role}; the report needs them (`mdgen import` gives roles)"
            )
    unsorted = int((split == "").sum())
    return real, [f"{unsorted} real rows without a role were left out"] if unsorted else [], ""


def _size(data: SpectrogramSet) -> str:
    channels, height, width = data.images.shape[1:]
    return f"{width}x{height} with {channels} channel(s)"


def judges_role(split: pd.Series | np.ndarray) -> str:
    """The role of `split` [N] that judges learn from: judge, or train where no row has it."""
    return "judge" if np.any(split == "judge") else "train"


def session_units(table: pd.DataFrame) -> np.ndarray:
    """What counts as one session of a row, text [N]: sessions where all users have two, else recordings, else roles."""
    recording = table["session"] + "\x1f" + table["recording"]
    for unit in (table["session"], recording, table["split"]):
        if (unit.groupby(table["user"]).nunique() >= 2).all():
            return unit.to_numpy(str)
    return np.full(len(table), "")
