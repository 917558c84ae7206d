"""Each format gives back the numbers that were put in, with whose they are."""

import gzip
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from mdgen.data.importing.formats import Source
from mdgen.errors import MdgenError
from tests.data.importing.material import imported, values

USERS, COUNT = 2, 16
STACK = np.stack([values(24, seed, 24) for seed in range(USERS * COUNT)]) * 2 - 1
NAMES = np.repeat(["ann", "bob"], COUNT)


def level(image: np.ndarray) -> np.ndarray:
    """dB between -90 and -30 for [-1, 1]."""
    return 30 * image - 60


def matlab73(file: Path, **arrays: np.ndarray) -> None:
    """As MATLAB's `save -v7.3`: axes reversed, a user block in front."""
    with h5py.File(file, "w", userblock_size=512) as h5:
        for name, array in arrays.items():
            h5[name] = array.T
    with open(file, "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(512))


def nested_struct(file: Path) -> None:
    cells = np.empty((2, COUNT), object)
    for i, image in enumerate(STACK):
        cells[i // COUNT, i % COUNT] = level(image)
    scipy.io.savemat(file, {"Data": {"Doppler": cells, "note": "text"}})


def hdf5_groups(file: Path) -> None:
    with h5py.File(file, "w") as h5:
        for i, image in enumerate(STACK):
            h5[f"{NAMES[i]}/w{i:02d}"] = image
        h5["time_axis"] = np.arange(24)
        h5["link"] = h5py.ExternalLink("/etc/passwd", "x")
        h5["loop"] = h5["ann"]


def hdf5_stack(file: Path) -> None:
    with h5py.File(file, "w") as h5:
        h5["radar/images"], h5["radar/user"] = STACK, NAMES.astype(h5py.string_dtype())
        h5["objects"] = np.array([h5["radar"].ref], dtype=h5py.ref_dtype)


def npy_folder(folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "X.npy", STACK)
    np.save(folder / "y.npy", np.repeat([7, 8], COUNT))


def idx_files(folder: Path) -> None:
    folder.mkdir()
    images = ((STACK + 1) * 127.5).round().astype(np.uint8)
    header = bytes([0, 0, 8, 3]) + np.array(images.shape, ">u4").tobytes()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
    header = bytes([0, 0, 8, 1]) + np.array([len(images)], ">u4").tobytes()
    (folder / "train-labels-idx1-ubyte").write_bytes(header + np.repeat([0, 1], COUNT).astype(np.uint8).tobytes())


def parquet(folder: Path) -> None:
    manifest(folder, lambda table: table.to_parquet(folder / "manifest.parquet"))


def semicolons(folder: Path) -> None:
    manifest(
        folder,
        lambda t: t.rename(columns={"file": "File_Name", "user": "Subject"}).to_csv(
            folder / "list.csv", sep=";", index=False, encoding="utf-8-sig", lineterminator="\r\n"
        ),
    )


def manifest(folder: Path, write: Callable[[pd.DataFrame], object]) -> None:
    (folder / "any/where").mkdir(parents=True)
    files = [f"any/where/{i}.npy" for i in range(len(STACK))]
    for file, image in zip(files, STACK, strict=True):
        np.save(folder / file, image.astype(np.float32))
    write(pd.DataFrame({"file": files, "user": NAMES, "session": "s1", "recording": [f"r{i // 4}" for i in range(32)]}))


def csv_matrices(folder: Path) -> None:
    for i, image in enumerate(STACK):
        (folder / NAMES[i]).mkdir(parents=True, exist_ok=True)
        separator = (",", ";", "\t", " ")[i % 4]
        lines = [separator.join(f"{v:.6f}" for v in row) for row in level(image)]
        text = "\n".join(lines)
        (folder / NAMES[i] / f"{i}.csv").write_text(text.replace(".", ",") if separator == ";" else text)


SOURCES: dict[str, tuple[Callable[[Path], object], str, list[str]]] = {
    "npz": (lambda f: np.savez_compressed(f, x=STACK, y=NAMES), "set.npz", ["ann", "bob"]),
    "npz float32": (lambda f: np.savez(f, images=STACK.astype("f4"), labels=NAMES), "set.npz", ["ann", "bob"]),
    "mat v5 pages": (
        lambda f: scipy.io.savemat(f, {"data": np.moveaxis(level(STACK), 0, -1), "label": np.repeat([1.0, 2], COUNT)}),
        "set.mat",
        ["1", "2"],
    ),
    "mat v7.3 pages": (
        lambda f: matlab73(f, data=np.moveaxis(level(STACK), 0, -1), user=np.repeat([[1.0, 2]], COUNT).reshape(1, -1)),
        "set.mat",
        ["1", "2"],
    ),
    "hdf5 stack": (hdf5_stack, "set.h5", ["ann", "bob"]),
    "hdf5 groups": (hdf5_groups, "set.hdf5", ["ann", "bob"]),
    "npy folder": (npy_folder, "arrays", ["7", "8"]),
    "idx": (idx_files, "mnist", ["0", "1"]),
    "parquet manifest": (parquet, "listed", ["ann", "bob"]),
    "semicolon manifest": (semicolons, "listed", ["ann", "bob"]),
    "csv matrices": (csv_matrices, "text", ["ann", "bob"]),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_a_format_gives_its_numbers_and_users_back(tmp_path: Path, kind: str) -> None:
    make, name, users = SOURCES[kind]
    make(tmp_path / name)
    data, text = imported(tmp_path / name, tmp_path / "out", size=None, dynamic_range_db=60, orientation="keep")
    assert data.users == users, text
    assert data.table["user"].value_counts().tolist() == [COUNT, COUNT]
    order = np.argsort(
        [int("".join(filter(str.isdigit, s.rsplit("#")[-1].rsplit("/")[-1]))) for s in data.table["source"]]
    )
    found = data.images[order, 0]
    in_db = "values in dB" in text
    wanted = np.clip(1 + STACK - STACK.max((1, 2), keepdims=True), -1, 1) if in_db else STACK
    assert np.abs(found - wanted).max() < (0.005 if kind == "idx" else 1e-4)


def test_cells_nested_in_structs_are_found_and_labelled_by_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for person in "AB":
        nested_struct(tmp_path / "in" / f"Person_{person}_doppler.mat")
    data, _ = imported(
        tmp_path / "in", tmp_path / "out", size=None, user_from_name=r"Person_(?P<user>[A-F]).*::.*\{(?P<number>\d+)\}"
    )
    assert data.users == ["A", "B"]
    assert len(data) == 64
    assert data.table["source"][0] == "Person_A_doppler.mat::Data.Doppler{0}"


def test_complex_arrays_become_decibels(tmp_path: Path) -> None:
    for i, image in enumerate(STACK):
        (tmp_path / "in" / NAMES[i]).mkdir(parents=True, exist_ok=True)
        amplitude = 10 ** (level(image) / 20)
        scipy.io.savemat(
            tmp_path / "in" / NAMES[i] / f"{i}.mat", {"S": amplitude * np.exp(1j * image), "t": np.arange(24.0)}
        )
    data, text = imported(tmp_path / "in", tmp_path / "out", size=None, dynamic_range_db=60)
    assert "linear amplitude" in text
    wanted = np.clip(1 + STACK[0] - STACK[0].max(), -1, 1)
    assert np.abs(data.images[0, 0] - wanted).max() < 1e-4


@pytest.mark.parametrize(
    ("factor", "words"), [(20, "linear amplitude"), (10, "linear power")], ids=["amplitude", "power"]
)
def test_linear_values_are_told_from_decibels(tmp_path: Path, factor: int, words: str) -> None:
    (tmp_path / "in").mkdir()
    images = np.stack([values(32, s) for s in range(12)])
    decibel = 60 * (images - images.max()) * (1 if factor == 20 else 1.3)
    np.savez(tmp_path / "in/set.npz", x=10 ** (decibel / factor), y=["a"] * 6 + ["b"] * 6)
    _, text = imported(tmp_path / "in/set.npz", tmp_path / "out", size=None, fractions={"train": 0.5, "test": 0.5})
    assert words in text
    assert "not known: whether linear values are amplitude or power" in text


def test_arrays_with_time_along_rows_are_turned(tmp_path: Path) -> None:
    turned = np.stack([values(32, s).T for s in range(16)])
    np.savez(tmp_path / "set.npz", x=turned * 2 - 1, y=["a"] * 8 + ["b"] * 8)
    split = {"train": 0.5, "test": 0.5}
    data, text = imported(tmp_path / "set.npz", tmp_path / "out", size=None, fractions=split)
    assert "rows are time, columns Doppler" in text
    assert np.abs(data.images[0, 0] - (values(32, 0) * 2 - 1)).max() < 1e-4
    told, _ = imported(
        tmp_path / "set.npz", tmp_path / "told", size=None, fractions=split, orientation="transpose-flip"
    )
    assert np.array_equal(told.images[:, :, ::-1], data.images)


def test_axes_titles_and_colour_bars_are_cut_off(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4, 3), dpi=100)
    shown = axes.imshow(values(64, 0, 64), cmap="jet", aspect="auto", interpolation="nearest", vmin=0, vmax=1)
    figure.colorbar(shown)
    axes.set_title("user")
    for i in range(10):
        (tmp_path / "in" / "ab"[i // 5]).mkdir(parents=True, exist_ok=True)
        shown.set_data(values(64, i, 64))
        figure.savefig(tmp_path / "in" / "ab"[i // 5] / f"{i}.png")
    plt.close(figure)
    split = {"train": 0.5, "test": 0.5}
    data, text = imported(tmp_path / "in", tmp_path / "out", size=32, fractions=split)
    assert "warning: axes or borders cut off" in text
    wanted = (values(64, 0, 64) * 2 - 1).reshape(32, 2, 32, 2).mean((1, 3))
    assert np.corrcoef(data.images[0, 0].ravel(), wanted.ravel())[0, 1] > 0.97
    assert np.abs(data.images[0, 0] - wanted).mean() < 0.06


def test_several_matrices_in_a_file_are_asked_about(tmp_path: Path) -> None:
    (tmp_path / "in/ann").mkdir(parents=True)
    for i in range(8):
        scipy.io.savemat(tmp_path / f"in/ann/{i}.mat", {"first": level(STACK[i]), "second": np.ones((9, 30))})
    with pytest.raises(MdgenError, match=r"holds several matrices \(first \(24, 24\), second \(9, 30\)\); choose with"):
        imported(tmp_path / "in", tmp_path / "out")
    split = {"train": 0.5, "test": 0.5}
    data, _ = imported(tmp_path / "in", tmp_path / "out", size=None, array="fir*", fractions=split)
    assert data.images.shape == (8, 1, 24, 24)


def test_a_stack_is_read_entry_by_entry(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "set.npz", x=STACK)
    source = Source(tmp_path)
    for index in (3, 4, 1, 31):
        assert np.array_equal(source.read("set.npz", "x", index), STACK[index])
    with pytest.raises(MdgenError, match="the array ends early"):
        source.read("set.npz", "x", 32)
