"""Training windows: cut anew from recordings exactly, at the scale and duration of the windows they stand for."""

import numpy as np
import torch

from mdgen.config import AugmentConfig
from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.data.windows import WindowCutter


def cut_set(gains: list[float], starts: list[int], width: int = 16) -> tuple[SpectrogramSet, np.ndarray]:
    """Windows of one long noisy recording, each multiplied above the floor by its own gain."""
    long = np.random.default_rng(0).uniform(-1, 0, (1, 8, 64)).astype(np.float32)
    images = np.stack([(long[..., s : s + width] + 1) * g - 1 for s, g in zip(starts, gains, strict=True)])
    table = make_table(user=["a"] * len(starts), recording="1", split="train").assign(start_column=starts)
    return SpectrogramSet(images.astype(np.float32), table), long


def test_a_window_is_one_of_its_own_views_at_its_own_scale() -> None:
    data, _ = cut_set([1.0, 0.7, 1.4, 0.9], [0, 4, 8, 12])
    windows = WindowCutter.of(data, AugmentConfig(time_shift=False))
    cuts = np.stack([windows.cut(view) for view in windows.views])
    np.testing.assert_allclose(cuts, data.images, atol=1e-3)


def test_shifted_views_are_the_signal_itself_and_stay_inside_the_recording() -> None:
    data, long = cut_set([1.0] * 4, [0, 4, 8, 12])
    windows = WindowCutter.of(data, AugmentConfig())
    assert len(windows) == 4
    assert len({view.start for view in windows.views}) > 4
    for view in windows.views:
        np.testing.assert_allclose(windows.cut(view), long[..., view.start : view.start + 16], atol=1e-6)


def test_a_window_without_known_recording_has_just_itself() -> None:
    data, _ = cut_set([1.0, 1.0], [0, 30])
    lone = SpectrogramSet(data.images, data.table.drop(columns="start_column"))
    windows = WindowCutter.of(lone, AugmentConfig())
    assert len(windows.views) == 2
    drawn = windows.draw(np.array([1, 0]), torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(drawn.numpy(), lone.images[[1, 0]])


def test_gain_and_noise_keep_the_range_and_depend_on_the_generator_alone() -> None:
    data, _ = cut_set([1.0] * 3, [0, 4, 8])
    windows = WindowCutter.of(data, AugmentConfig(gain=0.2, noise=0.1))
    first, again, other = (windows.draw(np.arange(3), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1
