"""Near copies: found in every disguise, and never seen in honest windows."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from mdgen.data.dataset import START_COLUMN, SpectrogramSet, make_table
from validation.blocks.memorisation import assess_memorisation, closer_share
from validation.context import Context
from validation.measures.copies import closest_copies, copy_evidence, honest_scale
from validation.measures.identical import recordings
from validation.measures.neighbours import correlation_over_shifts, shares_signal, shifted_correlation
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

USERS = ("001", "=cmd()", "$y$")
SIDE = 32
FAST = ValidationSettings(bootstrap_draws=20, null_draws=10)


def recording(user: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """A swinging ridge of the user's rate and height with speckle, float32 [1, SIDE, length]."""
    doppler, time = np.mgrid[:SIDE, :length]
    height = 8 + 7 * user + rng.normal(0, 0.3)
    ridge = height + 3 * np.sin(2 * np.pi * (2 + 0.5 * user) * time / SIDE + rng.uniform(0, 2 * np.pi))
    envelope = np.exp(-((doppler - ridge) ** 2) / 12)
    speckle = gaussian_filter(rng.normal(size=doppler.shape), 0.8)
    return (1.3 * envelope * (1 + 0.9 * speckle / speckle.std()) - 0.9).clip(-1, 1)[None].astype(np.float32)


def walkers(roles: dict[str, int], seed: int = 0, hop: int = SIDE) -> SpectrogramSet:
    """Windows per user and role, cut every `hop` columns from recordings of four windows' worth of signal."""
    rng, rows, images = np.random.default_rng(seed), [], []
    for number, user in enumerate(USERS):
        for role, windows in roles.items():
            for part in range(windows * hop // (4 * SIDE)):
                signal = recording(number, 5 * SIDE, rng)
                for start in range(0, 4 * SIDE, hop):
                    images.append(signal[..., start : start + SIDE])
                    rows.append((user, f"{role}-day", f"r{part}", role, float(start)))
    user, session, name, split, start = zip(*rows, strict=True)
    table = make_table(user=user, session=session, recording=name, split=split, **{START_COLUMN: start})
    return SpectrogramSet(np.array(images), table, "walkers")


REAL = walkers({"train": 16, "judge": 8, "test": 8})
TRAIN = REAL.role("train")


def synthetic(data: SpectrogramSet) -> SpectrogramSet:
    """As a generator would hand it over: users alone."""
    return SpectrogramSet(data.images, make_table(user=data.table["user"].tolist()), "synthetic")


def fresh(seed: int = 5) -> SpectrogramSet:
    return synthetic(walkers({"train": 24}, seed))


def judged(made: SpectrogramSet, real: SpectrogramSet = REAL):
    return assess_memorisation(Context(prepare_sets(real, made), FAST))


def noised(images, sigma, seed=0):
    return (images + sigma * np.random.default_rng(seed).normal(size=images.shape)).clip(-1, 1)


def paired(images, join):
    """`join` of each image with another of the same user."""
    made = images.copy()
    for user in USERS:
        rows = np.flatnonzero(TRAIN.table["user"] == user)
        made[rows] = join(images[rows], images[np.roll(rows, 1)])
    return made


def half_of_each(a, b):
    return np.concatenate([a[..., : SIDE // 2], b[..., SIDE // 2 :]], axis=-1)


DISGUISES = {
    "none": lambda x: x,
    "shift": lambda x: np.roll(x, 7, axis=-1),
    "reversed in time": lambda x: x[..., ::-1],
    "noise": lambda x: noised(x, 0.1),
    "gain": lambda x: (x + 1) * 0.7 - 1,
    "raised floor": lambda x: np.maximum(x, -0.7),
    "gamma": lambda x: ((x + 1) / 2) ** 1.3 * 2 - 1,
    "blur": lambda x: gaussian_filter(x, (0, 0, 0.8, 0.8)),
    "all at once": lambda x: noised((np.roll(x, -5, axis=-1) + 1) * 0.8 - 1, 0.05),
    "splice": lambda x: paired(x, half_of_each),
    "mean of two": lambda x: paired(x, lambda a, b: (a + b) / 2),
}


def test_fresh_windows_pass():
    finding = judged(fresh())
    gate = finding.gates[0]
    assert gate.status == "pass"
    assert gate.floor > 0.95  # copies made for control are found
    assert finding.failed_users == []
    assert (finding.per_user["near_copy_share"] < 0.1).all()


@pytest.mark.parametrize("name", DISGUISES)
def test_training_images_are_found_in_disguise(name):
    gate = judged(synthetic(TRAIN.with_images(DISGUISES[name](TRAIN.images)))).gates[0]
    assert gate.status == "fail"
    assert gate.value > 0.5


def test_a_mixture_fails_and_a_copied_user_is_named():
    made = fresh()
    images, users = made.images.copy(), made.table["user"].to_numpy()
    victim = np.flatnonzero(users == USERS[1])[:16]
    images[victim] = np.roll(TRAIN.images[(TRAIN.table["user"] == USERS[1]).to_numpy()], 3, axis=-1)
    finding = judged(made.with_images(images))
    assert finding.gates[0].status == "fail"
    assert finding.failed_users == [USERS[1]]
    assert USERS[1] in finding.gates[0].note


@pytest.mark.parametrize("role", ["judge", "test"])
def test_recordings_of_other_roles_as_they_are_fail(role):
    made, others = fresh(), REAL.role(role)
    finding = judged(synthetic(others))
    gate = finding.gates[0]
    assert (gate.status, set(finding.failed_users)) == ("fail", set(USERS))
    assert f"100.0% of role {role}" in gate.note
    made.images[0] = others.images[5]  # one of 72
    one = judged(made)
    assert (one.gates[0].status, one.failed_users) == ("fail", [])
    assert f"1.4% of role {role}" in one.gates[0].note


def test_real_pictures_that_training_holds_as_well_or_that_are_empty_are_no_recordings_of_other_roles():
    images = REAL.images.copy()
    tried, learned = (np.flatnonzero(REAL.table["split"] == role) for role in ("test", "train"))
    images[tried[0]], images[tried[1]], images[tried[2]] = images[learned[0]], -1.0, images[tried[3]]
    real, made = REAL.with_images(images), fresh()
    made.images[:2] = images[tried[:2]]
    context = Context(prepare_sets(real, made), FAST)
    assert not np.any(list(recordings(context).values()))
    made.images[2] = images[tried[3]]
    assert recordings(context.judging(made))["test"].sum() == 1


def test_windows_that_overlap_in_the_training_set_do_not_hide_copies():
    real = walkers({"train": 48, "judge": 16, "test": 16}, hop=SIDE // 4)
    train = real.role("train")
    gate = judged(synthetic(train.with_images(noised(train.images, 0.1))), real).gates[0]
    assert gate.status == "fail"
    assert gate.ceiling < 0.05
    assert judged(fresh(), real).gates[0].status == "pass"


def test_duplicates_in_the_training_set_do_not_hide_copies():
    twins = np.flatnonzero(REAL.table["split"] == "train")[::8]
    again = REAL.select(twins)
    table = pd.concat([REAL.table, again.table.assign(recording="again")], ignore_index=True)
    real = SpectrogramSet(np.concatenate([REAL.images, again.images]), table, "with twins")
    assert judged(synthetic(TRAIN.with_images(noised(TRAIN.images, 0.1))), real).gates[0].value > 0.9
    assert judged(fresh(), real).gates[0].status == "pass"


def test_without_known_separation_a_pass_is_advisory_and_a_failure_stands():
    bare = SpectrogramSet(REAL.images, REAL.table.assign(split=REAL.table["split"].replace("judge", "val")), "no judge")
    assert judged(fresh(), bare).gates[0].status == "advisory"
    assert judged(synthetic(TRAIN), bare).gates[0].status == "fail"


def test_too_few_training_windows_make_it_unavailable():
    few = np.concatenate(
        [np.flatnonzero(REAL.table["split"] != "train"), np.flatnonzero(REAL.table["split"] == "train")[::8]]
    )
    gate = judged(fresh(), REAL.select(np.sort(few))).gates[0]
    assert gate.status == "unavailable"
    assert gate.note


def test_copies_of_a_user_with_few_training_windows_do_not_pass():
    own = (REAL.table["user"] == USERS[1]) & (REAL.table["split"] == "train")
    made, real = fresh(), REAL.select((~own | (own.cumsum() <= 2)).to_numpy())
    own = (made.table["user"] == USERS[1]).to_numpy()
    images = made.images.copy()
    images[own] = np.resize(real.role("train").of_users([USERS[1]]).images, images[own].shape)
    gate = judged(made.with_images(images), real).gates[0]
    assert gate.status == "inconclusive"
    assert f"not looked at: {USERS[1]}" in gate.note


def test_membership_shows_in_copies_and_hardly_in_fresh_windows():
    def auc(made):
        return next(m.value for m in judged(made).metrics if m.metric == "membership_auc")

    assert auc(synthetic(TRAIN)) > 0.95
    assert auc(fresh()) < 0.8


def test_chance_of_being_closer_is_one_half_for_equal_scores():
    scores = np.array([1.0, 2.0, 2.0, np.nan])
    assert closer_share(scores, scores) == 0.5
    assert closer_share(np.array([3.0, 4.0]), scores) == 1
    assert np.isnan(closer_share(np.array([np.nan]), scores))


def test_correlation_by_fourier_transform_equals_its_definition():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1, 6, 16)), rng.normal(size=(3, 1, 6, 16))
    shifts = np.arange(-5, 4)
    best, where = correlation_over_shifts(a, b, shifts, (0, 8))
    for i, query in enumerate(a):
        for j, reference in enumerate(b):
            every = []
            for s in shifts:
                low, high = max(0, s), min(8, 16 + s)
                every.append(
                    np.corrcoef(query[..., low:high].ravel(), reference[..., low - s : high - s].ravel())[0, 1]
                )
            assert best[i, j] == pytest.approx(max(every), abs=1e-5)
            assert where[i, j] == shifts[int(np.argmax(every))]


def test_a_shifted_copy_correlates_perfectly_and_a_flat_image_with_nothing():
    image = recording(0, SIDE, np.random.default_rng(0))[None]
    best, shift = shifted_correlation(np.roll(image, 5, axis=-1), image, SIDE)
    assert best[0, 0] == pytest.approx(1, abs=1e-4)
    assert shift[0, 0] == 5
    assert shifted_correlation(np.full_like(image, -1), image, SIDE)[0].max() < 1e-3


def test_windows_share_signal_by_start_column_or_by_position():
    table = make_table(user=["a"] * 5, recording=["r", "r", "r", "s", "s"])
    near = shares_signal(table, width=8)
    assert near[:3, :3].all()
    assert not near[:3, 3:].any()
    known = shares_signal(table.assign(**{START_COLUMN: [0.0, 4.0, 8.0, 0.0, 30.0]}), width=8)
    assert known[0].tolist() == [True, True, False, False, False]
    assert known.diagonal().all()


def test_evidence_is_closeness_and_the_lead_over_the_third():
    closeness = np.array([[0.9, 0.8, 0.5, 0.2], [0.9, -np.inf, -np.inf, 0.1]])
    evidence, nearest = copy_evidence(closeness, np.eye(4, dtype=bool))
    assert nearest.tolist() == [0, 0]
    assert evidence[0] == pytest.approx(2 * 0.9 - 0.5)
    assert np.isnan(evidence[1])
    twins = np.eye(4, dtype=bool)
    twins[0, 1] = twins[1, 0] = True
    assert copy_evidence(closeness[:1], twins)[0] == pytest.approx(2 * 0.9 - 0.2)


def test_a_window_is_no_copy_of_itself():
    scale = honest_scale(TRAIN, SIDE)
    closest = closest_copies(TRAIN, TRAIN, scale, SIDE, separate=True)
    assert (closest.index != np.arange(len(TRAIN))).all()
    assert closest.share_above(4.5) < 0.1
