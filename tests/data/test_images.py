"""Pictures: what is written comes back to the bit, also by another reader."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdgen.data.images import read_pixels, write_png


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (33, 57), (64, 64)])
def test_gray_levels_survive_a_png_to_the_bit(tmp_path: Path, dtype: type, shape: tuple[int, int]) -> None:
    levels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    levels[::2] = levels.max()  # runs
    write_png(tmp_path / "a.png", levels)
    read = read_pixels(tmp_path / "a.png")
    assert read.dtype == dtype
    assert np.array_equal(read, levels)
    with Image.open(tmp_path / "a.png") as picture:
        picture.verify()
        assert picture.mode in (["L"] if dtype == np.uint8 else ["I;16", "I"])
