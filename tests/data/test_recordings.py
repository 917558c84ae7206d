"""Recordings: chains of overlapping windows are found, broken where they end, and stitched back exactly."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.data.overlaps import block_names, find_recordings
from mdgen.data.recordings import LOOKUP, stitch


def signal(length: int, seed: int) -> np.ndarray:
    """float32 [1, 32, length]: smooth noise with a ridge that all recordings share, in [-1, 1]."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(1, 32, length)), (0, 1, 1.5))
    ridge = np.exp(-(((np.arange(32) - 20) / 3) ** 2))[None, :, None]
    return np.clip(ridge + 1.5 * noise - 0.6, -1, 1).astype(np.float32)


def windows(length: int, shift: int, seed: int, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    whole, starts = signal(length, seed), np.arange(0, length - width + 1, shift)
    return np.stack([whole[..., s : s + width] for s in starts]), starts


def data_of(images: np.ndarray, **columns: object) -> SpectrogramSet:
    return SpectrogramSet(images, make_table(user="a", session="", recording="r", **columns))  # type: ignore[arg-type]


def test_chains_are_found_without_names_and_start_where_they_were_cut() -> None:
    parts = [windows(32 + 8 * 11, 8, seed) for seed in range(3)]
    images = np.concatenate([p for p, _ in parts])
    plan = find_recordings(images, ["a"] * 36, range(36))
    assert plan.table["recording"].tolist() == [f"r{i // 12 + 1:03d}" for i in range(36)]
    assert np.array_equal(plan.table["start_column"], np.concatenate([s for _, s in parts]))
    assert plan.overlap["a"] == pytest.approx(0.75)


def test_a_shuffled_folder_gives_the_same_recordings() -> None:
    images = np.concatenate([windows(120, 8, seed)[0] for seed in range(2)])
    order = np.random.default_rng(0).permutation(len(images))
    straight = find_recordings(images, ["a"] * len(images), range(len(images))).table.iloc[order].reset_index(drop=True)
    assert find_recordings(images[order], ["a"] * len(images), order).table.equals(straight)


def test_missing_numbers_end_a_recording_only_when_nothing_overlaps_across_them() -> None:
    images, _ = windows(32 + 8 * 24, 8, 0)
    numbers = np.arange(25)
    short, long = np.delete(numbers, [8, 9]), np.delete(numbers, [8, 9, 10, 11])
    assert find_recordings(images[short], ["a"] * 23, short).table["recording"].nunique() == 1
    assert find_recordings(images[long], ["a"] * 21, long).table["recording"].nunique() == 2


def test_pictures_that_do_not_overlap_are_left_to_their_numbers() -> None:
    images = np.concatenate([signal(32, seed)[None] for seed in range(30)])
    numbers = [*range(1, 16), *range(20, 35)]
    plan = find_recordings(images, ["a"] * 30, numbers)
    assert plan.overlap["a"] == 0
    assert plan.table["start_column"].isna().all()
    assert plan.table["recording"].tolist() == ["r001"] * 15 + ["r002"] * 15
    assert "no overlap" in plan.lines[0]
    assert "each taken for one recording" in plan.lines[0]


def test_gains_of_single_windows_do_not_break_a_chain() -> None:
    images, _ = windows(32 + 8 * 15, 8, 1)
    gains = np.random.default_rng(0).uniform(0.8, 1, (16, 1, 1, 1))
    assert find_recordings((images + 1) * gains - 1, ["a"] * 16, range(16)).table["recording"].nunique() == 1


def test_windows_stretched_from_different_durations_are_chained_in_their_own_time() -> None:
    whole, rng = signal(400, 2), np.random.default_rng(1)
    spans, starts = rng.integers(24, 31, 24), np.cumsum([0, *rng.integers(6, 8, 23)])
    stretched = [
        whole[..., s + ((np.arange(32) + LOOKUP) * n / 32).astype(int)] for s, n in zip(starts, spans, strict=True)
    ]
    plan = find_recordings(np.stack(stretched), ["a"] * 24, range(24), spans)
    assert np.array_equal(plan.table["native_start"], starts)
    data = data_of(np.stack(stretched), native_start=starts.tolist(), native_columns=spans.tolist())
    (piece,) = stitch(data)
    assert np.array_equal(piece.image, whole[..., : (starts + spans).max()])


@pytest.mark.parametrize("shift", [1, 7, 8, 32])
def test_cutting_and_stitching_gives_the_array_back(shift: int) -> None:
    images, starts = windows(160, shift, 3)
    order = np.random.default_rng(0).permutation(len(images))
    (piece,) = stitch(data_of(images[order], start_column=starts[order].astype(float).tolist()))
    assert np.array_equal(piece.image, signal(160, 3)[..., : starts[-1] + 32])


def test_windows_scaled_to_their_own_peak_are_brought_to_one_scale() -> None:
    images, starts = windows(160, 8, 4)
    scaled = (images + 1) * np.random.default_rng(0).uniform(0.7, 1, (len(images), 1, 1, 1)) - 1
    (piece,) = stitch(data_of(scaled.astype(np.float32), start_column=starts.astype(float).tolist()))
    levels, truth = piece.image + 1, signal(160, 4) + 1
    gain = (levels * truth).sum() / (truth**2).sum()
    assert np.abs(levels - gain * truth).max() < 1e-4


def test_nothing_is_stitched_across_roles_or_gaps() -> None:
    images, starts = windows(160, 8, 5)
    split = ["train"] * 5 + ["unused"] * 3 + ["test"] * (len(images) - 8)
    pieces = stitch(data_of(images, start_column=starts.astype(float).tolist(), split=split))
    assert [p.split for p in pieces] == ["train", "unused", "test"]
    keep = np.r_[0:4, 9:17]
    pieces = stitch(data_of(images[keep], start_column=starts[keep].astype(float).tolist()))
    assert [p.image.shape[-1] for p in pieces] == [32 + 3 * 8, 32 + 7 * 8]


def test_windows_without_a_start_are_recordings_of_their_own() -> None:
    images, _ = windows(160, 8, 6)
    pieces = stitch(data_of(images, split=[""] * len(images)))
    assert len(pieces) == len(images)
    assert all(np.array_equal(p.image, w) for p, w in zip(pieces, images, strict=True))


def test_blocks_of_numbers_count_from_the_lowest() -> None:
    assert block_names([1, 25, 26, 51], 25, "r") == ["r001", "r001", "r002", "r003"]
    assert block_names([0, 24, 25], 25, "r") == ["r001", "r001", "r002"]
