"""Stacks: pictures come back from any row in any order, to the bit, and what is no stack is one line."""

import os
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mdgen.data.images import read_pixels
from mdgen.data.stacks import Stack, from_levels, one_file_each, to_levels
from mdgen.errors import MdgenError


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_what_is_written_in_any_order_is_read_in_any_order(tmp_path: Path, dtype: str, channels: tuple[int]) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (7, 5, 6, *channels)).astype(np.float32)
    stored = to_levels(images, np.dtype(dtype))
    stack = Stack.create(tmp_path / "s.npy", stored.shape, stored.dtype)
    for row in (6, 0, 3, 5, 1, 2, 4):
        stack.write(row, stored[row])
    stack.close(sync=True)
    assert np.array_equal(np.load(tmp_path / "s.npy"), stored)
    rows = np.array([4, 5, 6, 0, 2, 2])
    read = Stack(tmp_path / "s.npy")[rows]
    wanted = images[rows].transpose(0, 3, 1, 2) if channels else images[rows][:, None]
    assert read.dtype == np.float32
    assert np.abs(read - wanted).max() <= {"uint8": 1 / 255, "uint16": 1.1 / 65535, "float32": 0}[dtype]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_level_comes_back_as_itself(dtype: type) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    assert np.array_equal(to_levels(from_levels(levels), np.dtype(dtype)), levels)


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4)), np.zeros((3, 4, 4), int), np.zeros((2, 1, 4, 4), "f4"), np.zeros((3, 4, 4), "f4", "F")]
)
def test_other_arrays_are_no_stacks(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "s.npy", array)
    with pytest.raises(MdgenError, match="no stack of pictures"):
        Stack(tmp_path / "s.npy")


def test_a_stack_that_was_cut_off_is_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((9, 4, 4), np.uint8))
    content = (tmp_path / "s.npy").read_bytes()
    (tmp_path / "s.npy").write_bytes(content[:-20])
    with pytest.raises(MdgenError, match="no whole picture"):
        Stack(tmp_path / "s.npy")[np.arange(9)]
    (tmp_path / "s.npy").write_bytes(b"")
    with pytest.raises(MdgenError, match="cannot be read"):
        Stack(tmp_path / "s.npy")


def test_more_stacks_than_a_process_may_open_become_one_file_each(tmp_path: Path) -> None:
    names = [f"{number}.npy" for number in range(60)]
    for number, name in enumerate(names):
        np.save(tmp_path / name, np.full((2, 4, 4), number, np.uint8))
    table = pd.DataFrame({"file": [f"{name}#{row}" for name in names for row in (1, 0)]})
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 20, limits[1]))
        table = one_file_each(tmp_path, table)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [read_pixels(tmp_path / file)[0, 0] for file in table["file"]] == [n for n in range(60) for _ in range(2)]
    assert [file.name for file in tmp_path.iterdir()] == ["images"]


def test_a_picture_that_the_disk_has_no_room_for_is_an_error(tmp_path: Path) -> None:
    stack = Stack.create(tmp_path / "s.npy", (2, 8, 8), np.dtype(np.uint8))
    room = (tmp_path / "s.npy").stat().st_size - 10
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        stack.write(0, np.full((8, 8), 7, np.uint8))
        with pytest.raises(OSError, match="too large"):
            stack.write(1, np.full((8, 8), 7, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert np.array_equal(stack.levels(0), np.full((8, 8), 7))
    stack.close()
