"""Pictures beside results: every image stands under the name of the set it comes from."""

import json
from pathlib import Path

import numpy as np

from mdgen import figures
from mdgen.data.dataset import SpectrogramSet
from mdgen.generate import write_synthetic
from tests.conftest import ridges
from tests.tiny_run import tiny_run


def test_a_set_of_few_windows_leaves_places_empty_and_moves_no_other(monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, file: drawn.append(figure))
    data = ridges(users=2)
    few = data.select(np.array([0, 1, 24]))  # two windows of ID_1 and one of ID_2
    sets = {"real": few.with_images(0 * few.images - 1), "warped": data.with_images(0 * data.images + 1)}
    figures.comparison_sheet(sets, Path("sheet.png"))
    panels = np.reshape(drawn[0].axes, (2, 6))
    levels = [[panel.images[0].get_array().mean() if panel.images else None for panel in row] for row in panels]
    assert levels == [[-1, -1, None, 1, 1, 1], [-1, None, None, 1, 1, 1]]
    assert [panel.get_title() for panel in panels[0]] == ["real", "", "", "warped", "", ""]


def test_sets_side_by_side_have_the_scales_of_their_axes(monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, file: drawn.append(figure))
    data = ridges(users=2)
    known = data.table.assign(velocity_min_mps=-1.0, velocity_max_mps=3.0, duration_s=2.0)
    figures.comparison_sheet({"real": SpectrogramSet(data.images, known, data.name), "warped": data}, Path("sheet.png"))
    assert all(list(panel.images[0].get_extent()) == [0, 2, -1, 3] for panel in drawn[0].axes)


def test_the_contact_sheet_of_samples_has_the_scales_that_the_run_knows(tmp_path, monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, file: drawn.append(figure))
    run, recipe = tiny_run(tmp_path / "run")
    axes = {"velocity_min_mps": -1.0, "velocity_max_mps": 3.0, "duration_s": 2.0}
    (run.path / "axes.json").write_text(json.dumps(axes))
    write_synthetic(run.path, recipe.generate, tmp_path / "synthetic")
    assert list(drawn[0].axes[0].images[0].get_extent()) == [0, 2, -1, 3]
