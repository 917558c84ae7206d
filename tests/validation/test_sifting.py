"""Sifting: bad images go, good ones stay about as often as real ones pass, and no judge meets its own data."""

import numpy as np
import pytest

from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from mdgen.errors import MdgenError
from validation.settings import ValidationSettings
from validation.sifting import REAL_PASS_RATE, sift, split_judge_rows

USERS = ("ID_1", "ID_2", "ID_10")
FAST = ValidationSettings(judge_seeds=1, judge_steps=40)


def recordings(roles=ROLES, sessions: int = 2, windows: int = 8, size: int = 16, seed: int = 0) -> SpectrogramSet:
    """Users who differ in the row of one swinging ridge; every role has `sessions` sessions of its own."""
    rng = np.random.default_rng(seed)
    doppler, time = np.mgrid[:size, :size]
    rows = [(u, r, s) for u in range(len(USERS)) for r in roles for s in range(sessions) for _ in range(windows)]
    ridges = [4 + 4 * u + np.sin(2 * np.pi * (2 * time / size + rng.uniform())) for u, _, _ in rows]
    images = [1.6 * np.exp(-((doppler - r) ** 2)) - 0.8 + 0.1 * rng.normal(size=r.shape) for r in ridges]
    table = make_table(
        user=[USERS[u] for u, _, _ in rows],
        session=[f"{role}-{s}" for _, role, s in rows],
        split=[role for _, role, _ in rows],
    )
    return SpectrogramSet(np.clip(images, -1, 1).astype(np.float32)[:, None], table, "real")


@pytest.fixture(scope="module")
def real() -> SpectrogramSet:
    return recordings()


@pytest.fixture(scope="module")
def synthetic() -> SpectrogramSet:
    """24 images per user; of ID_2 half show nothing but noise."""
    data = recordings(("train",), sessions=3, seed=5)
    spoilt = np.flatnonzero(data.table["user"] == "ID_2")[::2]
    images = data.images.copy()
    images[spoilt] = np.random.default_rng(1).normal(-0.8, 0.1, images[spoilt].shape)
    return data.with_images(images.clip(-1, 1))


def test_the_sifting_judge_and_the_later_judges_share_no_session(real):
    sifting, remaining = split_judge_rows(real, seed=0)
    later = remaining.role("judge")
    assert not set(sifting.groups) & set(later.groups)
    assert sifting.users == later.users == real.users
    assert len(sifting) + len(later) == len(real.role("judge"))
    for role in ("train", "val", "test"):
        assert remaining.role(role).fingerprint() == real.role(role).fingerprint()


def test_a_single_recording_is_cut_with_a_guard_between_the_halves(real):
    one = SpectrogramSet(real.images, real.table.assign(session=real.table["split"]), "one")
    sifting, remaining = split_judge_rows(one, seed=0)
    assert len(one.role("judge")) - len(sifting) - len(remaining.role("judge")) == 3 * len(USERS)


def test_noise_is_sifted_out_and_good_images_mostly_stay(real, synthetic):
    sifted = sift(real, synthetic, FAST)
    share = sifted.yields["yield"]
    assert share["ID_2"] <= 0.5
    assert share[["ID_1", "ID_10"]].min() > 0.6
    assert sifted.yields["kept"].sum() == len(sifted.kept)
    assert (sifted.yields["real_pass_rate"] >= REAL_PASS_RATE - 0.1).all()
    assert "of the real images that set the thresholds" in sifted.notes[0]
    assert "ID_2" in sifted.notes[1].split("(")[0]


def test_what_a_block_calls_implausible_goes_whatever_the_judge_says(real, synthetic):
    rows = np.flatnonzero(synthetic.table["user"] == "ID_1")
    sifted = sift(real, synthetic, FAST, implausible={int(row): "no human walk" for row in rows})
    assert "ID_1" not in sifted.kept.users
    assert sifted.yields.loc["ID_1", "implausible"] == len(rows)
    assert "nothing of ID_1" in sifted.notes[1]


def test_the_kernel_distance_before_and_after_is_stated(real, synthetic):
    note = next(note for note in sift(real, synthetic, FAST).notes if "kernel distance" in note)
    assert "before" in note
    assert "after" in note
    assert "moved the set away" not in note


def test_without_rows_for_it_sifting_is_refused_in_words(real, synthetic):
    with pytest.raises(MdgenError, match="role judge"):
        sift(real.role("train", "val", "test"), synthetic, FAST)
    with pytest.raises(MdgenError, match="role val"):
        sift(real.role("train", "judge", "test"), synthetic, FAST)
    with pytest.raises(MdgenError, match="leaves nothing"):
        sift(real, synthetic, FAST, implausible=dict.fromkeys(range(len(synthetic)), "no"))
