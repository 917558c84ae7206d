"""What really lies on disks: every broken, hostile or odd file is one clear line, and nothing is written elsewhere."""

import os
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from mdgen.data.importing.importer import import_dataset
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.importing.walk import walk
from mdgen.errors import MdgenError
from tests.data.importing.material import folder_of, imported, values

GRAY = (values(32, 0) * 255).astype(np.uint8)


def png_bomb(file: Path) -> None:
    """A tiny PNG that claims 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def truncated(file: Path) -> None:
    Image.fromarray(GRAY).save(file)
    file.write_bytes(file.read_bytes()[:200])


def animated(file: Path) -> None:
    Image.fromarray(GRAY).save(file, save_all=True, append_images=[Image.fromarray(255 - GRAY)])


def rotated(file: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(GRAY).save(file.with_suffix(".jpg"), "JPEG", exif=exif)


PICTURES = {
    "empty": (lambda f: f.write_bytes(b""), "is not a PNG"),
    "html": (lambda f: f.write_text("<html>404</html>"), "is not a PNG"),
    "gif": (lambda f: Image.fromarray(GRAY).save(f, "GIF"), "is not a PNG"),
    "truncated": (truncated, "cannot be decoded"),
    "bomb": (png_bomb, "is 60000x60000|cannot be decoded"),
    "animated": (animated, "holds 2 pictures"),
    "transparent": (lambda f: Image.fromarray(np.dstack([GRAY] * 4)).save(f), "has transparent pixels"),
    "a gray level is transparent": (
        lambda f: Image.fromarray(GRAY).save(f, transparency=int(GRAY[0, 0])),
        "has transparent pixels",
    ),
    "a colour is transparent": (
        lambda f: Image.fromarray(np.dstack([GRAY] * 3)).save(f, transparency=(int(GRAY[0, 0]),) * 3),
        "has transparent pixels",
    ),
    "cmyk": (lambda f: Image.fromarray(GRAY).convert("CMYK").save(f.with_suffix(".jpg"), "JPEG"), "is a CMYK"),
    "rotated": (rotated, r"rotated \(EXIF\)"),
    "one pixel": (lambda f: Image.fromarray(GRAY[:1, :1]).save(f), "is 1x1; a spectrogram has at least"),
    "line": (lambda f: Image.fromarray(GRAY[:1]).save(f), "is 32x1"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_bad_picture_is_one_line_or_left_out(tmp_path: Path, kind: str) -> None:
    make, message = PICTURES[kind]
    source = folder_of(tmp_path / "in")
    make(source / "ID_2" / "bad_99.png")
    with pytest.raises(MdgenError, match=message) as caught:
        import_dataset(source, tmp_path / "out")
    assert "bad_99" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    data, text = imported(source, tmp_path / "out", on_error="skip")
    assert len(data) == 48
    assert "skipped: 1" in text


def object_array(file: Path) -> None:
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)


def lying_header(file: Path) -> None:
    np.save(file, np.zeros((4, 4), np.float32))
    content = file.read_bytes().replace(b"(4, 4)", b"(900000, 4)").replace(b" " * 5 + b"\n", b"\n")
    file.write_bytes(content)


def hdf5_objects(file: Path) -> None:
    with h5py.File(file, "w") as h5:
        h5["x"] = np.array([h5.ref], dtype=h5py.ref_dtype)
        h5.create_dataset("text", data="hello")
        h5.create_dataset("ragged", (3,), dtype=h5py.vlen_dtype(np.float64))


def huge_hdf5(file: Path) -> None:
    with h5py.File(file, "w") as h5:
        h5.create_dataset("x", (100_000, 100_000), np.float32, chunks=(64, 64))


ARRAYS = {
    "object.npy": (object_array, "cannot be read"),
    "lying.npy": (lying_header, "cannot be read"),
    "empty.npy": (lambda f: f.write_bytes(b""), "cannot be read"),
    "tiny.npy": (lambda f: np.save(f, np.zeros((2, 900))), "holds no spectrogram|is 900x2"),
    "text.npy": (lambda f: np.save(f, np.array([["a", "b"] * 3] * 6)), "need numbers|holds no spectrogram"),
    "nan.npy": (lambda f: np.save(f, np.full((9, 9), np.nan)), "holds NaN"),
    "inf.npy": (lambda f: np.save(f, np.where(np.eye(9) > 0, np.inf, -60)), "holds NaN or inf"),
    "silent.npy": (lambda f: np.save(f, np.full((9, 9), -np.inf)), "no value above zero|holds NaN"),
    "notzip.npz": (lambda f: f.write_bytes(b"PK\3\4 nothing"), "cannot be read"),
    "notmat.mat": (lambda f: f.write_bytes(os.urandom(400)), "cannot be read|holds no spectrogram"),
    "strings.mat": (lambda f: scipy.io.savemat(f, {"a": "text", "s": {"b": {"c": []}}}), "holds no spectrogram"),
    "objects.h5": (hdf5_objects, "holds no spectrogram"),
    "huge.h5": (huge_hdf5, "is more than a spectrogram"),
    "nothdf.h5": (lambda f: f.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 90), "cannot be read"),
    "words.csv": (lambda f: f.write_text("these are,words\nand not,numbers\n"), "cannot be read|is 2x"),
    "short.npz": (lambda f: f.write_bytes(zipped()[:-300]), "cannot be read"),
}


def zipped() -> bytes:
    import io

    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros((8, 9, 9)), y=np.arange(8))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ARRAYS)
def test_a_bad_array_file_is_one_line(tmp_path: Path, name: str) -> None:
    make, message = ARRAYS[name]
    (tmp_path / "in/a").mkdir(parents=True)
    make(tmp_path / "in/a" / name)
    for on_error in ("stop", "skip"):
        with pytest.raises(MdgenError, match=message) as caught:
            import_dataset(tmp_path / "in", tmp_path / "out", ImportSettings(on_error=on_error))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


ROWS = {
    "parent": ("../../outside.png,x", "must be a path below"),
    "absolute": ("/etc/passwd,x", "must be a path below"),
    "windows": ("C:\\secret.png,x", "must be a path below"),
    "link": ("link/secret.png,x", "must be a path below"),
    "nobody": ("ID_2/unlisted.png,", "has no user"),
    "no file": (",x", "must be a path below"),
    "missing": ("ID_2/none.png,x", "is missing"),
    "twice": ("ID_2/ID_2_w1.png,other", "is in several rows that differ"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_bad_manifest_row_is_one_line_or_left_out(tmp_path: Path, kind: str) -> None:
    row, message = ROWS[kind]
    source = folder_of(tmp_path / "in")
    (tmp_path / "secret.png").write_bytes((source / "ID_2/ID_2_w1.png").read_bytes())
    (source / "link").symlink_to(tmp_path)
    files = [f"{f.parent.name}/{f.name}" for f in sorted(source.glob("ID_*/*.png"))]
    rows = "\n".join(f"{f},{f[:4].strip('/')}" for f in files)
    (source / "manifest.csv").write_text(f"file,user\n{rows}\n{files[-1]},{files[-1][:4].strip('/')}\n{row}\n")
    with pytest.raises(MdgenError, match=message) as caught:
        import_dataset(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    data, text = imported(source, tmp_path / "out", on_error="skip")
    assert len(data) == (47 if kind == "twice" else 48)
    assert "skipped" in text
    assert "1 rows that repeat another" in text


def test_pipes_link_loops_and_clutter_are_stepped_over(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    os.mkfifo(source / "ID_2" / "pipe.png")
    (source / "ID_2" / "loop").symlink_to(source)
    (source / "ID_2" / "dead.png").symlink_to(source / "nowhere")
    (source / ".DS_Store").write_bytes(b"x")
    (source / "__MACOSX").mkdir()
    (source / "__MACOSX" / "a.png").write_bytes(b"x")
    found = walk(source)
    assert len(found.files) == 48
    assert found.lines == [
        "left out: 1 folder(s) already seen (links)",
        "left out: 2 pipe(s), device(s) or broken link(s)",
    ]
    assert len(imported(source, tmp_path / "out")[0]) == 48


def test_names_of_users_never_become_paths(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in")
    files = [f"{f.parent.name}/{f.name}" for f in sorted(source.glob("ID_*/*.png"))]
    users = ["../../evil", '=HYPERLINK("x")\u202e']
    rows = "".join(f'{f},"{users[f.startswith("ID_2")].replace(chr(34), chr(34) * 2)}"\n' for f in files)
    (source / "manifest.csv").write_text(f"file,user\n{rows}", encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    data, _ = imported(source, tmp_path / "out")
    assert set(data.users) == set(users)
    assert all(f.is_relative_to(tmp_path / "out") for f in set(tmp_path.rglob("*")) - set(before))


def test_many_rows_are_listed_in_little_memory(tmp_path: Path) -> None:
    from mdgen.data.importing.layouts import list_source
    from mdgen.data.importing.problems import Problems

    np.save(tmp_path / "X.npy", np.zeros((50_000, 4, 4), np.uint8))
    np.save(tmp_path / "y.npy", np.arange(50_000) % 31)
    listing = list_source(tmp_path, ImportSettings(), Problems())
    assert len(listing.table) == 50_000
    assert listing.table["user"].nunique() == 31
    assert listing.table.memory_usage(deep=True).sum() / 50_000 < 400
