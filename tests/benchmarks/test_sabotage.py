"""The saboteurs do what their names say: a benchmark whose sabotage does nothing would call a blind judge fooled."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mdgen.data.simulator import simulate
from validation.controls import as_synthetic
from validation.networks.judge import Judge

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from domains import Honest
from sabotage import SABOTAGES, Material

COPIES = [s for s in SABOTAGES if s.name.startswith("copies")]


@pytest.fixture(scope="module")
def material() -> Material:
    data = simulate(users=3, sessions=6, windows=6, size=16)
    fresh = data.table["session"].isin(["s1", "s2"]).to_numpy()
    real = data.select(~fresh)
    roles = real.table["session"].map({"s3": "train", "s4": "judge", "s5": "val", "s6": "test"})
    real = replace(real, table=real.table.assign(split=roles))
    judge_rows = real.role("judge")
    judges = [Judge(0, steps=4).fit(judge_rows.images, judge_rows.table["user"].to_numpy())]
    return Material(real, as_synthetic(data.select(fresh)), 12.4, judges, np.random.default_rng(0), seed=0)


def again(material: Material) -> Material:
    return replace(material, rng=np.random.default_rng(3))


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda s: s.name)
def test_every_sabotage_changes_the_honest_set_and_keeps_the_contract(sabotage, material):
    made = sabotage.build(again(material))
    honest = material.honest
    assert made.images.dtype == np.float32
    assert made.images.shape[1:] == honest.images.shape[1:]
    assert np.isfinite(made.images).all()
    assert np.abs(made.images).max() <= 1
    assert set(made.users) <= set(honest.users)
    assert made.fingerprint() != honest.fingerprint()
    assert made.fingerprint() == sabotage.build(again(material)).fingerprint()


def test_names_are_unique_and_every_sabotage_names_the_gates_meant_for_it():
    assert len({s.name for s in SABOTAGES}) == len(SABOTAGES) >= 24
    assert all(s.gates and s.domains for s in SABOTAGES)


@pytest.mark.parametrize("sabotage", COPIES, ids=lambda s: s.name)
def test_copies_come_from_the_training_rows(sabotage, material):
    assert len(sabotage.build(again(material))) == len(material.real.role("train"))


@pytest.mark.parametrize("name", [s.name for s in SABOTAGES if "one user" in s.name and "missing" not in s.name])
def test_a_sabotage_of_one_user_leaves_the_others_alone(name, material):
    made = next(s for s in SABOTAGES if s.name == name).build(again(material))
    changed = (made.images != material.honest.images).any(axis=(1, 2, 3))
    assert material.honest.table["user"][changed].nunique() == 1


def test_a_judge_takes_other_peoples_adversarial_pictures_for_the_user(material):
    made = next(s for s in SABOTAGES if "adversarial" in s.name).build(again(material))
    judge = material.judges[0]
    honest = (judge.predict(material.honest.images) == material.honest.table["user"]).mean()
    assert (judge.predict(made.images) == made.table["user"]).mean() > honest


def test_honest_draws_are_untouched_rows_without_their_session(material):
    drawn = Honest("few", 4).draw(material.honest)
    assert drawn.table["user"].value_counts().to_dict() == dict.fromkeys(material.honest.users, 4)
    assert set(drawn.table["session"]) == {"synthetic"}
    originals = {image.tobytes() for image in material.honest.images}
    assert all(image.tobytes() in originals for image in drawn.images)
