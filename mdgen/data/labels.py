"""What is known of a spectrogram beside its user: recording style, activity, view. As numbers, for a model.

A *style* is what one recording shares: level, clutter, clothing, mood of the day. Every recording of the training set
is one, named `user/session/recording`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.errors import MdgenError

STYLE, CAPTION = "style", "caption"
#: What may be wished of a label beside one of its values.
WISHES = ("own", "others", "random", "none")


@dataclass(frozen=True)
class LabelMap:
    """Further labels and their values, in order; the position of a value is its id.

    recorded: of each label, for every user (in the order of their ids) the ids of the values seen with that user.
    """

    values: dict[str, list[str]]
    recorded: dict[str, list[list[int]]]

    @classmethod
    def of(cls, table: pd.DataFrame, users: Sequence[str], names: Sequence[str]) -> LabelMap:
        """The values of these labels in a data set's table; raises `MdgenError` where one has fewer than two."""
        values, recorded = {}, {}
        for name in names:
            column = label_column(table, name)
            values[name] = natsorted(set(column) - {""})
            if len(values[name]) < 2:
                raise MdgenError(
                    f"conditioning by {name} needs two values or more, the training rows have {len(values[name])}: "
                    + ("import the data with recordings" if name == STYLE else f"fill the manifest's column {name!r}")
                )
            index = {value: i for i, value in enumerate(values[name])}
            seen = {user: sorted({index[v] for v in group if v}) for user, group in column.groupby(table["user"])}
            recorded[name] = [seen.get(user, []) for user in users]
        return cls(values, recorded)

    def extended(self, table: pd.DataFrame, users: Sequence[str]) -> LabelMap:
        """With the values of further rows added behind those known, which keep their ids; users as they are then."""
        values = {name: [*known, *self._new(table, name, known)] for name, known in self.values.items()}
        recorded = {}
        for name, known in values.items():
            column = label_column(table, name)
            before = [set(ids) for ids in self.recorded[name]]
            recorded[name] = [
                sorted((before[i] if i < len(before) else set()) | {known.index(v) for v in set(column[rows]) if v})
                for i, rows in enumerate((table["user"] == user).to_numpy() for user in users)
            ]
        return LabelMap(values, recorded)

    def ids(self, table: pd.DataFrame) -> np.ndarray:
        """int64 [N, labels]: of every row; a value that is empty or not known has the null id, their number."""
        columns = [
            label_column(table, name).map({v: i for i, v in enumerate(known)}).fillna(len(known)).to_numpy(np.int64)
            for name, known in self.values.items()
        ]
        return np.stack(columns, axis=1) if columns else np.empty((len(table), 0), np.int64)

    @staticmethod
    def _new(table: pd.DataFrame, name: str, known: Sequence[str]) -> list[str]:
        return natsorted(set(label_column(table, name)) - {"", *known})


def known_users(wanted: Sequence[str] | None, known: Sequence[str], name: str) -> list[str]:
    """`wanted`, each once and in their order, or all known where none are; raises `MdgenError` for users not `known`.

    name: what knows them, for the error.
    """
    unknown = [user for user in wanted or () if user not in known]
    if unknown:
        raise MdgenError(f"{name}: no user {unknown[:5]}; there are {', '.join(known[:12])}")
    return list(dict.fromkeys(wanted or known))


def parse_labels(options: Sequence[str]) -> dict[str, str]:
    """`style=others` and the like, as a mapping."""
    wishes = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals and value):
            raise MdgenError(f"--label {option}: needs the form name=value, such as style=others")
        wishes[name] = value
    return wishes


def label_column(table: pd.DataFrame, name: str) -> pd.Series:
    """Text [N] of a label, "" where it is unknown; raises `MdgenError` where the table has no such column."""
    if name == STYLE:
        named = table["user"].str.cat([table["session"], table["recording"]], sep="/")
        return named.where((table["recording"] != "") | (table["session"] != ""), "")
    if name not in table.columns:
        raise MdgenError(f"conditioning.labels: the data set has no column {name!r}; it has {', '.join(table.columns)}")
    return table[name].fillna("").astype(str)


def chosen_ids(
    labels: LabelMap, wishes: Mapping[str, str], users: Sequence[int], draws: Sequence[np.random.Generator]
) -> np.ndarray:
    """int64 [N, labels]: values for samples of these user ids, by what is wished of each label.

    A wish is `own` (one recorded with that user), `others` (one not recorded with them), `random` (any), `none`, or a
    value's name. Default: `random` for style, `own` for the rest. draws: one generator a sample, for the choice.
    """
    known = labels.values
    unknown = sorted(set(wishes) - set(known))
    if unknown:
        raise MdgenError(f"label {unknown[0]!r}: this run was not trained with it; it has {', '.join(known) or 'none'}")
    ids = np.empty((len(users), len(known)), np.int64)
    for column, (name, values) in enumerate(known.items()):
        wish = wishes.get(name, "random" if name == STYLE else "own")
        for row, (user, draw) in enumerate(zip(users, draws, strict=True)):
            choice = _candidates(name, wish, values, set(labels.recorded[name][user]))
            ids[row, column] = choice[draw.integers(len(choice))]
    return ids


def _candidates(name: str, wish: str, values: Sequence[str], own: set[int]) -> list[int]:
    null = len(values)
    if wish in values:
        return [list(values).index(wish)]
    groups = {"own": sorted(own), "others": sorted({*range(null)} - own), "random": list(range(null)), "none": [null]}
    if wish not in groups:
        raise MdgenError(
            f"{name}={wish}: no such value; give own, others, random, none, or one of {', '.join(list(values)[:8])}"
        )
    return groups[wish] or [null]
