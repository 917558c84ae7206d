"""Files with flipped or cut bytes, and tables of anything: an import ends well or in one line, never otherwise.

What fuzzing found is kept as `example`s and in `test_import_bad_data`.
"""

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mdgen.data.dataset import read_dataset
from mdgen.data.importing.formats import Source
from mdgen.data.importing.importer import import_dataset
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.raw.samples import open_samples
from mdgen.data.raw.settings import RadarFile
from mdgen.errors import MdgenError
from tests.data.importing.material import values

QUICK = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SPLIT = {"train": 0.5, "test": 0.5}
IMAGE = values(16, 0, 16)


def whole(kind: str) -> bytes:
    """A sound file of one spectrogram, or of sixteen with labels."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"x.{kind}"
        if kind in ("png", "jpg", "tif"):
            Image.fromarray((IMAGE * 255).astype(np.uint8)).save(file)
        elif kind == "npy":
            np.save(file, IMAGE * 2 - 1)
        elif kind == "npz":
            np.savez_compressed(file, x=np.stack([IMAGE] * 16), y=np.arange(16) // 8)
        elif kind == "mat":
            scipy.io.savemat(file, {"S": IMAGE * 2 - 1, "info": {"who": "me", "cells": np.array([1, "a"], object)}})
        elif kind == "csv":
            file.write_text("\n".join(",".join(f"{v:.3f}" for v in row) for row in IMAGE))
        return file.read_bytes()


WHOLE = {kind: whole(kind) for kind in ("png", "jpg", "tif", "npy", "npz", "mat", "csv")}
CHANGES = st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=6)


def import_all(source: Path, on_error: str) -> None:
    try:
        import_dataset(source, source.parent / "out", ImportSettings(on_error=on_error, fractions=SPLIT))
    except MdgenError as error:
        said = str(error)
        assert "\n" not in said
        assert not (source.parent / "out").exists()


@pytest.mark.parametrize("kind", WHOLE)
@QUICK
@given(changes=CHANGES, cut=st.floats(0, 1), on_error=st.sampled_from(["stop", "skip"]))
def test_a_damaged_file_ends_in_one_line(
    kind: str, changes: list[tuple[float, int]], cut: float, on_error: str
) -> None:
    content = bytearray(WHOLE[kind])
    for place, value in changes:
        content[int(place * len(content))] = value
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        (source / "a").mkdir(parents=True)
        for i in range(6):
            (source / "a" / f"{i}.{kind}").write_bytes(WHOLE[kind])
        (source / "a" / f"9.{kind}").write_bytes(bytes(content[: int((cut + 0.3) * len(content))]))
        import_all(source, on_error)


@pytest.mark.parametrize(
    ("place", "value"),
    [(2360, 128), (145, 8)],
    ids=["a type that does not exist", "complex values without a second part"],
)
def test_a_mat_file_that_would_end_the_process_in_c_is_refused(tmp_path: Path, place: int, value: int) -> None:
    content = bytearray(WHOLE["mat"])
    content[place] = value
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(MdgenError, match="damaged"):
        Source(tmp_path).arrays("x.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_sound_mat_file_of_all_kinds_of_variables_passes_the_check(tmp_path: Path, compressed: bool) -> None:
    variables = {
        "complex": np.array([1 + 2j, 3]), "empty": np.zeros((0, 3)), "blank": "", "text": "äé", "flags": np.eye(2) > 0,
        "nested": {"a": {"b": [], "cells": np.array([1, "a"], object)}}, "sparse": scipy.sparse.csc_array(np.eye(5)),
        "cube": np.arange(6, dtype=np.int16).reshape(1, 2, 3), "array": np.array([(1, "x")], [("q", "O"), ("r", "O")]),
    }  # fmt: skip
    scipy.io.savemat(tmp_path / "x.mat", variables, do_compression=compressed)
    assert "cube" in Source(tmp_path).arrays("x.mat")


@QUICK
@given(text=st.text(max_size=200), header=st.booleans())
@example(text='"', header=True)
@example(text="\0,a\n", header=True)
@example(text="a/0.png,\ud800".encode("utf-8", "replace").decode(), header=True)
@example(text="file,user,file\nx,y,z", header=False)
@example(text="split\n" * 3, header=True)
def test_any_text_as_a_manifest_ends_in_one_line(text: str, header: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        (source / "a").mkdir(parents=True)
        (source / "a" / "0.png").write_bytes(WHOLE["png"])
        (source / "manifest.csv").write_text(
            ("file,user\na/0.png,a\n" if header else "") + text, encoding="utf-8", newline=""
        )
        import_all(source, "stop")
        import_all(source, "skip")


REFERENCES = st.one_of(
    st.sampled_from(
        ["s.npy#0", "s.npy#99", "s.npy#-1", "s.npy#²", "s.npy", "s.npz#2", "#1", "../s.npy#1", "s.npy#1#2"]
    ),
    st.text(max_size=12),
)


@QUICK
@given(
    references=st.lists(REFERENCES, min_size=1, max_size=8),
    kind=st.sampled_from(["u1", "u2", "f4", "f8", "i4"]),
    shape=st.sampled_from([(5, 8, 8), (5, 8, 8, 3), (5, 1, 8, 8), (5,), (0, 8, 8)]),
)
@example(references=["s.npy#²"], kind="u1", shape=(5, 8, 8))
def test_any_reference_into_a_file_of_many_ends_in_one_line(
    references: list[str], kind: str, shape: tuple[int, ...]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        source.mkdir()
        stack = np.random.default_rng(1).random(shape).astype(kind)
        np.save(source / "s.npy", stack)
        np.savez(source / "s.npz", images=stack)
        pd.DataFrame({"file": references, "user": "u"}).to_csv(source / "manifest.csv", index=False)
        import_all(source, "stop")
        import_all(source, "skip")
        with suppress(MdgenError):
            read_dataset(source)


@QUICK
@given(
    content=st.binary(max_size=400),
    suffix=st.sampled_from([".npy", ".bin", ".sigmf-meta", ".dat"]),
    glasgow=st.booleans(),
)
def test_anything_as_radar_samples_ends_in_one_line(content: bytes, suffix: str, glasgow: bool) -> None:
    radar = RadarFile(carrier_hz=24e9, prf_hz=100, window_s=0.1, layout="glasgow" if glasgow else "iq")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"x{suffix}"
        file.write_bytes(content)
        try:
            chirps, _ = open_samples(file, radar)
        except MdgenError as error:
            said = str(error)
            assert "\n" not in said
        else:
            assert chirps[slice(0, 5)].ndim == 3
