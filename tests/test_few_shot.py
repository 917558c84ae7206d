"""Newcomers from few windows: taught once, generated in styles of people who have many recordings."""

import numpy as np
import pytest

from mdgen.config import WarpsConfig
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.data.labels import STYLE, label_column
from mdgen.data.recordings import stitch
from mdgen.data.simulator import simulate
from mdgen.errors import MdgenError
from mdgen.few_shot import FewShotGenerator, few_shot_generators, with_walkers
from mdgen.warps import QUANTILES, borrowed_warps, recording_levels, warped, write_warps
from tests.conftest import ridges, tiny_recipe


def test_newcomers_are_generated_in_styles_of_others_by_models_trained_once(tmp_path) -> None:
    data = ridges()
    user = data.table["user"].to_numpy()
    known, few = data.select(user != "ID_3"), data.select(np.flatnonzero(user == "ID_3")[:4])
    few = SpectrogramSet(few.images, few.table.assign(recording="only"), "few")
    recipe = tiny_recipe(
        "conditioning.style=true", "fine_tuning.training.steps=3", "fine_tuning.training.batch_size=4",
        "fine_tuning.training.checkpoint_every=3",
    )  # fmt: skip
    lender = FewShotGenerator(recipe, tmp_path, device="cpu")
    made = lender(known, few, 5)
    assert made.users == ["ID_3"]
    assert len(made) == 5
    assert {style.split("/")[0] for style in made.table[STYLE]} <= {"ID_1", "ID_2"}
    folders = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model_index.json")}
    assert len(folders) == 2
    own = FewShotGenerator(recipe, tmp_path, "own", device="cpu")(known, few, 5)
    assert set(own.table[STYLE]) == {"ID_3//only"}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model_index.json")} == folders
    alike, varied = (FewShotGenerator(recipe, tmp_path, strength=s, device="cpu") for s in (0.01, 0.99))
    np.testing.assert_array_equal(alike(known, few, 5, seed=1).images, alike(known, few, 5, seed=2).images)
    assert not np.array_equal(varied(known, few, 5, seed=1).images, varied(known, few, 5, seed=2).images)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/model_index.json")} == folders


def test_simulated_walkers_join_the_known_people_without_styles() -> None:
    data = simulate(3, 4, 3, 32, seed=5)
    table = data.table.assign(native_columns=30.0, native_start=np.arange(len(data)) % 3 * 7.0)
    data = SpectrogramSet(data.images, table)
    both = with_walkers(data, 3, sessions=4, windows=1)
    assert sum(len(recording.rows) for recording in stitch(both)) == len(both)
    assert both.table.head(len(data)).equals(data.table)
    more = both.table[len(data) :]
    assert len(more) == 12
    assert not set(more["user"]) & set(data.users)
    assert set(label_column(more.reset_index(drop=True), STYLE)) == {""}


def test_a_warp_changes_a_window_as_a_recording_differs_from_another() -> None:
    data = ridges()
    user = data.table["user"].to_numpy()
    known, few = data.select(user != "ID_3"), data.select(np.flatnonzero(user == "ID_3")[:4])
    known = SpectrogramSet(known.images * 0.5, known.table, "known")
    brighter = known.table["recording"] == known.table["recording"].iloc[0]
    known.images[brighter] += 0.2
    made = borrowed_warps(known, few, 6)
    assert made.users == few.users
    assert len(made) == 6
    assert np.abs(made.images).max() <= 1
    for own in recording_levels(known).values():
        first, second = list(own.values())[:2]
        change = first - second
        rng, image = np.random.default_rng(0), few.images[0] * 0.1
        np.testing.assert_allclose(warped(image, change * 0, rng), image, atol=1e-6)
        assert (warped(image, np.full_like(change, 0.2), rng) > image).all()


def test_a_warp_leaves_no_slope_over_time_where_pixels_are_equal() -> None:
    floor = np.full((1, 64, 64), -1, np.float32)
    rising = np.broadcast_to(np.linspace(0, 0.5, len(QUANTILES)), (1, 64, len(QUANTILES)))
    made = warped(floor, rising, np.random.default_rng(0))
    slope = np.polyfit(np.arange(64), made[0].mean(axis=0), 1)[0] * 64
    assert abs(slope) < 0.05
    np.testing.assert_allclose(np.sort(made[0], axis=1)[0], np.sort(made[0], axis=1)[1])
    different = np.sort(np.random.default_rng(1).normal(0, 0.1, floor.shape))
    assert (np.diff(warped(different, rising, np.random.default_rng(0))) >= 0).all()


def test_a_set_of_warps_borrows_training_recordings_of_others_and_grows(tmp_path) -> None:
    data = simulate(3, 6, 5, 32, seed=5)
    data = SpectrogramSet(data.images, data.table.assign(file=[f"{i}.png" for i in range(len(data))]), data.name)
    train = data.role("train").of_users(["walker_01", "walker_02"])
    wanted = ["walker_01", "walker_02"]
    assert write_warps(data, WarpsConfig(per_window=2), tmp_path / "warps", users=wanted) == 2 * len(train)
    made = read_dataset(tmp_path / "warps")
    assert (made.table["user"] != made.table["change_of"]).all()
    assert (made.table["change_from"] != made.table["change_to"]).all()
    assert made.table["warp_of"].value_counts().to_dict() == dict.fromkeys(train.table["file"], 2)
    owner = data.table.set_index("file")["user"]
    assert (owner[made.table["warp_of"]].to_numpy() == made.table["user"]).all()
    trained = data.role("train").table
    lent = trained["user"] + trained["session"] + "/" + trained["recording"]
    assert set(made.table["change_of"] + made.table["change_to"]) <= set(lent)

    write_warps(data, WarpsConfig(per_window=3), tmp_path / "warps", users=wanted)
    more = read_dataset(tmp_path / "warps")
    assert len(more) == 3 * len(train)
    np.testing.assert_array_equal(more.images[: len(made)], made.images)
    with pytest.raises(MdgenError, match=r"strength was 1\.0, is 2\.0"):
        write_warps(data, WarpsConfig(per_window=3, strength=2), tmp_path / "warps", users=wanted)


def test_warps_that_cannot_be_made_are_refused_before_anything_is_written(tmp_path) -> None:
    data = simulate(2, 4, 5, 32, seed=5)
    with pytest.raises(MdgenError, match=r"no user \['nobody'\]; there are walker_01, walker_02"):
        write_warps(data, WarpsConfig(), tmp_path / "warps", users=["nobody"])
    with pytest.raises(MdgenError, match="unknown format 'gif'"):
        write_warps(data, WarpsConfig(), tmp_path / "warps", format_name="gif")
    with pytest.raises(MdgenError, match="nobody other than walker_01 has two training recordings of 5 windows"):
        write_warps(data, WarpsConfig(), tmp_path / "warps")
    assert not (tmp_path / "warps").exists()


def test_wishes_are_styles_strengths_or_warps(tmp_path) -> None:
    names = list(few_shot_generators(["others", "own@0.5", "warps", "warps@1.5"], tiny_recipe(), tmp_path))
    assert names == [
        "generated, styles of others",
        "varied by 0.5, styles of own",
        "borrowed warps",
        "borrowed warps of 1.5",
    ]
    for wrong in ("mine", "others@2", "own@x", "warps@0"):
        with pytest.raises(MdgenError, match="unknown wish"):
            few_shot_generators([wrong], tiny_recipe(), tmp_path)
