"""Fidelity and conditioning on made-up walkers: honest draws pass, faults are caught, and by name."""

from dataclasses import replace

import numpy as np
import pytest

from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from validation import context as context_module
from validation.blocks.conditioning import assess_conditioning, cross
from validation.blocks.fidelity import assess_fidelity
from validation.context import Context
from validation.measures.feature_sets import balanced, feature_sets, sampled
from validation.measures.real_distances import session_distances
from validation.networks.encoders import Encoder, EncoderUnavailable, pixel_levels
from validation.results import FAIL, INCONCLUSIVE, PASS, UNAVAILABLE
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

USERS = ("ann", "ben", "cem", "dee", "eve")
SETTINGS = ValidationSettings(
    judge_seeds=1,
    judge_steps=60,
    encoders=("judge", "pixels_pca64", "gait_profile", "pca_residual", "pixel_levels"),
    bootstrap_draws=40,
    null_draws=20,
)


def walkers(sessions: dict[str, int], windows: int = 8, size: int = 32, seed: int = 0) -> SpectrogramSet:
    """Swinging noisy ridges; row, swing and rate are the user's, each session shifts them a little.

    sessions: how many of each role.
    """
    rng = np.random.default_rng(seed)
    doppler, time = np.mgrid[:size, :size]
    rows, images = [], []
    for number, user in enumerate(USERS):
        for role, count in sessions.items():
            for session in range(count):
                row, swing = 6 + 4.5 * number + rng.normal(0, 0.4), 2 + 0.5 * number + rng.normal(0, 0.15)
                for _ in range(windows):
                    phase = rng.uniform(0, 2 * np.pi)
                    ridge = row + swing * np.sin(2 * np.pi * (2 + number / 2) * time / size + phase)
                    image = 1.6 * np.exp(-((doppler - ridge) ** 2) / 3) - 0.8 + 0.12 * rng.normal(size=(size, size))
                    images.append(image.clip(-1, 1))
                    rows.append((user, f"{role}{session}", role))
    user, session, split = zip(*rows, strict=True)
    return SpectrogramSet(np.array(images, np.float32)[:, None], make_table(user=user, session=session, split=split))


def fresh(seed: int = 9) -> SpectrogramSet:
    return walkers({"train": 3}, seed=seed)


@pytest.fixture(scope="module")
def base() -> Context:
    return Context(prepare_sets(walkers(dict.fromkeys(ROLES, 2)), fresh()), SETTINGS)


def altered(change) -> SpectrogramSet:
    made = fresh()
    return made.with_images(np.clip(change(made.images, made.table["user"].to_numpy()), -1, 1))


def of_user(name, change):
    def apply(images, users):
        images = images.copy()
        images[users == name] = change(images[users == name])
        return images

    return altered(apply)


def relabelled(names: dict[str, str]) -> SpectrogramSet:
    made = fresh()
    return replace(made, table=made.table.assign(user=made.table["user"].replace(names)))


def watermarked(images, users):
    images = images.copy()
    images[..., 1:5, 1:5] = 0.6
    return images


RNG = np.random.default_rng(0)
FAULTS = {
    "blur": lambda x, _: (x + np.roll(x, 1, -1) + np.roll(x, 1, -2)) / 3,
    "noise": lambda x, _: x + 0.25 * RNG.normal(size=x.shape),
    "no noise": lambda x, _: np.where(x < -0.3, -0.8, x),
    "few levels": lambda x, _: np.round(x * 3) / 3,
    "contrast": lambda x, _: 0.7 * x,
    "watermark": watermarked,
    "columns shuffled": lambda x, _: x[..., RNG.permutation(x.shape[-1])],
    "means": lambda x, users: np.stack([x[users == u].mean(axis=0) for u in users]),
}


@pytest.mark.parametrize("seed", [9, 10, 11])
def test_fresh_draws_of_the_same_people_pass(base, seed):
    judging = base.judging(fresh(seed))
    fidelity, conditioning = assess_fidelity(judging), assess_conditioning(judging)
    assert fidelity.gates[0].status == PASS, fidelity.gates[0]
    assert fidelity.gates[0].value < 2
    assert conditioning.gates[0].status == PASS, conditioning.gates[0]
    assert not fidelity.failed_users + conditioning.failed_users


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_all_images_fails_whatever_it_is(base, name):
    gate = assess_fidelity(base.judging(altered(FAULTS[name]))).gates[0]
    assert gate.status == FAIL, gate


def test_a_fault_of_one_user_is_named(base):
    found = assess_fidelity(base.judging(of_user("cem", lambda x: x.mean(axis=0, keepdims=True) + 0 * x)))
    assert found.gates[0].status == FAIL
    assert found.failed_users == ["cem"]
    assert "cem" in found.gates[0].note


def test_two_swapped_users_are_named_with_each_other(base):
    found = assess_conditioning(base.judging(relabelled({"ben": "dee", "dee": "ben"})))
    assert sorted(found.failed_users) == ["ben", "dee"]
    assert "ben (to dee)" in found.gates[0].note


def test_a_user_given_the_data_of_another_is_named(base):
    made = fresh()
    users, images = made.table["user"].to_numpy(), made.images.copy()
    images[users == "ann"] = images[users == "eve"]
    found = assess_conditioning(base.judging(made.with_images(images)))
    assert found.failed_users == ["ann"]
    assert found.gates[0].status == FAIL


def test_labels_that_mean_nothing_fail(base):
    made = fresh()
    shuffled = np.random.default_rng(1).permutation(made.table["user"].to_numpy())
    gate = assess_conditioning(base.judging(replace(made, table=made.table.assign(user=shuffled)))).gates[0]
    assert gate.status == FAIL
    assert gate.value < 0.6


def test_fooling_one_encoder_does_not_win_the_row(base):
    """Perturbed until the judge takes every user for the next one, and labelled so."""
    import torch

    judge, made = base.judges[0], fresh()
    names = made.table["user"].map(dict(zip(USERS, USERS[1:] + USERS[:1], strict=True)))
    wanted = torch.tensor(np.searchsorted(judge.classes_, names.to_numpy(str)))
    start, network = torch.from_numpy(made.images), judge.net_.module_.eval()
    images = start.clone()
    for _ in range(15):
        images.requires_grad_(True)
        (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(network(images), wanted), images)
        images = (start + (images.detach() - 0.03 * slope.sign() - start).clamp(-0.08, 0.08)).clamp(-1, 1)
    attacked = replace(made.with_images(images.numpy()), table=made.table.assign(user=names))
    assert (judge.predict(attacked.images) == names).mean() > 0.9
    gate = assess_conditioning(base.judging(attacked)).gates[0]
    assert gate.status == FAIL, gate


def test_conditioning_is_undecided_where_real_people_cannot_be_told_apart():
    real = walkers(dict.fromkeys(ROLES, 2))
    noise = np.random.default_rng(2).normal(-0.5, 0.2, real.images.shape).clip(-1, 1)
    made = fresh()
    other = np.random.default_rng(3).normal(-0.5, 0.2, made.images.shape).clip(-1, 1)
    settings = SETTINGS.model_copy(update={"encoders": ("pixels_pca64", "gait_profile")})
    context = Context(prepare_sets(real.with_images(noise), made.with_images(other)), settings)
    gate = assess_conditioning(context).gates[0]
    assert gate.status in (INCONCLUSIVE, PASS)
    assert not assess_conditioning(context).failed_users


def test_every_distance_has_its_real_ceiling_beside_it(base):
    rows = assess_fidelity(base).metrics
    for encoder in SETTINGS.encoders:
        for metric in ("kid", "frechet_distance", "precision", "recall", "density", "coverage"):
            found = {r.set_b for r in rows if r.metric == metric and r.encoder == encoder and r.set_a == "test"}
            assert found == {"synthetic", "train"}, (encoder, metric)
    scores = {r.set_b: r.value for r in rows if r.metric == "inception_score"}
    assert 1 < scores["synthetic"] <= len(USERS)


def test_recordings_of_one_person_are_the_measure_and_their_absence_is_said(base):
    real = feature_sets(base, "pixels_pca64")["train"]
    kernel = np.eye(len(real))
    assert len(session_distances(kernel, real, list(USERS), np.random.default_rng(0), 7)) == 7
    one = replace(real, units=real.users)
    assert len(session_distances(kernel, one, list(USERS), np.random.default_rng(0), 7)) == 0


def test_too_few_images_make_it_unavailable_not_a_crash():
    real = walkers(dict.fromkeys(ROLES, 1), windows=2)
    few = fresh().select(np.arange(0, 120, 24))  # one image of each user
    context = Context(prepare_sets(real, few), SETTINGS)
    found = assess_fidelity(context)
    assert found.gates[0].status == UNAVAILABLE
    assert {r.status for r in found.metrics if r.metric == "kid"} == {UNAVAILABLE}
    assert assess_conditioning(context).gates[0].status == UNAVAILABLE


def test_users_with_too_few_images_for_halves_of_them_are_left_out(base):
    few = fresh().table.groupby("user").cumcount().to_numpy() < np.where(fresh().table["user"] == "ann", 3, 8)
    context = base.judging(fresh().select(few))
    found = cross("pixels_pca64", feature_sets(context, "pixels_pca64"), context)
    assert found.synthetic.lead.index.tolist() == ["ben", "cem", "dee", "eve"]


def test_a_missing_encoder_is_reported_and_the_others_decide(monkeypatch):
    def missing(*_):
        raise EncoderUnavailable("EfficientNet-Lite0 is not installed: pip install it")

    monkeypatch.setattr(context_module.encoders, "efficientnet_lite0", missing)
    settings = SETTINGS.model_copy(update={"encoders": ("efficientnet_lite0", "pixels_pca64")})
    context = Context(prepare_sets(walkers(dict.fromkeys(ROLES, 2)), fresh()), settings)
    found = assess_fidelity(context)
    assert found.gates[0].status == PASS
    assert [r.note for r in found.metrics if r.encoder == "efficientnet_lite0"] == [
        "EfficientNet-Lite0 is not installed: pip install it"
    ]
    assert assess_conditioning(context).gates[0].status == PASS


def test_sets_are_sampled_evenly_and_compared_at_equal_numbers(base):
    data = base.sets.real
    some = sampled(data, 50, 0)
    assert some.table["user"].value_counts().tolist() == [10] * 5
    assert sampled(data, 50, 0).fingerprint() == some.fingerprint() != sampled(data, 50, 1).fingerprint()
    coded = feature_sets(base, "pixel_levels")
    parts = balanced(np.random.default_rng(0), list(USERS), coded["synthetic"], coded["test"].select(np.arange(70)))
    assert len(parts[0]) == len(parts[1])
    assert sorted(parts[0].users) == sorted(parts[1].users)


def test_a_table_of_quantities_with_gaps_can_be_an_encoder(base):
    def numbers(images):
        table = np.column_stack([images.mean(axis=(1, 2, 3)), 1e4 * images.std(axis=(1, 2, 3))])
        table[::7, 1] = np.nan
        return table

    context = base.judging(fresh())
    context.once(("encoder", "numbers"), lambda: Encoder("numbers", numbers, mixed_units=True))
    coded = feature_sets(context, "numbers")["synthetic"].features
    assert np.isfinite(coded).all()
    assert 0.1 < coded.std(axis=0)[1] / coded.std(axis=0)[0] < 10


def test_levels_do_not_know_8_bit_from_16_bit_storage():
    images = np.random.default_rng(4).uniform(-1, 1, (4, 1, 32, 32)).astype(np.float32)
    stored = np.round((images + 1) * 127.5) / 127.5 - 1
    np.testing.assert_allclose(pixel_levels()(stored), pixel_levels()(images), atol=0.02)


def test_the_figures_draw(base):
    for finding in (assess_fidelity(base), assess_conditioning(base)):
        for drawing in finding.drawings:
            assert drawing.draw().axes
