"""Renderings: the cells of enlarged plots are found, and come back crisp."""

import numpy as np
import pytest
from PIL import Image

from mdgen.data.colormaps import invert_colormap
from mdgen.data.recordings import LOOKUP
from mdgen.data.rendering import (
    MIN_GRID_STRENGTH,
    find_grid,
    find_rendering,
    resize_area,
    step_profile,
    undo_rendering,
)
from tests.data.drawn import draw, enlarge, field


def test_averaging_over_cells_beats_trusting_single_jpeg_pixels() -> None:
    cells = field(61, 55)
    pixels = draw(enlarge(cells), quality=75)
    rendering = find_rendering([pixels])
    assert rendering is not None
    plot = undo_rendering(pixels, rendering)
    by_cell = plot.resized(64, 64)
    truth = enlarge(cells, 64, LOOKUP)
    by_pixel = invert_colormap(pixels, "jet")[0][2::4, 2::4]
    assert plot.columns is not None
    assert plot.columns.count == 55
    assert np.abs(by_cell - truth).mean() < 0.02
    assert np.abs(by_cell - truth).mean() < 0.5 * np.abs(by_pixel - truth).mean()


@pytest.mark.parametrize("count", [31, 47, 64, 82])
def test_the_native_number_of_cells_is_found(count: int) -> None:
    grid = find_grid(step_profile(draw(enlarge(field(64, count)), quality=75), 1))
    assert (grid.count, grid.offset) == (count, 0)
    assert grid.strength > MIN_GRID_STRENGTH


def test_repeated_rows_are_told_from_large_cells() -> None:
    pixels = np.stack([enlarge(field(195, 55, seed)) for seed in range(8)])
    steps = np.mean([step_profile((p * 255).astype(np.uint8), 0) for p in pixels], axis=0)
    assert find_grid(steps).count == pytest.approx(195, abs=0.5)


def test_smooth_pictures_have_no_clear_grid() -> None:
    smooth = np.asarray(
        Image.fromarray((field(20, 20) * 255).astype(np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
    )
    rendering = find_rendering([smooth])
    assert rendering is not None
    assert (rendering.rows, rendering.columns, rendering.own_columns) == (None, None, False)


def test_cells_stay_as_crisp_as_the_plot_where_areas_blur() -> None:
    cells = field(61, 55)
    pixels = (enlarge(cells) * 255).astype(np.uint8)
    rendering = find_rendering([pixels])
    assert rendering is not None
    crisp = undo_rendering(pixels, rendering).resized(64, 64)
    truth, blurred = enlarge(cells, 64, LOOKUP), resize_area(pixels / 255, 64, 64)
    steps = [np.abs(np.diff(image, axis=1)).mean() for image in (truth, crisp, blurred)]
    assert steps[1] == pytest.approx(steps[0], rel=0.01)
    assert steps[2] < 0.9 * steps[0]


def test_area_resizing_keeps_the_mean() -> None:
    image = field(100, 60)
    assert resize_area(image, 32, 32).mean() == pytest.approx(image.mean(), abs=1e-6)


def test_cells_finer_than_the_output_are_averaged_over_equal_areas() -> None:
    pictures = [(enlarge(field(195, 195, seed)) * 255).astype(np.uint8) for seed in range(8)]
    rendering = find_rendering(pictures)
    assert rendering is not None
    assert rendering.rows is not None
    small = undo_rendering(pictures[0], rendering).resized(32, 32)
    assert np.abs(small - resize_area(pictures[0] / 255, 32, 32)).max() < 0.02
