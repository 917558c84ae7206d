"""Newcomers from few windows: taught once, generated in styles of people who have many recordings."""

import numpy as np
import pytest

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import STYLE, label_column
from mdgen.data.recordings import stitch
from mdgen.data.simulator import simulate
from mdgen.errors import MdgenError
from mdgen.few_shot import FewShotGenerator, few_shot_generators, with_walkers
from mdgen.warps import borrowed_warps, recording_levels, warped
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
        change = own[0] - own[1]
        np.testing.assert_allclose(warped(few.images[0] * 0.1, change * 0), few.images[0] * 0.1, atol=1e-6)
        assert (warped(few.images[0] * 0.1, np.full_like(change, 0.2)) > few.images[0] * 0.1).all()


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
