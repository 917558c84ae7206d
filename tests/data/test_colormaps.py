"""Colour maps: what a plot drew comes back, also through JPEG, and a photograph is no plot."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from mdgen.data.colormaps import COLORMAPS, detect_colormap, invert_colormap, map_colours
from mdgen.data.importing.settings import ImportSettings
from tests.data.drawn import draw, enlarge, field


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
    assert detect_colormap(photograph[:128, :128], photograph[200:328, 300:428]) is None


def test_a_plain_surface_and_noise_are_on_no_colour_map() -> None:
    assert detect_colormap(np.full((32, 32, 3), (0, 0, 130), np.uint8)) is None
    assert detect_colormap(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)) is None


def test_a_name_that_is_no_colour_map_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="'jett' is none of auto, gray, rgb, jet, "):
        ImportSettings(colormap="jett")
