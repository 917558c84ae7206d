"""The comparison with other libraries' distances: equal numbers are found equal, others are not, failures are kept."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import judge_speed

NEEDED = {"torch-fidelity": "torch_fidelity", "torchmetrics": "torchmetrics", "pytorch-fid": "pytorch_fid"}


@pytest.mark.parametrize("measure", judge_speed.MEASURES)
def test_our_distances_are_those_of_the_libraries(measure) -> None:
    ours, others = judge_speed.MEASURES[measure]
    for name, other in others.items():
        library = name.split(" ")[0]
        pytest.importorskip(NEEDED.get(library, library), exc_type=(ImportError, RuntimeError))
        (row,) = judge_speed.compared(measure, ours, {name: other}, *judge_speed.feature_vectors(80, 6))
        if "error" not in row:  # a matrix square root that the installed scipy no longer offers
            assert row["largest_difference"] < 1e-6, row
            assert row["times_faster"] == pytest.approx(row["theirs_s"] / row["ours_s"])


def test_a_different_number_shows_and_a_failure_is_kept_with_its_message() -> None:
    vectors = judge_speed.feature_vectors(30, 5)

    def broken(real, synthetic):
        raise ValueError("singular")

    others = {"twice": lambda real, synthetic: [2.0, 1.0], "broken": broken}
    twice, failed = judge_speed.compared("anything", lambda real, synthetic: [1.0, 1.0], others, *vectors)
    assert twice["largest_difference"] == 0.5
    assert failed["error"] == "ValueError: singular"
    assert "singular" in judge_speed.line(failed)
