"""The scaling benchmark's arithmetic and its data; the measurements themselves are its business."""

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import scaling

from mdgen.data.dataset import ROLES


def test_an_exponent_is_the_slope_between_logarithms() -> None:
    chosen = [p for p in scaling.POINTS if (p.part, p.axis) == ("validation", "samples")]
    rows = [asdict(p) | {"processor_s": 3.0 * p.samples**2, "peak_memory_gb": 1.5, "blocks_s": {}} for p in chosen]
    found = scaling.exponents(rows)
    assert found == {
        "validation: processor_s by samples": pytest.approx(2),
        "validation: peak_memory_gb by samples": pytest.approx(0),
    }
    assert scaling.exponents(rows[:1]) == {}


def test_every_point_has_every_user_in_every_role_and_differs_on_its_axis_alone() -> None:
    for point in scaling.POINTS:
        assert point.samples >= point.users * len(ROLES)
    for part, axis in {(p.part, p.axis) for p in scaling.POINTS}:
        chosen = [asdict(p) for p in scaling.POINTS if (p.part, p.axis) == (part, axis)]
        assert {name for name in chosen[0] if len({row[name] for row in chosen}) > 1} == {axis}
    data = scaling.ridges(scaling.Point("training", "users", 5, 45, 16), 0)
    assert data.images.shape == (45, 1, 16, 16)
    assert data.table.groupby("split")["user"].nunique().to_dict() == dict.fromkeys(ROLES, 5)
    assert abs(data.images).max() <= 1
