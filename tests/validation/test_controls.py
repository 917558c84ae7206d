"""The controls: what each is made of, that none of them shares more with real data than it says, and the self-check."""

import numpy as np
import pytest

from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from validation import controls as c
from validation.results import Gate, Summary

USERS = ("ID_1", "ID_2", "ID_10")


def recordings(per_role: int = 6, size: int = 16, seed: int = 0) -> SpectrogramSet:
    """Users who differ in the row and rate of one swinging ridge; each role is one recording, with axes."""
    rng = np.random.default_rng(seed)
    rows, images = [], []
    doppler, time = np.mgrid[:size, :size]
    for number, user in enumerate(USERS):
        for role in ROLES:
            for _ in range(per_role):
                ridge = 4 + 4 * number + np.sin(2 * np.pi * ((1 + number) * time / size + rng.uniform()))
                images.append(1.6 * np.exp(-((doppler - ridge) ** 2)) - 0.8 + 0.05 * rng.normal(size=(size, size)))
                rows.append((user, role))
    table = make_table(
        user=[user for user, _ in rows], session=[role for _, role in rows], split=[role for _, role in rows]
    )
    return SpectrogramSet(np.clip(images, -1, 1).astype(np.float32)[:, None], table.assign(duration_s=2.0), "real")


@pytest.fixture
def real() -> SpectrogramSet:
    return recordings()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_every_kind_of_control_is_built_and_holds_every_user(real):
    made = c.controls(real)
    assert {control.kind for control in made} == {c.CEILING, c.FLOOR, c.CHEATER}
    assert all(control.data.users == real.users for control in made)
    assert all(np.isfinite(control.data.images).all() and np.abs(control.data.images).max() <= 1 for control in made)
    assert [bool(control.must_fail) for control in made] == [control.kind != c.CEILING for control in made]


def test_equal_seeds_give_equal_controls(real):
    prints = [[control.data.fingerprint() for control in c.controls(real, seed)] for seed in (3, 3, 4)]
    assert prints[0] == prints[1] != prints[2]


def test_floors_never_hold_a_row_that_judges_or_generator_learned_from(real):
    learned = {image.tobytes() for image in real.role("train", "judge").images}
    for control in c.controls(real):
        if control.kind != c.CHEATER:
            assert not learned & {image.tobytes() for image in control.data.images}, control.name


def test_a_ceiling_needs_held_out_rows_of_every_user(real):
    lacking = real.select(((real.table["user"] != "ID_2") | (real.table["split"] != "val")).to_numpy())
    assert c.CEILING not in {control.kind for control in c.controls(lacking)}
    rebuilt = real.role("test")
    assert next(control.name for control in c.controls(lacking, 0, rebuilt)) == "reconstructions"


def test_a_control_tells_neither_session_nor_role_and_keeps_the_axes(real):
    data = c.as_synthetic(real.role("val"))
    assert set(data.table["split"]) == {""}
    assert set(data.table["session"]) == {"synthetic"}
    assert data.table["recording"].is_unique
    assert data.axes() == {"duration_s": 2.0}


def test_noise_matches_the_pixels_of_each_user_but_not_their_order(real, rng):
    noise = c.matched_noise(real, rng)
    for user in real.users:
        own, made = (d.images[(d.table["user"] == user).to_numpy()] for d in (real, noise))
        np.testing.assert_allclose(made.mean(axis=0), own.mean(axis=0), atol=0.5)
        assert abs(made.mean() - own.mean()) < 0.05


def test_shuffled_columns_keep_the_doppler_marginal_of_every_image(real, rng):
    shuffled = c.shuffled_columns(real, rng)
    assert not np.array_equal(shuffled.images, real.images)
    np.testing.assert_allclose(shuffled.images.mean(axis=-1), real.images.mean(axis=-1), rtol=1e-5, atol=1e-6)


def test_another_users_data_never_keeps_its_name(real):
    changed = c.other_user(real)
    assert changed.users == real.users
    assert (changed.table["user"] != real.table["user"]).all()


def test_shuffled_labels_keep_how_many_each_user_has(real, rng):
    changed = c.shuffled_labels(real, rng)
    assert changed.table["user"].value_counts().to_dict() == real.table["user"].value_counts().to_dict()
    assert (changed.table["user"] != real.table["user"]).any()


def test_user_means_leave_one_image_per_user(real):
    images = c.user_means(real).images
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(USERS)


def test_shifted_copies_are_rolled_and_never_left_in_place(real, rng):
    moved = c.shifted(real, rng, reach=3)
    for before, after in zip(real.images, moved.images, strict=True):
        assert not np.array_equal(before, after)
        assert any(np.array_equal(np.roll(before, s, axis=-1), after) for s in (-3, -2, -1, 1, 2, 3))


@pytest.mark.parametrize(
    ("must_fail", "failed", "right"),
    [
        ((), [], True),
        ((), ["texture"], False),
        (("memorisation",), ["memorisation", "texture"], True),
        (("memorisation",), ["texture"], False),
        (("memorisation",), [], False),
    ],
)
def test_a_judge_is_right_only_by_a_gate_that_was_meant(must_fail, failed, right):
    assert c.was_right(must_fail, failed) is right


def test_a_row_of_the_self_check_says_what_was_expected_and_what_came(real):
    control = c.Control("copies", c.CHEATER, c.as_synthetic(real.role("train")), ("memorisation",))
    summary = Summary([Gate("user_accuracy", "pass"), Gate("verification", "pass"), Gate("memorisation", "fail")])
    row = c.checked(control, summary)
    assert row["expected"] == "fail by memorisation"
    assert (row["obtained"], row["caught_by"], row["ok"]) == ("fail", "memorisation", True)
    assert c.checked(control, Summary([Gate("memorisation", "pass")]))["ok"] is False


def test_the_self_check_gives_roles_and_asks_the_wanted_users_alone(real, monkeypatch):
    from validation import run
    from validation.settings import ValidationSettings

    asked = []
    passed = type("Assessment", (), {"summary": Summary([Gate("memorisation", "pass")])})()
    monkeypatch.setattr(run, "assess_context", lambda context: asked.append(context.sets) or passed)
    bare = SpectrogramSet(real.images, make_table(user=real.table["user"].tolist()), "bare")
    c.self_check(bare, ValidationSettings(users=["ID_1", "ID_10"]).quick())
    assert len(asked) == 9
    assert all(sets.users == ["ID_1", "ID_10"] and set(sets.train.table["split"]) == {"train"} for sets in asked)


def test_the_self_check_trains_once_and_names_the_control_that_fools_it(real, monkeypatch):
    from validation import run
    from validation.settings import ValidationSettings

    shared = []

    def fooled(context):
        shared.append(context._made)
        copied = {image.tobytes() for image in context.sets.train.images}
        share = np.mean([image.tobytes() in copied for image in context.sets.synthetic.images])
        gates = [Gate("memorisation", "fail" if share else "pass"), Gate("user_accuracy", "pass")]
        return type("Assessment", (), {"summary": Summary(gates)})()

    monkeypatch.setattr(run, "assess_context", fooled)
    table = c.self_check(real, ValidationSettings().quick()).set_index("control")
    assert all(one is shared[0] for one in shared)
    assert bool(table.loc["training copies", "ok"])
    assert bool(table.loc["real data of role val", "ok"])
    assert not table.loc["training copies, shifted", "ok"]
    assert not table.loc["labels shuffled", "ok"]
