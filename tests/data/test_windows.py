"""Training windows: cut anew from recordings exactly, at the scale and duration of the windows they stand for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mdgen.config import AugmentConfig
from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.data.recordings import ALIGNED, LOOKUP, common_course
from mdgen.data.simulator import simulate
from mdgen.data.windows import VIEWS, WindowCutter
from mdgen.errors import MdgenError
from tests.conftest import walks


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


def test_windows_that_all_begin_at_the_same_phase_are_not_cut_anew() -> None:
    anywhere = walks(np.random.default_rng(1).uniform(size=12).tolist())
    aligned = walks([0.3] * 12, hop=32)
    assert common_course(anywhere) < ALIGNED / 2
    assert common_course(aligned) > 0.5
    assert len(WindowCutter.of(anywhere, AugmentConfig()).views) > len(anywhere)
    assert len(WindowCutter.of(aligned, AugmentConfig()).views) == len(aligned)
    assert len(WindowCutter.of(aligned, AugmentConfig(time_shift=True)).views) > len(aligned)
    assert common_course(anywhere.select(np.arange(8))) < ALIGNED < common_course(aligned.select(np.arange(8)))


def test_simulated_walkers_begin_anywhere() -> None:
    assert common_course(simulate(3, 6, 4, 32, seed=1)) < ALIGNED / 4


def test_gain_and_noise_keep_the_range_and_depend_on_the_generator_alone() -> None:
    data, _ = cut_set([1.0] * 3, [0, 4, 8])
    windows = WindowCutter.of(data, AugmentConfig(gain=0.2, noise=0.1))
    first, again, other = (windows.draw(np.arange(3), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1


def swinging(size: int = 64) -> SpectrogramSet:
    """One window of a leg: velocity 2 + sin(4 pi t) m/s over one second, between -1 and 4 m/s, on floor."""
    velocity = 4 - 5 * (np.arange(size) + 0.5) / size
    time = (np.arange(size) + 0.5) / size
    image = np.where(abs(velocity[:, None] - 2 - np.sin(4 * np.pi * time)) < 0.1, 1.0, -1.0)
    table = make_table(user="a", split="train", recording=["1"]).assign(velocity_min_mps=-1.0, velocity_max_mps=4.0)
    return SpectrogramSet(image[None, None].astype(np.float32), table, "leg")


def test_at_another_tempo_velocities_and_times_change_together() -> None:
    data = swinging()
    windows = WindowCutter.of(data, AugmentConfig(tempo=0.1))
    assert len(windows.views) == VIEWS
    assert windows.views[0].tempo == 1
    assert len({view.tempo for view in windows.views}) == VIEWS
    assert all(0.9 < view.tempo < 1.11 for view in windows.views)
    np.testing.assert_array_equal(windows.cut(windows.views[0]), data.images[0])
    slower = windows.cut(replace(windows.views[0], tempo=0.9))[0]
    velocity = 4 - 5 * (np.arange(64) + 0.5) / 64
    time = 0.5 + ((np.arange(64) + LOOKUP) / 64 - 0.5) * 0.9
    ridge = np.array([velocity[column > 0].mean() for column in slower.T])
    np.testing.assert_allclose(ridge, 0.9 * (2 + np.sin(4 * np.pi * time)), atol=0.12)


def test_tempo_needs_axes_and_flips_are_refused_with_them() -> None:
    data = swinging()
    bare = SpectrogramSet(data.images, data.table.drop(columns=["velocity_min_mps", "velocity_max_mps"]))
    with pytest.raises(MdgenError, match="where velocity is 0"):
        WindowCutter.of(bare, AugmentConfig(tempo=0.1))
    for change in (AugmentConfig(flip=True), AugmentConfig(crop=2)):
        with pytest.raises(MdgenError, match="turn time round"):
            WindowCutter.of(data, change)


def test_natural_images_are_flipped_and_moved_with_mirrored_edges() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    data = SpectrogramSet(image, make_table(user="a", split="train", recording=["1"]))
    windows = WindowCutter.of(data, AugmentConfig(flip=True, crop=2))
    cuts = [windows.cut(view) for view in windows.views]
    np.testing.assert_array_equal(cuts[0], image[0])
    assert {view.mirrored for view in windows.views} == {False, True}
    padded = np.pad(image[0], ((0, 0), (2, 2), (2, 2)), mode="reflect")
    crops = [padded[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    known = [*crops, *(crop[..., ::-1] for crop in crops)]
    assert all(any(np.array_equal(cut, crop) for crop in known) for cut in cuts)
    assert len({cut.tobytes() for cut in cuts}) == VIEWS
    alone = WindowCutter.of(data, AugmentConfig(flip=True))
    assert len(alone.views) == 2
    np.testing.assert_array_equal(alone.cut(alone.views[1]), image[0][..., ::-1])
    again = WindowCutter.of(data, AugmentConfig(flip=True, crop=2))
    assert windows.fingerprint() == again.fingerprint()
    assert windows.fingerprint() != alone.fingerprint()
