"""Importing: folders of pictures become data sets with recordings and roles, or one line says why not."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from mdgen.data.dataset import ROLES, read_dataset, write_dataset
from mdgen.data.importer import import_folder
from mdgen.errors import MdgenError


def values(length: int, seed: int, size: int = 32) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, length)), 1)
    return np.clip(0.5 + 2 * noise, 0, 1)


def folder_of(root: Path, kind: str = "gray", users: tuple[str, ...] = ("ID_2", "ID_10"), count: int = 24) -> Path:
    """Windows that overlap by 75 %, in four recordings per user with gaps of numbers between them."""
    for u, user in enumerate(users):
        (root / user).mkdir(parents=True)
        for i in range(count):
            recording, place = divmod(i, count // 4)
            whole = values(32 + 8 * count, 10 * u + recording)
            window, number = whole[:, 8 * place : 8 * place + 32], i + 1 + 10 * recording
            save(root / user / f"{user}_case1_{number}", window, kind)
    return root


def save(stem: Path, window: np.ndarray, kind: str) -> None:
    if kind == "npy":
        np.save(stem.with_suffix(".npy"), (60 * window - 90).astype(np.float32))
    elif kind == "gray":
        Image.fromarray((window * 255).round().astype(np.uint8)).save(stem.with_suffix(".png"))
    else:
        pixels = (matplotlib.colormaps[kind](window)[..., :3] * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(stem.with_suffix(".png"))


@pytest.mark.parametrize("kind", ["gray", "jet", "viridis"])
def test_pictures_become_values_recordings_and_roles_that_do_not_leak(tmp_path: Path, kind: str) -> None:
    data, report = import_folder(folder_of(tmp_path / "in", kind), size=32)
    assert data.users == ["ID_2", "ID_10"]
    truth = np.stack([values(224, r)[:, 8 * p : 8 * p + 32] for r in range(4) for p in range(6)]) * 2 - 1
    assert np.abs(data.images[data.table["user"] == "ID_2", 0] - truth).max() < 0.05
    assert (data.table.groupby("user")["recording"].nunique() == 4).all()
    assert (data.table.groupby("user")["split"].unique().map(set) == set(ROLES)).all()
    assert (data.table.groupby(["user", "recording"])["split"].nunique() == 1).all()
    text = "\n".join(report.lines)
    assert "leak share: 0.0%" in text
    assert ("gray" if kind == "gray" else f"colour map {kind}") in text


def test_an_import_survives_writing_and_reading(tmp_path: Path) -> None:
    data, _ = import_folder(folder_of(tmp_path / "in"), size=16)
    again = read_dataset(write_dataset(data, tmp_path / "out"))
    assert data.images.shape[2:] == (16, 16)
    assert np.abs(again.images - data.images).max() < 1 / 65535
    assert again.table["split"].tolist() == data.table["split"].tolist()
    assert np.array_equal(again.table["start_column"], data.table["start_column"])


def test_arrays_in_db_are_scaled_to_their_own_peak_and_say_so(tmp_path: Path) -> None:
    data, _ = import_folder(folder_of(tmp_path / "in", "npy"), size=None, dynamic_range_db=40)
    assert np.allclose(data.images.max((1, 2, 3)), 1)
    assert np.allclose(data.table["db_max"] - data.table["db_min"], 40)
    level = np.load(tmp_path / "in/ID_2/ID_2_case1_1.npy")
    restored = (data.images[0, 0] + 1) / 2 * 40 + data.table["db_min"][0]
    assert np.allclose(restored, np.maximum(level, level.max() - 40), atol=1e-4)


def test_users_come_from_file_names_where_a_pattern_is_given(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    for i in range(32):
        save(tmp_path / ("deep/er" if i % 2 else "deep") / f"P{i % 2:03d}_S{i // 8}_{i}", values(32, i), "gray")
    data, _ = import_folder(tmp_path, size=None, user_pattern=r"P(?P<user>\d+)_S(?P<session>\d)")
    assert data.users == ["000", "001"]
    assert (data.table.groupby(["user", "session"])["split"].nunique() == 1).all()
    assert import_folder(tmp_path, size=None, user_pattern=r"P(\d+)")[0].users == ["000", "001"]


def test_blocks_of_numbers_are_sessions_and_recordings(tmp_path: Path) -> None:
    data, _ = import_folder(folder_of(tmp_path / "in"), size=None, session_length=13, recording_length=5)
    numbers = data.table["file"].str.extract(r"_(\d+)\.png")[0].astype(int)
    assert data.table["session"].tolist() == [f"s{(n - 1) // 13 + 1:03d}" for n in numbers]
    assert data.table["recording"].tolist() == [f"r{(n - 1) // 5 + 1:03d}" for n in numbers]


def test_a_recording_cut_between_roles_is_named_by_its_parts(tmp_path: Path) -> None:
    data, _ = import_folder(folder_of(tmp_path / "in"), size=32, recording_length=1000)
    assert (data.table.groupby(["user", "recording"])["split"].nunique() == 1).all()


def test_progress_counts_to_the_number_of_files(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    import_folder(folder_of(tmp_path / "in"), size=None, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 48) for i in range(48)]


def spoil(root: Path, name: str) -> None:
    first = root / "ID_2/ID_2_case1_1.png"
    if name == "text":
        first.write_text("not a picture")
    elif name == "size":
        save(first, values(40, 0, 40), "gray")
    elif name == "colour":
        save(first, values(32, 0), "jet")
    elif name == "natural":
        noise = np.random.default_rng(0)
        for file in root.rglob("*.png"):
            Image.fromarray(noise.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(file)
    elif name == "kinds":
        save(first.with_name("extra_99"), values(32, 0), "npy")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("text", r"ID_2_case1_1.png: is not a PNG or JPEG"),
        ("size", r"is \d+x\d+ but .* is \d+x\d+; give a size"),
        ("colour", r"ID_2_case1_1.png: is coloured but most other pictures are gray"),
        ("natural", r"no known colour map"),
        ("kinds", r"mixes pictures and .npy"),
    ],
)
def test_spoiled_pictures_are_refused_by_name(tmp_path: Path, fault: str, message: str) -> None:
    root = folder_of(tmp_path / "in")
    spoil(root, fault)
    with pytest.raises(MdgenError, match=message) as caught:
        import_folder(root, size=None)
    assert "\n" not in str(caught.value)


def test_mixed_sizes_are_brought_to_one_when_a_size_is_given(tmp_path: Path) -> None:
    root = folder_of(tmp_path / "in")
    spoil(root, "size")
    assert import_folder(root, size=16)[0].images.shape[1:] == (1, 16, 16)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_arrays_with_nan_are_refused(tmp_path: Path, bad: float) -> None:
    root = folder_of(tmp_path / "in", "npy")
    np.save(root / "ID_10/ID_10_case1_1.npy", np.full((32, 32), bad, np.float32))
    with pytest.raises(MdgenError, match=r"ID_10_case1_1.npy: holds NaN"):
        import_folder(root)


def test_folders_without_people_to_tell_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MdgenError, match="no such folder"):
        import_folder(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MdgenError, match="holds no spectrograms"):
        import_folder(tmp_path / "empty")
    with pytest.raises(MdgenError, match="only one user, 'solo'"):
        import_folder(folder_of(tmp_path / "one", users=("solo",)))


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "not a regular"), ("ID", "no group"), ("(XX)", "does not match")]
)
def test_user_patterns_that_find_nobody_are_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(MdgenError, match=message):
        import_folder(folder_of(tmp_path / "in"), user_pattern=pattern)
