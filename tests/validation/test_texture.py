"""Fine detail of one user: named where it is lost, unless that user's real sessions vary as much."""

import numpy as np
import pandas as pd
import pytest

from validation.blocks.texture import failing_users
from validation.rules import shipped_rules

RULE = shipped_rules()["texture"]


def energies(by_session: dict[str, list[float]], role: str = "train", each: int = 20) -> pd.DataFrame:
    """`each` images a session with these fine energies, the same along both axes."""
    rows = [
        {"time": value, "doppler": value, "user": user, "unit": f"{role}{number}", "role": role}
        for user, values in by_session.items()
        for number, value in enumerate(values)
        for _ in range(each)
    ]
    return pd.DataFrame(rows)


REAL = energies({"a": [1.0, 1.05], "b": [2.0, 1.9]})


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ({"a": [1.0], "b": [2.0]}, []),
        ({"a": [0.8], "b": [2.4]}, []),
        ({"a": [0.6], "b": [2.0]}, ["a"]),
        ({"a": [1.0], "b": [3.0]}, ["b"]),
        ({"a": [2.0], "b": [1.0]}, ["a", "b"]),
    ],
)
def test_a_user_without_fine_detail_is_named(made, named):
    assert sorted(failing_users(energies(made), REAL, RULE)) == named


def test_what_real_sessions_reach_is_no_fault():
    varied = energies({"a": [1.0, 0.4], "b": [2.0, 1.9]})
    assert failing_users(energies({"a": [0.5], "b": [1.1]}), varied, RULE) == {}
    assert "b" in failing_users(energies({"a": [0.5], "b": [0.4]}), varied, RULE)


def test_a_few_images_say_nothing():
    assert failing_users(energies({"a": [0.1]}, each=5), REAL, RULE) == {}
    outlier = pd.concat([REAL, energies({"a": [0.01]}, "test", each=2)], ignore_index=True)
    assert list(failing_users(energies({"a": [0.5]}), outlier, RULE)) == ["a"]


def test_the_reason_names_the_axis():
    made = energies({"a": [1.0], "b": [2.0]})
    made.loc[made["user"] == "a", "doppler"] = 0.5
    reason = failing_users(made, REAL, RULE)["a"]
    assert "doppler" in reason
    assert np.isclose(float(reason.split()[0]), 0.5 / REAL[REAL["user"] == "a"]["doppler"].mean(), atol=0.01)
