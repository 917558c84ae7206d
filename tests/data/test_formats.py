"""Formats: what is written comes back, exactly in the float ones, in this library and in those it is written for."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mdgen.data.dataset import read_dataset, write_dataset
from mdgen.data.formats import FORMATS, decibels
from mdgen.data.importing.importer import import_dataset
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.shards import ShardedDataset
from mdgen.errors import MdgenError
from tests.conftest import ridges


def written(root: Path, format_name: str, manifest: str = "csv", size: int = 30) -> ShardedDataset:
    data = ridges()
    store = ShardedDataset(root, format_name, manifest)
    store.open({"count": len(data)}, grows="count")
    for rows in store.missing(len(data), size):
        table = data.table.iloc[list(rows)].assign(user=[f"=0{u[-1]}, ü" for u in data.table["user"].iloc[list(rows)]])
        store.write(rows, data.images[list(rows)], table.assign(db_min=-41.3, db_max=0.7, synthetic="yes"))
    store.finish()
    return store


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_a_data_set_comes_back_from_every_format(format_name: str, tmp_path) -> None:
    data = ridges()
    written(tmp_path / "set", format_name)
    again = read_dataset(tmp_path / "set")
    assert again.table["user"].tolist() == [f"=0{u[-1]}, ü" for u in data.table["user"]]
    assert set(again.table["synthetic"]) == {"yes"}
    assert again.table["split"].tolist() == data.table["split"].tolist()
    if FORMATS[format_name].exact:
        levels = decibels(again.images, *again.table[["db_min", "db_max"]].iloc[0])
        np.testing.assert_array_equal(levels, decibels(data.images, -41.3, 0.7))
        assert levels.min() >= -41.3
        np.testing.assert_array_equal(again.images, data.images)
    else:
        np.testing.assert_allclose(again.images, data.images, atol=2e-5 if format_name == "png16" else 0.004)


@pytest.mark.parametrize("format_name", ["npz", "hdf5", "webdataset"])
def test_a_single_file_is_a_data_set_of_its_own(format_name: str, tmp_path) -> None:
    written(tmp_path / "set", format_name, size=1000)
    (shard,) = (tmp_path / "set" / "shards").iterdir()
    alone = read_dataset(shard)
    np.testing.assert_array_equal(alone.images, ridges().images)
    assert alone.axes()["db_min"] == -41.3


def test_what_a_parquet_manifest_does_not_know_is_empty_as_in_csv(tmp_path) -> None:
    write_dataset(ridges(2, 1), tmp_path / "data")
    table = pd.read_csv(tmp_path / "data" / "manifest.csv", dtype=str, keep_default_na=False)
    (tmp_path / "data" / "manifest.csv").unlink()
    table = table.assign(session=pd.array([1, *[None] * 7], "Int64"), recording=None, start_column=[np.nan] * 7 + [4.0])
    table.to_parquet(tmp_path / "data" / "manifest.parquet")
    read = read_dataset(tmp_path / "data")
    assert read.table["session"].tolist() == ["1", *[""] * 7]
    assert set(read.table["recording"]) == {""}
    assert read.groups.nunique() == 3
    assert read.table["start_column"].tolist()[-1] == 4


def test_what_a_sample_of_a_webdataset_does_not_say_is_unknown(tmp_path) -> None:
    with tarfile.open(tmp_path / "data.tar", "w") as tar:
        for number, facts in enumerate(({"session": "s"}, {"session": None}, {})):
            array = io.BytesIO()
            np.save(array, np.zeros((1, 16, 16), np.float32))
            for suffix, content in (("npy", array.getvalue()), ("json", json.dumps({"user": "a", **facts}).encode())):
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    assert read_dataset(tmp_path / "data.tar").table["session"].tolist() == ["s", "", ""]


def test_a_parquet_manifest_says_the_same_as_one_in_csv(tmp_path) -> None:
    written(tmp_path / "a", "npz", "csv")
    written(tmp_path / "b", "npz", "parquet")
    assert pd.read_parquet(tmp_path / "b" / "manifest.parquet")["db_min"].dtype == float
    pd.testing.assert_frame_equal(read_dataset(tmp_path / "a").table, read_dataset(tmp_path / "b").table)


def test_colour_pictures_keep_their_channels(tmp_path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
    for format_name in FORMATS:
        store = ShardedDataset(tmp_path / format_name, format_name)
        store.open({"count": 4}, grows="count")
        store.write(range(4), images, ridges().table.iloc[:4])
        store.finish()
        np.testing.assert_allclose(read_dataset(tmp_path / format_name).images, images, atol=0.004)


def test_keys_of_a_webdataset_are_unique_over_its_shards(tmp_path) -> None:
    store = written(tmp_path / "set", "webdataset", size=20)
    members: list[str] = []
    for shard in store.shards.iterdir():
        with tarfile.open(shard) as tar:
            members += tar.getnames()
    assert len(members) == len(set(members)) == 2 * len(ridges())
    assert all(name.count(".") == 1 for name in members)


def test_hugging_face_loads_an_imagefolder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets", reason="the package `datasets` is not installed")
    written(tmp_path / "set", "imagefolder")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "set"), split="train", cache_dir=tmp_path)
    assert len(loaded) == len(ridges())
    assert loaded[0]["image"].size == (16, 16)
    assert {row["user"] for row in loaded} == {"=01, ü", "=02, ü", "=03, ü"}


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_what_is_written_is_imported_again_with_the_same_pictures_and_people(tmp_path, format_name: str) -> None:
    store = written(tmp_path / "set", format_name)
    before = read_dataset(store.root)
    import_dataset(store.root, tmp_path / "again", ImportSettings(size=None, orientation="keep", crop=False))
    again = read_dataset(tmp_path / "again")
    np.testing.assert_array_equal(again.images, before.images)
    assert again.table["user"].tolist() == before.table["user"].tolist()


def test_files_that_are_not_what_they_are_called_are_one_line(tmp_path) -> None:
    for name in ("a.npz", "a.h5", "a.tar"):
        (tmp_path / name).write_bytes(b"not a container")
        with pytest.raises(MdgenError, match="cannot be read"):
            read_dataset(tmp_path / name)
    store = written(tmp_path / "set", "npz", size=1000)
    lines = store.manifest.read_text().replace("#0,", "#999,")
    store.manifest.write_text(lines)
    with pytest.raises(MdgenError, match="holds 72 pictures, no '999'"):
        read_dataset(tmp_path / "set")
