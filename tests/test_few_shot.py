"""Newcomers from few windows: taught once, generated in styles of people who have many recordings."""

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import STYLE
from mdgen.few_shot import FewShotGenerator
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
