"""Windows with the same signal are found, honest ones are left alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.duplicates import find_shared_signal, native_side
from mdgen.data.simulator import simulate


@pytest.fixture(scope="module")
def walkers() -> SpectrogramSet:
    return simulate(users=4, sessions=4, windows=4, size=64, seed=5)


def with_row(data: SpectrogramSet, image: np.ndarray, **columns: str) -> SpectrogramSet:
    """`data` and one more window."""
    row = data.table.iloc[[0]].assign(file="planted", **columns)
    table = pd.concat([data.table, row], ignore_index=True)
    return replace(data, images=np.concatenate([data.images, image[None]]), table=table)


def test_honest_windows_share_nothing(walkers):
    assert len(find_shared_signal(walkers).pairs) == 0


def test_an_identical_picture_under_another_name_is_found(walkers):
    found = find_shared_signal(with_row(walkers, walkers.images[20], user="somebody else"))
    assert found.pairs[["first", "second", "kind"]].to_numpy().tolist() == [[20, 64, "identical"]]
    assert found.count(other_user=True) == 1


@pytest.mark.parametrize("shift", [-15, 6, 20])
def test_a_shifted_noisy_louder_window_is_found_with_its_shift(walkers, shift):
    rng = np.random.default_rng(0)
    other = walkers.images[50]
    image = np.roll(walkers.images[7], -shift, axis=-1)
    fresh = slice(-shift, None) if shift > 0 else slice(0, -shift)
    image[..., fresh] = other[..., fresh]
    image = (0.9 * image + 0.05 * rng.normal(size=image.shape) - 0.05).clip(-1, 1).astype(np.float32)
    pairs = find_shared_signal(with_row(walkers, image)).pairs
    row = pairs[pairs["first"] == 7].iloc[0]
    assert (row["kind"], row["shift"]) == ("overlap", shift)


def test_a_pair_across_train_and_test_is_named(walkers):
    trained = int(np.flatnonzero(walkers.table["split"] == "train")[0])
    for role, crossing in (("test", 1), ("train", 0)):
        found = find_shared_signal(with_row(walkers, walkers.images[trained], split=role))
        assert found.count(other_role=True) == crossing


def test_blown_up_pictures_are_told_from_native_ones(walkers):
    large = walkers.images.repeat(2, axis=2).repeat(2, axis=3)
    smooth = (large + np.roll(large, 1, 2) + np.roll(large, 1, 3) + np.roll(large, (1, 1), (2, 3))) / 4
    assert native_side(walkers.images) == 64
    assert native_side(smooth) == 64
