"""Pictures beside results: every image stands under the name of the set it comes from."""

from pathlib import Path

import numpy as np

from mdgen import figures
from tests.conftest import ridges


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
