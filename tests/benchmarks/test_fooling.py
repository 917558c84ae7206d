"""The fooling benchmark's own bookkeeping: enough sets of each kind, and a page that hides no miss."""

import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import fooling
from sabotage import DOMAINS, SABOTAGES

OPTIONS = Namespace(gait=Path("gait"), gestures=Path("gestures"), domains=list(DOMAINS), settings="quick", seed=0)


def row(**changes) -> dict[str, object]:
    made = {"domain": "walkers", "case": "walkers, seed 0", "set": "blurred", "kind": fooling.SABOTAGED, "images": 9}
    made |= {
        "meant": ["texture"],
        "verdict": "fail",
        "failed": ["texture", "fidelity"],
        "ok": True,
        "judge": fooling.judge_version(),
    }
    made |= {"judge": fooling.judge_version(), "seconds": 1.0}
    return made | changes


def test_there_are_ten_honest_sets_and_twenty_sabotages_in_every_domain():
    plans = fooling.plans(OPTIONS)
    assert sum(len(plan.honest) for plan in plans) >= 10
    for domain in DOMAINS:
        assert sum(domain in sabotage.domains for sabotage in SABOTAGES) >= 20
        assert [plan.sabotaged for plan in plans if plan.domain == domain].count(True) == 1


def test_a_domain_without_data_is_left_out():
    plans = fooling.plans(Namespace(**{**vars(OPTIONS), "gait": None, "gestures": None}))
    assert {plan.domain for plan in plans} == {"walkers"}


@pytest.mark.parametrize(
    ("failed", "ok", "cell"),
    [
        (["texture", "fidelity"], True, "**texture**, fidelity"),
        (["fidelity"], False, "other gates only: fidelity"),
        ([], False, "MISSED"),
    ],
)
def test_a_cell_shows_which_gate_was_meant_and_what_was_missed(failed, ok, cell):
    assert fooling._cell(["texture"], failed, ok) == cell


def test_the_page_counts_misses_and_wrong_failures():
    rows = [row(), row(domain="gait", ok=False, failed=[]), row(set="fresh", kind=fooling.HONEST, meant=[], ok=False)]
    page = fooling.document(pd.DataFrame(rows), OPTIONS)
    assert (
        "**1 of 2 sabotaged sets are caught by a gate meant for them, 0 by other gates only, 1 by none; 0 of 1" in page
    )
    assert "| blurred | **texture**, fidelity | MISSED |  |" in page


def test_what_is_stored_is_found_again(tmp_path):
    options = Namespace(**vars(OPTIONS), result=tmp_path / "fooling.json")
    rows = [row(), row(set="16 levels")]
    fooling._store(rows, options)
    assert fooling._stored(options) == rows
    options.seed = 1
    with pytest.raises(SystemExit, match="other settings"):
        fooling._stored(options)


def test_a_set_judged_again_keeps_its_place():
    rows = [row(), row(set="16 levels")]
    assert fooling.replaced(rows, row(failed=[])) == [row(failed=[]), rows[1]]
    assert fooling.replaced(rows, row(set="JPEG")) == [*rows, row(set="JPEG")]


def test_the_page_says_how_many_sets_an_earlier_judge_has_seen():
    rows = [row(), row(set="16 levels", judge="earlier")]
    assert "1 of the 2 sets were judged by an earlier version" in fooling.document(pd.DataFrame(rows), OPTIONS)
    assert "earlier" not in fooling.document(pd.DataFrame(rows[:1]), OPTIONS)


def test_a_gate_that_fails_honest_data_catches_nothing_there():
    cries = row(set="fresh", kind=fooling.HONEST, meant=[], failed=["texture"])
    blind = row(failed=["texture"])
    elsewhere = row(case="gait, split 0", failed=["texture"])
    assert [r["ok"] for r in fooling.counted([cries, blind, elsewhere])] == [False, False, True]
    calm = cries | {"failed": []}
    assert [r["ok"] for r in fooling.counted([calm, blind])] == [True, True]
