"""The augmentation study: newcomers' test recordings stay unseen, arms are paired, and gains are what they are."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.errors import MdgenError
from validation.study import run
from validation.study.arms import BASELINES, COPIES, level_free, sifted, training_sets
from validation.study.run import KEY, StudySettings, run_study
from validation.study.summary import markdown, summarise, write_summary
from validation.study.tasks import read_settings
from validation.study.trials import draw_trial

USERS, RECORDINGS, WINDOWS, SIDE = 6, 4, 5, 16


@pytest.fixture(scope="module")
def data() -> SpectrogramSet:
    """People whose bright row is theirs, moved a little by every recording."""
    rng = np.random.default_rng(0)
    rows = [(u, r) for u in range(USERS) for r in range(RECORDINGS) for _ in range(WINDOWS)]
    images = -0.9 + 0.05 * rng.standard_normal((len(rows), 1, SIDE, SIDE))
    for image, (user, recording) in zip(images, rows, strict=True):
        image[0, 1 + 2 * user + recording % 2] = 0.7
    table = make_table(user=[f"00{u}" for u, _ in rows], recording=[f"r{r}" for _, r in rows])
    return SpectrogramSet(images.astype(np.float32).clip(-1, 1), table, "rows")


def groups(data: SpectrogramSet) -> set[str]:
    return set(data.groups)


@pytest.mark.parametrize("recordings", [1, 2])
def test_what_is_tested_was_never_seen(data, recordings) -> None:
    trial = draw_trial(data, recordings, 4, seed=3)
    assert not groups(trial.few) & groups(trial.test)
    assert not set(trial.known.users) & set(trial.test.users)
    assert trial.few.users == trial.test.users
    assert trial.few.table.groupby("user").size().tolist() == [4] * 3
    assert trial.few.groups.groupby(trial.few.table["user"]).nunique().max() == recordings
    assert trial.known.table.groupby("user").size().tolist() == [RECORDINGS * WINDOWS] * 3


def test_pairs_of_seeds_make_everybody_a_newcomer_once(data) -> None:
    first, second = (draw_trial(data, 1, 4, seed) for seed in (0, 1))
    assert set(first.few.users) | set(second.few.users) == set(data.users)
    assert not set(first.few.users) & set(second.few.users)


def test_fewer_windows_are_among_more(data) -> None:
    few, more = (draw_trial(data, 1, windows, 2).few.images for windows in (2, 4))
    assert {image.tobytes() for image in few} < {image.tobytes() for image in more}


def test_people_with_too_few_recordings_are_an_error_that_says_so(data) -> None:
    with pytest.raises(MdgenError, match="ask for fewer"):
        draw_trial(data, RECORDINGS, 4, 0)
    with pytest.raises(MdgenError, match="see more --windows"):
        draw_trial(data, 1, 1, 0)


def test_arms_hold_the_real_windows_and_so_many_more(data) -> None:
    trial = draw_trial(data, 1, 3, 0)
    rows = np.repeat(np.arange(len(trial.few)), 2)
    arms = training_sets(trial, {"made": trial.few.select(rows)}, (1, 2))
    assert list(arms) == [*BASELINES, "made x1", "made x2"]
    few = len(trial.few)
    assert [len(users) for _, users in arms.values()] == [few, 13 * few, 13 * few, 12 * few, 13 * few]
    for images, users in arms.values():
        assert np.array_equal(images[:few], trial.few.images)
        assert np.array_equal(users[:few], trial.few.table["user"])
    assert COPIES == 10


def test_trials_of_neighbouring_seeds_share_no_copies(data) -> None:
    trial = draw_trial(data, 1, 3, 0)
    arms = (training_sets(replace(trial, seed=seed), {}, (1,))["real + classical"][0] for seed in (0, 1))
    one, other = ({copy.tobytes() for copy in np.split(images, 12)[1:]} for images in arms)
    assert len(one) == 11
    assert not one & other


def test_sifting_keeps_the_half_that_is_most_like_the_few_windows_of_its_person(data) -> None:
    trial = draw_trial(data, 1, 4, 0)
    others = dict(zip(trial.few.users, np.roll(trial.few.users, 1), strict=True))
    wrong = trial.few.table.assign(user=trial.few.table["user"].map(others))
    images = np.concatenate([trial.few.images, trial.few.images])
    table = pd.concat([wrong, trial.few.table], ignore_index=True)
    kept = sifted(trial, SpectrogramSet(images, table))
    assert np.array_equal(kept.images, trial.few.images)
    assert kept.table["user"].tolist() == trial.few.table["user"].tolist()


def test_the_level_free_view_forgets_gain_and_level(data) -> None:
    images = data.images[:20]
    np.testing.assert_allclose(level_free(images), level_free(images * 0.5 - 0.3), atol=1e-4)


def test_a_study_goes_on_where_it_stopped_and_finds_a_perfect_generator_helpful(data, tmp_path) -> None:
    calls = []

    def perfect(trial, count):
        """Windows of the newcomers' other recordings."""
        calls.append(trial.name)
        place = trial.test.table.groupby("user").cumcount().to_numpy()
        return trial.test.select(place < count)

    settings = StudySettings(recordings=(1,), windows=(3,), seeds=(0, 1), ratios=(3,), classifiers=("linear",))
    first = run_study(data, {"perfect": perfect}, settings, tmp_path, say=lambda _: None)
    again = run_study(data, {"perfect": perfect}, settings, tmp_path, say=lambda _: None)
    assert len(calls) == 2
    pd.testing.assert_frame_equal(first, again, check_dtype=False)
    assert not first.duplicated([*KEY, "user"]).any()
    table = write_summary(tmp_path)
    best = table[(table["arm"] == "perfect x3") & (table["view"] == "as recorded")].iloc[0]
    assert best["accuracy"] > 0.95
    assert best["gain"] > 0
    said = (tmp_path / "summary.md").read_text()
    assert "perfect x3" in said
    assert "the interval does not draw this choice anew" in said
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


def test_a_study_goes_on_with_more_seeds_but_not_with_other_settings_or_data(data, tmp_path) -> None:
    def study(data=data, made=(), seeds=(0,), **changed):
        settings = StudySettings(recordings=(1,), windows=(3,), seeds=seeds, classifiers=("linear",), **changed)
        return run_study(data, dict(made), settings, tmp_path, say=lambda _: None)

    study()
    assert set(study(seeds=(0, 1))["seed"]) == {0, 1}
    with pytest.raises(MdgenError, match="with other ratios; choose another --out"):
        study(ratios=(3,))
    with pytest.raises(MdgenError, match="with other made"):
        study(made={"made": lambda trial, count: trial.few})
    with pytest.raises(MdgenError, match="with other data"):
        study(data.with_images(data.images * 0.9))


def test_arms_are_augmented_at_the_size_that_classifiers_see(data, tmp_path, monkeypatch) -> None:
    large = data.with_images(data.images.repeat(8, axis=2).repeat(8, axis=3))
    sizes = set()

    def watched(trial, *rest):
        sizes.add(trial.few.images.shape[2:])
        return training_sets(trial, *rest)

    monkeypatch.setattr(run, "training_sets", watched)
    settings = StudySettings(recordings=(1,), windows=(3,), seeds=(0,), ratios=(1,), classifiers=("linear",))
    run_study(large, {}, settings, tmp_path, say=lambda _: None)
    assert sizes == {(64, 64)}


def test_gains_are_paired_with_the_best_arm_without_a_generator() -> None:
    rows = [
        (seed, 1, 20, arm, "cnn", "as recorded", user, base + 0.1 * seed + gain, 10)
        for seed in range(3) for user, base in (("a", 0.3), ("b", 0.5))
        for arm, gain in (("real", 0.0), ("real + time shift", 0.1), ("made x3", 0.2))
    ]  # fmt: skip
    table = summarise(pd.DataFrame(rows, columns=[*KEY, "user", "accuracy", "n"])).set_index("arm")
    assert set(table["baseline"]) == {"real + time shift"}
    made = table.loc["made x3"]
    assert (made["gain"], made["gain_low"], made["gain_high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert made["error_left"] == pytest.approx(0.3 / 0.4)
    assert table.loc["real", "gain"] == pytest.approx(-0.1)
    assert "+0.100" in markdown(table.reset_index())


def test_options_are_numbers_of_one_or_more() -> None:
    assert read_settings("1,2", "20", 3, "3", "cnn").seeds == (0, 1, 2)
    for wrong in ("", "x", "0"):
        with pytest.raises(MdgenError, match="--recordings"):
            read_settings(wrong, "20", 3, "3", "cnn")
