"""Splits: every user gets every role, no recording is shared, and the leak measure knows a leaky split."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from mdgen.data.dataset import ROLES, make_table
from mdgen.data.splits import DEFAULT_FRACTIONS, assign_roles, leak_share, parse_fractions, random_roles
from mdgen.errors import MdgenError


def table_of(sizes: list[int], users: int = 3, sessions: bool = False) -> pd.DataFrame:
    """Per user, recordings of the given numbers of windows, a quarter of 64 columns apart."""
    rows = [
        {"user": f"u{u}", "session": f"s{r}" if sessions else "", "recording": f"r{r}", "start_column": 16.0 * w}
        for u in range(users)
        for r, size in enumerate(sizes)
        for w in range(size)
    ]
    columns = pd.DataFrame(rows)
    return make_table(**{name: columns[name].tolist() for name in columns})


def test_default_fractions_are_the_four_roles_and_sum_to_one() -> None:
    assert tuple(DEFAULT_FRACTIONS) == ROLES
    assert sum(DEFAULT_FRACTIONS.values()) == pytest.approx(1)


@pytest.mark.parametrize("sessions", [False, True])
def test_whole_recordings_go_to_one_role_near_the_fractions(sessions: bool) -> None:
    table = table_of([14, 19, 15, 14, 20, 22, 20, 9], sessions=sessions)
    table["split"] = assign_roles(table, seed=3)
    assert (table.groupby(["user", "session", "recording"])["split"].nunique() == 1).all()
    shares = table.groupby("user")["split"].value_counts(normalize=True).unstack()
    assert (shares - pd.Series(DEFAULT_FRACTIONS)).abs().to_numpy().max() < 0.08
    assert leak_share(table) == leak_share(table, width=64) == 0


def test_recordings_of_one_session_stay_together_when_sessions_are_many() -> None:
    table = table_of([4] * 10)
    table["session"] = table["recording"].map(lambda r: f"day{int(r[1:]) // 2}")
    table["split"] = assign_roles(table)
    assert (table.groupby(["user", "session"])["split"].nunique() == 1).all()


def test_one_user_without_sessions_sends_all_users_back_to_recordings() -> None:
    table = table_of([3] * 8, users=2)
    table["session"] = np.where(table["user"] == "u0", table["recording"].str.replace("r", "day"), "")
    assert set(assign_roles(table)[table["user"] == "u1"]) == set(ROLES)


def test_equal_seed_gives_an_equal_split_and_another_seed_another() -> None:
    table = table_of([5] * 9)
    pd.testing.assert_series_equal(assign_roles(table, seed=1), assign_roles(table, seed=1))
    assert any((assign_roles(table, seed=1) != assign_roles(table, seed=s)).any() for s in range(2, 6))


def test_a_single_recording_is_cut_into_consecutive_parts_with_a_guard() -> None:
    table = table_of([60], users=2).sample(frac=1, random_state=0)
    table["split"] = assign_roles(table)
    for _, rows in table.sort_values("start_column").groupby("user"):
        order = rows["split"].tolist()
        runs = [order[0], *(b for a, b in pairwise(order) if a != b)]
        assert runs == ["train", "unused", "judge", "unused", "val", "unused", "test"]
        assert order.count("unused") == 9
    assert leak_share(table) == leak_share(table, width=64) == 0


def test_unknown_recordings_are_one_recording_in_row_order() -> None:
    table = make_table(user=["a"] * 40)
    table["split"] = assign_roles(table)
    assert set(table["split"]) == {*ROLES, "unused"}
    assert leak_share(table) == 0
    assert table["split"].iloc[0] == "train"
    assert table["split"].iloc[-1] == "test"


def test_with_two_recordings_only_the_longest_is_cut() -> None:
    table = table_of([10, 50], users=1)
    table["split"] = assign_roles(table)
    assert table.loc[table["recording"] == "r0", "split"].nunique() == 1
    assert set(table["split"]) == {*ROLES, "unused"}
    assert leak_share(table) == 0


def test_a_random_split_of_overlapping_windows_leaks_nearly_everything() -> None:
    table = table_of([20] * 7)
    table["split"] = random_roles(table, {"train": 0.8, "test": 0.2}, seed=0)
    assert leak_share(table) > 0.9
    assert leak_share(table, width=64) == leak_share(table)


def test_leak_counts_only_windows_that_share_columns_with_training() -> None:
    table = make_table(user="a", recording="r", split=["train", "test", "test", "test"])
    table["start_column"] = [0.0, 60.0, 64.0, 200.0]
    assert leak_share(table, width=64) == pytest.approx(1 / 3)
    assert leak_share(table, guard=1) == pytest.approx(1 / 3)
    assert leak_share(table.assign(user=["b", "a", "a", "a"]), width=64) == 0


def test_a_role_left_out_of_the_fractions_is_not_given() -> None:
    roles = assign_roles(table_of([6] * 5), {"train": 0.7, "test": 0.3})
    assert set(roles) == {"train", "test"}


def test_a_user_with_too_few_windows_is_named() -> None:
    table = pd.concat([table_of([30], users=1), make_table(user=["poor"] * 12)], ignore_index=True)
    with pytest.raises(MdgenError, match=r"'poor'.*12 windows.*needs 4 recordings or 13"):
        assign_roles(table)


@pytest.mark.parametrize("fractions", [{"train": 0.5}, {"train": 1.2, "test": -0.2}, {"train": 0.5, "exam": 0.5}])
def test_fractions_that_make_no_split_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(MdgenError, match="fractions"):
        assign_roles(table_of([5] * 5), fractions)
    with pytest.raises(MdgenError, match="fractions"):  # as an option: before anything is converted
        parse_fractions(",".join(f"{role}={share}" for role, share in fractions.items()))
