"""The data contract: what is written is read back, names stay data, and bad files are refused by name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mdgen.data.dataset import (
    KEY_COLUMNS,
    SpectrogramSet,
    make_table,
    read_dataset,
    user_folder_files,
    write_dataset,
)
from mdgen.data.folders import atomic_folder
from mdgen.data.inspect import describe, describe_lines
from mdgen.errors import MdgenError

HOSTILE = ["001", "NA", "../../x", "=cmd()", "a,b", 'quo"te', "nan", "名"]


def data_of(users: list[str], channels: int = 1) -> SpectrogramSet:
    images = np.random.default_rng(0).uniform(-1, 1, (len(users), channels, 8, 6)).astype(np.float32)
    return SpectrogramSet(images, make_table(user=users, session="007", split=["train"] * len(users)))


def manifest_of(root: Path, **columns: list[str]) -> Path:
    pd.DataFrame(columns).to_csv(root / "manifest.csv", index=False)
    return root


def test_a_written_set_is_read_back_within_a_sixteen_bit_step(tmp_path: Path) -> None:
    data = data_of(HOSTILE)
    again = read_dataset(write_dataset(data, tmp_path / "out"))
    assert np.abs(again.images - data.images).max() <= 1 / 65535 + 1e-6
    assert again.table["user"].tolist() == HOSTILE
    assert set(again.table["session"]) == {"007"}


def test_colour_is_kept_exactly(tmp_path: Path) -> None:
    data = data_of(["a", "b"], channels=3)
    assert np.array_equal(read_dataset(write_dataset(data, tmp_path / "out")).images, data.images)


def test_user_names_never_become_paths(tmp_path: Path) -> None:
    write_dataset(data_of(HOSTILE), tmp_path / "deep/out")
    written = {p.relative_to(tmp_path / "deep/out").as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {"manifest.csv", *(f"images/{i:05d}.png" for i in range(len(HOSTILE)))}


@pytest.mark.parametrize("file", ["../outside.png", "/etc/hostname", "images/../../outside.png"])
def test_files_outside_the_folder_are_refused(tmp_path: Path, file: str) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "outside.png")
    (tmp_path / "in").mkdir()
    with pytest.raises(MdgenError, match="outside the data set"):
        read_dataset(manifest_of(tmp_path / "in", file=[file], user=["a"]))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "outside.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(MdgenError, match="outside the data set"):
        read_dataset(manifest_of(tmp_path / "in", file=["link.png"], user=["a"]))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), 3.0), "scale dB"),
        (np.zeros((2, 4, 4)), "has shape"),
        (np.zeros((4, 4), np.int64), "has shape"),
    ],
)
def test_bad_arrays_are_refused_by_name(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(MdgenError, match=rf"x\.npy.*{message}"):
        read_dataset(manifest_of(tmp_path, file=["x.npy"], user=["a"]))


def test_a_name_may_hold_the_sign_that_names_rows(tmp_path: Path) -> None:
    stack = np.linspace(-1, 1, 3 * 16, dtype=np.float32).reshape(3, 4, 4)
    Image.new("L", (4, 4), 255).save(tmp_path / "walk#1.png")
    np.save(tmp_path / "#2.npy", stack)
    data = read_dataset(manifest_of(tmp_path, file=["walk#1.png", "#2.npy#2", "#2.npy#0"], user=["a", "b", "b"]))
    np.testing.assert_array_equal(data.images[:, 0], [np.ones((4, 4)), stack[2], stack[0]])


def test_a_pickled_array_is_never_executed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MdgenError, match="without objects"):
        read_dataset(manifest_of(tmp_path, file=["x.npy"], user=["a"]))


def test_mixed_sizes_are_refused(tmp_path: Path) -> None:
    for user, side in (("a", 4), ("b", 5)):
        (tmp_path / user).mkdir()
        Image.new("L", (side, side)).save(tmp_path / user / "1.png")
    with pytest.raises(MdgenError, match=r"5x5.*4x4"):
        read_dataset(tmp_path)


def test_a_bare_folder_is_read_in_natural_order_with_unknown_recordings(tmp_path: Path) -> None:
    for user in ("ID_10", "ID_2"):
        (tmp_path / user).mkdir()
        for number in (10, 9):
            Image.new("L", (4, 4), number).save(tmp_path / user / f"{number}.png")
    assert [(u, f.name) for u, f in user_folder_files(tmp_path)][:2] == [("ID_2", "9.png"), ("ID_2", "10.png")]
    data = read_dataset(tmp_path)
    assert data.users == ["ID_2", "ID_10"]
    assert set(data.table["recording"]) == {""}


def test_eight_and_sixteen_bit_gray_have_the_same_scale(tmp_path: Path) -> None:
    for user, pixels in (("a", np.array([[0, 51, 255]], np.uint8)), ("b", np.array([[0, 13107, 65535]], np.uint16))):
        (tmp_path / user).mkdir()
        Image.fromarray(pixels).save(tmp_path / user / "1.png")
    images = read_dataset(tmp_path).images
    assert np.allclose(images[0], images[1])
    assert np.allclose(images[0].ravel(), [-1, -0.6, 1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": ["x.npy"]}, "no column 'user'"),
        ({"file": ["x.npy"], "user": [""]}, "row 2 has no user"),
        ({"file": ["x.npy"], "user": ["a"], "split": ["exam"]}, "unknown split 'exam'"),
        ({"file": ["x.npy"], "user": ["a"], "start_column": ["left"]}, "must hold numbers"),
        ({"file": ["gone.png"], "user": ["a"]}, "gone.png: is missing"),
    ],
)
def test_bad_manifests_say_what_to_mend(tmp_path: Path, columns: dict[str, list[str]], message: str) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 4), np.float32))
    with pytest.raises(MdgenError, match=message):
        read_dataset(manifest_of(tmp_path, **columns))


def test_an_exception_while_writing_leaves_nothing_behind(tmp_path: Path) -> None:
    def write_then_fail() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "half").write_text("written")
            raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        write_then_fail()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(MdgenError, match="not empty"):
        write_dataset(data_of(["a"]), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_the_fingerprint_follows_content_and_not_storage(tmp_path: Path) -> None:
    data = read_dataset(write_dataset(data_of(["a", "b"]), tmp_path / "one"))
    assert read_dataset(write_dataset(data, tmp_path / "two")).fingerprint() == data.fingerprint()
    changed = data.images.copy()
    changed[0, 0, 0, 0] += 0.01
    others = [
        data.with_images(changed),
        *(SpectrogramSet(data.images, data.table.assign(**{column: ["x", "y"]})) for column in KEY_COLUMNS[1:]),
        data.select(np.array([1, 0])),
    ]
    assert len({data.fingerprint(), *(other.fingerprint() for other in others)}) == 7


def test_an_npz_is_read_with_its_columns(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (3, 8, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", images=images, user=np.array(["001", "NA", "b"]), split=np.array(["train"] * 3))
    data = read_dataset(tmp_path / "x.npz")
    assert np.array_equal(data.images[:, 0], images)
    assert data.table["user"].tolist() == ["001", "NA", "b"]
    np.savez(tmp_path / "y.npz", images=images, user=np.array(["a", "b"]))
    with pytest.raises(MdgenError, match="one column of 3 values"):
        read_dataset(tmp_path / "y.npz")


def test_labels_refuse_users_the_model_does_not_know() -> None:
    data = data_of(["b", "a", "b"])
    assert data.labels(["a", "b"]).tolist() == [1, 0, 1]
    with pytest.raises(MdgenError, match="unknown users"):
        data.labels(["a"])


def test_a_description_counts_every_window_once() -> None:
    data = data_of(["ID_10", "ID_2", "ID_2"])
    data.table["split"] = ["train", "train", "test"]
    counts = describe(data)
    assert counts.index.tolist() == ["ID_2", "ID_10"]
    assert counts.loc["ID_2"].to_dict() == {"train": 1, "test": 1, "windows": 2, "groups": 1}
    assert "3 windows of 2 users" in describe_lines(data)[0]
