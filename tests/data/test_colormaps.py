"""Colour maps and cells: what a plot drew comes back, also through JPEG, and a photograph is no plot."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from mdgen.data.colormaps import (
    COLORMAPS,
    MIN_GRID_STRENGTH,
    detect_colormap,
    find_grid,
    find_rendering,
    invert_colormap,
    map_colours,
    resize_area,
    step_profile,
    undo_rendering,
)


def field(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Speckle over a ridge on a floor, values 0..1, as spectrograms have."""
    rng = np.random.default_rng(seed)
    ridge = np.exp(-(((np.arange(rows)[:, None] - rows * 0.6) / (rows * 0.12)) ** 2)) * np.ones(columns)
    return np.clip(ridge * rng.uniform(0.5, 1.1, (rows, columns)), 0, 1)


def enlarge(cells: np.ndarray, size: int = 256) -> np.ndarray:
    index = [((np.arange(size) + 0.5) * n / size).astype(int) for n in cells.shape]
    return cells[np.ix_(*index)]


def draw(values: np.ndarray, name: str = "jet", quality: int | None = None) -> np.ndarray:
    """uint8 [H, W, 3]; `quality` passes it through JPEG with half-resolution chroma."""
    colours = map_colours(name) if "parula" in name else matplotlib.colormaps[name](np.arange(256))[:, :3] * 255
    pixels = colours.round().astype(np.uint8)[(values * 255.999).astype(int).clip(0, 255)]
    if quality is None:
        return pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize("name", COLORMAPS)
def test_a_lossless_plot_is_recognised_and_inverted_exactly(name: str) -> None:
    values = field(64, 64)
    pixels = draw(values, name)
    assert detect_colormap(pixels) == name
    found, residual = invert_colormap(pixels, name)
    assert np.abs(found - values).max() < 0.02
    assert residual < 1


def test_parula_runs_from_matlabs_blue_to_its_yellow() -> None:
    assert np.abs(map_colours("parula")[[0, -1]] - [[62, 38, 168], [249, 251, 21]]).max() < 1
    assert np.abs(map_colours("parula2014")[[0, -1]] - [[53, 42, 135], [249, 251, 14]]).max() < 1


@pytest.mark.parametrize("name", COLORMAPS)
def test_a_jpeg_of_a_plot_keeps_its_colour_map(name: str) -> None:
    assert detect_colormap(draw(enlarge(field(61, 55)), name, quality=75)) == name


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_a_photograph_is_on_no_colour_map(name: str) -> None:
    photograph = load_sample_image(name)
    assert detect_colormap(photograph) is None
    assert find_rendering([photograph[:128, :128], photograph[200:328, 300:428]]) is None


def test_a_plain_surface_and_noise_are_on_no_colour_map() -> None:
    assert detect_colormap(np.full((32, 32, 3), (0, 0, 130), np.uint8)) is None
    assert detect_colormap(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)) is None


def test_averaging_over_cells_beats_trusting_single_jpeg_pixels() -> None:
    cells = field(61, 55)
    pixels = draw(enlarge(cells), quality=75)
    rendering = find_rendering([pixels])
    assert rendering is not None
    by_cell, _, columns = undo_rendering(pixels, rendering, 64)
    truth = enlarge(cells, 64)
    by_pixel = invert_colormap(pixels, "jet")[0][2::4, 2::4]
    assert columns == 55
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
    crisp = undo_rendering(pixels, rendering, 64)[0]
    truth, blurred = enlarge(cells, 64), resize_area(pixels / 255, 64)
    steps = [np.abs(np.diff(image, axis=1)).mean() for image in (truth, crisp, blurred)]
    assert steps[1] == pytest.approx(steps[0], rel=0.01)
    assert steps[2] < 0.9 * steps[0]


def test_area_resizing_keeps_the_mean() -> None:
    image = field(100, 60)
    assert resize_area(image, 32).mean() == pytest.approx(image.mean(), abs=1e-6)
