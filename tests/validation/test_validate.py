"""The validator on made-up walkers: controls with known answers, its refusals, and the files it writes."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from mdgen.data.dataset import ROLES, SpectrogramSet, make_table
from mdgen.errors import MdgenError
from validation.blocks.accuracy import failing_users, too_few, user_accuracy_gate
from validation.findings import Finding
from validation.measures.agreement import Agreement, cross_validated, folds_in_time, label_agreement
from validation.measures.enrolment import split_enrolment
from validation.measures.labels import doubtful, exchanged, mixed_up, unconfirmed, unlooked
from validation.measures.learning import Labelled
from validation.measures.recognition import Recognition, recognise, wilson_interval
from validation.measures.resampling import Interval
from validation.networks.judge import Judge, identity_retention
from validation.results import DECISIVE, Gate, Summary
from validation.rules import shipped_rules
from validation.run import assess, per_user_table, validate
from validation.sets import prepare_sets
from validation.settings import ValidationSettings

USERS = ("001", "=cmd()", "<b>x</b>", "$y$")
FAST = ValidationSettings(
    judge_seeds=1,
    judge_steps=40,
    verification_steps=30,
    encoders=("judge", "pixels_pca64"),
    bootstrap_draws=30,
    null_draws=10,
    gallery_users=2,
)


def walkers(roles=ROLES, recordings=5, windows=3, seed=0, size=32) -> SpectrogramSet:
    """Noisy swinging ridges whose height and rate are the user's; each recording is a little different."""
    rng = np.random.default_rng(seed)
    rows, images = [], []
    doppler, time = np.mgrid[:size, :size]
    for number, user in enumerate(USERS):
        for role in roles:
            for recording in range(recordings):
                height = 5 + 6 * number + rng.normal(0, 0.3)
                for _ in range(windows):
                    phase = rng.uniform(0, 2 * np.pi)
                    ridge = height + 2 * np.sin(2 * np.pi * (2 + number) * time / size + phase)
                    image = 1.6 * np.exp(-((doppler - ridge) ** 2) / 3) - 0.8 + 0.12 * rng.normal(size=(size, size))
                    images.append(image.clip(-1, 1))
                    rows.append((user, f"{role}-day", f"r{recording}", role))
    user, session, recording, split = zip(*rows, strict=True)
    table = make_table(user=user, session=session, recording=recording, split=split)
    return SpectrogramSet(np.array(images, np.float32)[:, None], table, "walkers")


@pytest.fixture(scope="module")
def real() -> SpectrogramSet:
    return walkers()


def fresh(real: SpectrogramSet) -> SpectrogramSet:
    return walkers(("train",), recordings=10, windows=4, seed=9)


def shuffled(real: SpectrogramSet) -> SpectrogramSet:
    made = fresh(real)
    order = np.random.default_rng(0).permutation(len(made))
    return SpectrogramSet(made.images, made.table.assign(user=made.table["user"].to_numpy()[order]), "shuffled")


def noise(real: SpectrogramSet) -> SpectrogramSet:
    made = fresh(real)
    return made.with_images(np.random.default_rng(0).normal(-0.7, 0.2, made.images.shape).clip(-1, 1))


def blurred(real: SpectrogramSet) -> SpectrogramSet:
    made = fresh(real)
    return made.with_images((made.images + np.roll(made.images, 1, -1) + np.roll(made.images, 1, -2)) / 3)


def copies(real: SpectrogramSet) -> SpectrogramSet:
    return real.role("train").with_images(np.roll(real.role("train").images, 3, -1))


def statuses(real: SpectrogramSet, synthetic: SpectrogramSet) -> Summary:
    return assess(real, synthetic, FAST).summary


def test_a_good_set_passes(real):
    summary = statuses(real, fresh(real))
    assert summary.verdict == "pass", summary.as_dict()["gates"]
    assert summary.gate("user_accuracy").ceiling > 0.9
    assert summary.gate("memorisation").value < 0.05


def test_shuffled_labels_fall_to_chance_and_fail(real):
    summary = statuses(real, shuffled(real))
    assert summary.verdict == "fail"
    assert summary.gate("user_accuracy").value == pytest.approx(1 / len(USERS), abs=0.12)
    assert summary.gate("verification").status == "fail"


@pytest.mark.parametrize("wrong", [0.0, 0.2])
def test_mixed_up_labels_are_known_from_the_set_itself_whatever_the_day(wrong):
    rng, users = np.random.default_rng(0), np.array(list("abcdef"))
    people = 2 * rng.normal(size=(6, 10))

    def day(wrong: float, shift: float = 0.0) -> Labelled:
        shown = np.repeat(np.arange(6), 40)
        features = people[shown] + shift * rng.normal(size=(6, 10))[shown] + 0.8 * rng.normal(size=(240, 10))
        return Labelled(features, users[np.where(rng.random(240) < wrong, (shown + 1) % 6, shown)])

    found = label_agreement(day(wrong, shift=2.0), {"train": day(0), "test": day(0)}, list(users), rng)
    assert found.share.low < found.share.value <= found.share.high
    assert bool(mixed_up(found, shipped_rules()["user_accuracy"])) == (wrong > 0)


@pytest.mark.parametrize(
    ("share", "images", "status"),
    [(0.91, 160, "pass"), (0.849, 160, "pass"), (0.84, 800, "inconclusive"), (0.7, 160, "fail")],
)
def test_labels_that_more_days_may_explain_are_in_doubt_and_not_mixed_up(share, images, status):
    made, real = (Interval(s, *wilson_interval(s, n)) for s, n in ((share, 400), (0.93, images)))
    found, rule = Agreement(made, {"test": real}, pd.DataFrame()), shipped_rules()["user_accuracy"]
    known = replace(recognition(0.95 * np.eye(4) + 0.0125), interval=(0.9, 1.0))
    gate = user_accuracy_gate(known, known, 0.9, [], rule, mixed=mixed_up(found, rule), doubt=doubtful(found, rule))
    assert gate.status == status
    assert ("mixed up" in gate.note) == (status != "pass")


def test_a_user_who_is_anybody_is_named_whatever_the_day():
    rng, users = np.random.default_rng(0), np.repeat(list("abcdef"), 40)
    features = np.repeat(2 * rng.normal(size=(6, 10)), 40, axis=0) + 0.8 * rng.normal(size=(240, 10))
    real, other_day = Labelled(features, users), features + np.repeat(rng.normal(size=(6, 10)), 40, axis=0)
    other_day[users == "c"] = rng.permutation(other_day)[:40]
    found = label_agreement(Labelled(other_day, users), {"test": real}, list("abcdef"), rng)
    assert unconfirmed(found, shipped_rules()["user_accuracy"]) == ["c"]


def recognition(confusion: np.ndarray, count: int = 30) -> Recognition:
    """Of users a, b, ...: images of each that judges take for each."""
    own = np.diag(confusion)
    bounds = np.array([wilson_interval(share, count) for share in own])
    columns = {"accuracy": own, "ci_low": bounds[:, 0], "ci_high": bounds[:, 1], "n": count}
    per_user = pd.DataFrame(columns, index=list("abcdefgh")[: len(own)])
    return Recognition(
        per_user, own.mean(), (0.0, 1.0), count * len(own), [own.mean()], confusion, pd.Series(dtype=float),
        confusion / np.maximum(confusion + own[:, None], 1e-9) * (1 - np.eye(len(own))),
    )  # fmt: skip


def test_of_two_people_recognition_can_pass_and_fail():
    def status(share: float) -> str:
        found = replace(recognition(np.array([[share, 1 - share], [1 - share, share]])), interval=(share, share))
        real = recognition(np.array([[0.95, 0.05], [0.05, 0.95]]))
        return user_accuracy_gate(found, real, real.macro, [], shipped_rules()["user_accuracy"]).status

    assert (status(0.9), status(0.5)) == ("pass", "fail")


def test_many_images_of_one_user_do_not_make_the_mean_over_users_sure():
    class Unsure:
        classes_ = np.array(["a", "b", "c"])

        def predict_proba(self, images):
            return np.tile(np.eye(3)[[0, 1, 2, 1]], (len(images) // 4, 1))

    users = np.repeat(["a", "b", "c"], [1000, 12, 12])
    found = recognise([Unsure()], SpectrogramSet(np.zeros((1024, 1, 2, 2)), make_table(user=users)), ["a", "b", "c"])
    assert found.interval == pytest.approx(wilson_interval(found.macro, 9 / (1 / 1000 + 2 / 12)))


def test_exchanged_users_are_named_but_not_one_who_looks_like_another_today():
    rule, right = shipped_rules()["user_accuracy"], recognition(0.68 * np.eye(4) + 0.08)

    def named(order: list[int], shares: np.ndarray = right.confusion, real: Recognition = right) -> dict[str, str]:
        return exchanged(recognition(shares[order]), real, rule)

    assert named([0, 1, 2, 3]) == {}
    assert named([1, 0, 2, 3]) == {"a": "b", "b": "a"}
    assert named([1, 2, 0, 3]) == {"a": "b", "b": "c", "c": "a"}
    assert named([1, 1, 2, 3]) == {}
    assert named([1, 0, 2, 3], real=recognition(right.confusion[[1, 0, 2, 3]])) == {}
    assert named([1, 0, 2, 3], 0.1 * np.eye(4) + 0.2) == {}


def test_one_more_session_of_the_same_kind_fails_in_one_report_of_a_hundred():
    rule, rng, alarms = {"threshold": 1.0, "ceiling_share": 1.0}, np.random.default_rng(0), 0
    index = pd.MultiIndex.from_product([list("abcdefgh"), range(3)])
    for _ in range(1000):
        sessions = rng.normal(0.5, 0.05, (8, 4))
        one_more = recognition(np.diag(sessions[:, 3]), 10**6)
        alarms += bool(failing_users(one_more, pd.Series(sessions[:, :3].ravel(), index), rule))
    assert 2 <= alarms <= 20


def test_a_user_with_few_images_does_not_hide_the_labels_of_the_others():
    rng, users = np.random.default_rng(0), np.repeat(list("abcdef"), 40)
    real = Labelled(np.repeat(2 * rng.normal(size=(6, 10)), 40, axis=0) + 0.8 * rng.normal(size=(240, 10)), users)
    few = np.flatnonzero((users != "f") | (np.arange(240) < 205))
    made = Labelled(np.where((users == "c")[:, None], rng.permutation(real.features), real.features), users)
    for synthetic, beside in ((made.select(few), real), (made, real.select(few))):
        found = label_agreement(synthetic, {"test": beside}, list("abcdef"), rng)
        assert unconfirmed(found, shipped_rules()["user_accuracy"]) == ["c"]
        assert unlooked(found, list("abcdef"))[0].endswith(": f")
    assert unlooked(None, ["a", "b"])[0].endswith(": a, b")


def test_windows_that_overlap_do_not_confirm_each_others_labels():
    rng, users = np.random.default_rng(0), np.repeat(list("ab"), 40)
    overlapping = Labelled(np.repeat(rng.normal(size=(20, 30)), 4, axis=0) + 0.1 * rng.normal(size=(80, 30)), users)
    folds = folds_in_time(make_table(user=users.tolist(), session="s"))
    assert cross_validated(overlapping, ["a", "b"], 40, rng).mean() > 0.8
    assert cross_validated(overlapping, ["a", "b"], 40, rng, folds).mean() < 0.65


def test_folds_are_runs_of_consecutive_windows_in_every_session():
    order = np.random.default_rng(0).permutation(43)
    table = make_table(user=["a"] * 43, session=["long"] * 40 + ["short"] * 3).assign(start_column=np.arange(43))
    folds = folds_in_time(table.iloc[order])[order.argsort()]
    assert folds.tolist() == [*np.repeat(range(5), 8), 1, 1, 1]


def test_too_few_images_say_nothing_of_labels():
    few = Labelled(np.zeros((4, 2)), np.array(["a", "a", "b", "b"]))
    assert label_agreement(few, {"train": few}, ["a", "b"], np.random.default_rng(0)) is None


def test_noise_fails(real):
    assert statuses(real, noise(real)).gate("user_accuracy").status == "fail"


def test_blurred_images_fail_for_texture(real):
    gate = statuses(real, blurred(real)).gate("texture")
    assert gate.status == "fail"
    assert gate.ci_high < 0.8


def test_shifted_copies_of_the_training_set_fail_for_memorisation_alone(real):
    summary = statuses(real, copies(real))
    assert summary.verdict == "fail"
    assert [gate.name for gate in summary.gates if gate.status == "fail"] == ["memorisation"]
    assert summary.gate("user_accuracy").value > 0.9


def test_a_user_without_synthetic_images_fails_by_name(real):
    made = fresh(real)
    summary = statuses(real, made.select((made.table["user"] != USERS[1]).to_numpy()))
    assert "no synthetic images of: =cmd()" in summary.gate("user_accuracy").note
    assert summary.gate("user_accuracy").status == "fail"


def test_a_user_of_whom_hardly_an_image_is_left_does_not_pass(real):
    made = fresh(real)
    own = made.table["user"] == USERS[1]
    gate = statuses(real, made.select((~own | (own.cumsum() <= 7)).to_numpy())).gate("user_accuracy")
    assert gate.status == "inconclusive"
    assert "too few to judge: =cmd()" in gate.note


def test_real_data_that_the_judges_learned_from_say_nothing_of_what_they_reach(real):
    assert list(prepare_sets(real, fresh(real)).unseen) == ["test", "val", "train"]
    assert list(prepare_sets(real.role("train", "val", "test"), fresh(real)).unseen) == ["test", "val"]


def test_a_user_without_training_rows_is_not_judged(real):
    rows = real.table["split"] != "train"
    sets = prepare_sets(real.select((rows | (real.table["user"] != USERS[1])).to_numpy()), fresh(real))
    assert sets.unjudged == [USERS[1]]
    with pytest.raises(MdgenError, match="fewer than two synthetic users have real rows of roles train"):
        prepare_sets(real.select((rows | (real.table["user"] == USERS[1])).to_numpy()), fresh(real))


def test_a_user_learned_from_with_neither_images_nor_real_rows_to_judge_by_is_named(real):
    untested = (real.table["user"] != USERS[1]) | (real.table["split"] != "test")
    made = fresh(real)
    made = made.select((made.table["user"] != USERS[1]).to_numpy())
    sets = prepare_sets(real.select(untested.to_numpy()), made)
    assert (sets.unjudged, sets.missing) == ([USERS[1]], [])
    assert any(f"test: {USERS[1]}" in warning for warning in sets.warnings)


def test_a_judge_never_trains_on_a_recording_of_the_generator(real):
    table = real.table.assign(session=real.table["session"].replace("judge-day", "train-day"))
    with pytest.raises(MdgenError, match=r"both roles train and judge"):
        prepare_sets(SpectrogramSet(real.images, table, "leaky"), fresh(real))


def test_test_rows_that_share_signal_with_other_roles_make_the_report_advisory(real):
    for role in ("train", "judge"):
        table = real.table.assign(session=real.table["session"].replace("test-day", f"{role}-day"))
        assert f"both roles {role} and test" in prepare_sets(replace(real, table=table), fresh(real)).advisory


def test_rows_for_choices_that_share_signal_with_other_roles_make_the_report_advisory(real):
    for role in ("train", "judge", "test"):
        table = real.table.assign(session=real.table["session"].replace("val-day", f"{role}-day"))
        assert f"both roles {role} and val" in prepare_sets(replace(real, table=table), fresh(real)).advisory


def test_parts_of_a_recording_with_a_guard_between_them_are_a_warning(real):
    table = real.table.assign(session=real.table["session"].replace("test-day", "train-day"))
    apart = table.assign(start_column=np.where(table["split"] == "test", 1000.0, 0.0))
    sets = prepare_sets(replace(real, table=apart), fresh(real))
    assert sets.advisory == ""
    assert any("separate parts of the same recordings" in warning for warning in sets.warnings)


def test_unknown_recordings_of_one_user_do_not_blame_another(real):
    table = real.table.copy()
    table.loc[table["user"] == USERS[0], ["session", "recording"]] = ""
    table["session"] = table["session"].replace("judge-day", "train-day")
    apart = table.assign(start_column=np.where(table["split"] == "judge", 1000.0, 0.0))
    assert "unknown" in prepare_sets(replace(real, table=apart), fresh(real)).advisory


def test_without_roles_and_recordings_the_decisive_gates_are_only_advisory(real):
    bare = SpectrogramSet(real.images, make_table(user=real.table["user"].tolist()), "bare")
    summary = statuses(bare, fresh(real))
    assert [summary.gate(n).status for n in ("user_accuracy", "verification")] == ["advisory", "unavailable"]
    assert summary.verdict == "inconclusive"
    assert any("roles were missing" in w for w in summary.provenance["warnings"])


def test_enrolment_and_probes_share_no_recording(real):
    sides = split_enrolment(real, list(USERS), per_user=100)
    assert not set(sides.enrolment.groups) & set(sides.probes.groups)
    one = real.select(((real.table["split"] != "test") | (real.table["recording"] == "r0")).to_numpy())
    sides = split_enrolment(one, list(USERS), per_user=100)
    assert set(sides.enrolment.table["split"]) == {"val"}
    assert set(sides.probes.table["split"]) == {"test"}


def test_unknown_users_and_other_shapes_are_refused(real):
    made = fresh(real)
    stranger = SpectrogramSet(made.images, made.table.assign(user="nobody"), "made")
    with pytest.raises(MdgenError, match="nobody"):
        prepare_sets(real, stranger)
    with pytest.raises(MdgenError, match="16x32"):
        prepare_sets(real, made.with_images(made.images[..., :16]))
    with pytest.raises(MdgenError, match="give recordings as the real set"):
        prepare_sets(replace(real, table=real.table.assign(synthetic="yes")), made)


def test_equal_seeds_give_equal_judges_and_leave_the_global_generator_alone(real):
    data = real.role("judge")
    x, y = data.images, data.table["user"].to_numpy()
    state = torch.get_rng_state()
    first, again, other = (Judge(seed, steps=8).fit(x, y).predict_proba(x) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_identity_retention_is_one_for_perfect_and_low_for_ruined_reconstructions(real):
    original = real.role("val")
    kept = identity_retention(original, original, real.role("judge"), steps=40)
    flat = original.with_images(np.zeros_like(original.images))
    assert kept == 1.0
    assert identity_retention(original, flat, real.role("judge"), steps=40) < 0.5
    with pytest.raises(MdgenError, match="other recordings"):
        identity_retention(original, original, original)


def test_the_report_is_complete_self_contained_and_escapes_names(real, tmp_path):
    summary = validate(real, fresh(real), tmp_path / "report", FAST, provenance={"checkpoint": float("nan")}).summary
    assert {p.name for p in (tmp_path / "report").iterdir()} == {
        "summary.json", "metrics.csv", "per_user.csv", "report.html", "figures",
    }  # fmt: skip
    text = (tmp_path / "report" / "summary.json").read_text()
    assert "NaN" not in text
    stored = json.loads(text)
    assert stored["verdict"] == summary.verdict
    assert set(stored["gates"]) == set(shipped_rules())
    assert stored["provenance"]["checkpoint"] is None
    assert stored["provenance"]["real"]["fingerprint"] == real.fingerprint()
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list((tmp_path / "report" / "figures").iterdir()))
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x" in page
    assert 'src="http' not in page
    users = pd.read_csv(tmp_path / "report" / "per_user.csv", dtype=str)
    assert set(users["user"]) == {u if u != "=cmd()" else "'=cmd()" for u in real.users}
    with pytest.raises(MdgenError, match="not empty"):
        validate(real, fresh(real), tmp_path / "report", FAST)


def test_nobody_is_ok_whom_nobody_judged(real):
    few = (real.table["user"] == USERS[0]) & (real.table["split"] == "test")
    sets = prepare_sets(real.select(~few.to_numpy()), fresh(real))
    found = recognition(np.eye(3))
    found.per_user.index = list(USERS[1:])
    found.per_user.loc[USERS[1], "n"] = 3
    blocks = [Finding("", gates=[Gate("user_accuracy", "inconclusive")], open_users=too_few(found)),
              Finding("", gates=[Gate("texture", "fail")], failed_users=[USERS[2]])]  # fmt: skip
    table = per_user_table(sets, blocks)
    assert list(zip(table["user"], table["status"], strict=True)) == [
        (USERS[2], "fail"), (USERS[1], "not judged"), (USERS[0], "not judged"), (USERS[3], "ok"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "verdict", "code"),
    [
        ({}, "pass", 0),
        ({"texture": "fail"}, "fail", 1),
        ({"user_accuracy": "inconclusive"}, "inconclusive", 3),
        ({"user_accuracy": "advisory"}, "inconclusive", 3),
        ({"verification": "unavailable"}, "inconclusive", 3),
        ({"texture": "unavailable"}, "pass", 0),
        ({"user_accuracy": "inconclusive", "verification": "fail"}, "fail", 1),
    ],
)
def test_the_verdict_follows_from_the_gates(changed, verdict, code):
    statuses = dict.fromkeys([*DECISIVE, "texture"], "pass") | changed
    summary = Summary([Gate(name, status) for name, status in statuses.items()])
    assert (summary.verdict, summary.exit_code) == (verdict, code)


def test_importing_brings_nothing_heavy():
    code = """if True:
        import sys, validation, validation.settings
        print([m for m in ("torch", "skorch", "matplotlib") if m in sys.modules])
        import validation.run
        print([m for m in ("torchvision", "torch_fidelity", "matplotlib", "lpips") if m in sys.modules])
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["[]", "[]"]
