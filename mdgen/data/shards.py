"""A data set written shard by shard: each is whole or not there, and whoever comes later writes what is missing.

Rows have numbers 0, 1, ...; a shard is a range of them, named by it. `shards/<first>-<last>` holds the images and
`.index/<first>-<last>.csv` their rows of the manifest, written last: a shard is there when that is. `index.json` says
what the data set is to be; the manifest over all shards is written when none is missing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from mdgen.data.dataset import MANIFESTS, NUMBER_COLUMNS, UNFINISHED, SpectrogramSet, read_rows
from mdgen.data.folders import require_free
from mdgen.data.formats import FORMATS
from mdgen.errors import MachineError, MdgenError

#: Columns of a Parquet manifest that hold numbers.
_NUMBERS = {*NUMBER_COLUMNS, "index", "steps", "guidance_scale", "classifier_scale"}


class ShardedDataset:
    """The folder `root` with shards in a format of `FORMATS` and a manifest, `csv` or `parquet`."""

    def __init__(self, root: Path, format_name: str, manifest: str = "csv") -> None:
        if format_name not in FORMATS:
            raise MdgenError(f"unknown format {format_name!r}; known: {', '.join(FORMATS)}")
        self.root, self.format = root, FORMATS[format_name]
        self.shards, self.index = root / "shards", root / ".index"
        self.hugging_face = format_name == "imagefolder"
        if self.hugging_face and manifest != "csv":
            raise MdgenError("an imagefolder has its table in metadata.csv; use manifest=csv")
        self.manifest = root / ("metadata.csv" if self.hugging_face else f"manifest.{manifest}")

    def open(self, request: Mapping[str, Any], grows: str) -> None:
        """Begin, or go on with, what `request` describes.

        grows: the one entry of it, a number, that may have become larger since. Raises `MdgenError` for another
        difference, and where the folder is something else.
        """
        file = self.root / UNFINISHED
        if file.exists():
            _require_same(json.loads(file.read_text(encoding="utf-8")), request, grows, self.root)
        else:
            require_free(self.root)
        try:
            self.shards.mkdir(parents=True, exist_ok=True)
            self.index.mkdir(exist_ok=True)
            with _replacing(file) as temporary:
                temporary.write_text(json.dumps(request, indent=1, ensure_ascii=False), encoding="utf-8")
        except OSError as error:
            raise MachineError(f"{self.root}: cannot be written ({error.strerror}); choose another folder") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes here meanwhile; the system frees the lock of a process that died."""
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / ".lock", timeout=0):
                for leftover in (*self.shards.glob(".*.partial"), *self.index.glob(".*.partial")):
                    _remove(leftover)
                yield
        except Timeout as error:
            raise MdgenError(f"{self.root}: another process is writing here; wait for it, or choose another") from error

    def done(self) -> list[range]:
        """Ranges of the rows that are there, in order."""
        names = sorted(file.stem for file in self.index.glob("[0-9]*.csv") if self._shard(file.stem).exists())
        return [range(int(name.split("-")[0]), int(name.split("-")[1]) + 1) for name in names]

    def missing(self, total: int, size: int) -> list[range]:
        """The rows of 0..total-1 that are not there, in ranges of at most `size`."""
        gaps, start = [], 0
        for shard in (*self.done(), range(total, total)):
            gaps.append(range(start, shard.start))
            start = max(start, shard.stop)
        return [range(s, min(s + size, gap.stop)) for gap in gaps for s in range(gap.start, gap.stop, size)]

    def write(self, rows: range, images: np.ndarray, table: pd.DataFrame) -> None:
        """One shard, at once. images: [N, C, H, W] in [-1, 1]; table: N rows, without a column `file`."""
        name = _name(rows)
        try:
            with _replacing(self._shard(name)) as temporary:
                references = self.format.write(temporary, images, table)
            prefix = f"shards/{self._shard(name).name}"
            column = "file_name" if self.hugging_face else "file"
            table = table.drop(columns="file", errors="ignore")
            table.insert(0, column, [prefix + reference for reference in references])
            with _replacing(self._row_file(rows)) as temporary:
                table.to_csv(temporary, index=False)
        except OSError as error:
            raise MachineError(
                f"{self.root}: shard {name} not written ({error.strerror or error}); those before it are whole: free "
                "disk space, then give the same command again"
            ) from error

    def finish(self) -> None:
        """The manifest over all shards, of which only one is in memory at a time; one of another kind goes."""
        parts = [self._row_file(rows) for rows in self.done()]
        with _replacing(self.manifest) as temporary:
            (_write_parquet if self.manifest.suffix == ".parquet" else _write_csv)(parts, temporary)
        for name in MANIFESTS:
            if name != self.manifest.name:
                (self.root / name).unlink(missing_ok=True)

    def head(self, count: int) -> SpectrogramSet:
        """The first rows, as a data set, with as many more as fill the last shard they lie in."""
        parts = []
        for rows in self.done():
            if rows.start >= count:
                break
            parts.append(pd.read_csv(self._row_file(rows), dtype=str, keep_default_na=False))
        return read_rows(self.root, pd.concat(parts, ignore_index=True), self.index)

    def _row_file(self, rows: range) -> Path:
        return self.index / f"{_name(rows)}.csv"

    def _shard(self, name: str) -> Path:
        return self.shards / f"{name}{self.format.suffix}"


def _name(rows: range) -> str:
    return f"{rows.start:09d}-{rows.stop - 1:09d}"


def _write_csv(parts: list[Path], file: Path) -> None:
    with open(file, "wb") as out:
        for number, part in enumerate(parts):
            with open(part, "rb") as stream:
                header = stream.readline()
                if number == 0:
                    out.write(header)
                shutil.copyfileobj(stream, out)


def _write_parquet(parts: list[Path], file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    for part in parts:
        table = pd.read_csv(part, dtype=str, keep_default_na=False)
        for column in table.columns.intersection(list(_NUMBERS)):
            table[column] = pd.to_numeric(table[column]).astype(float)
        content = pa.Table.from_pandas(table, preserve_index=False)
        writer = writer or pq.ParquetWriter(file, content.schema)
        writer.write_table(content)
    if writer is not None:
        writer.close()


@contextmanager
def _replacing(final: Path) -> Iterator[Path]:
    """A temporary name beside `final`, for a file or folder that takes its place when the block ends well."""
    temporary = final.with_name(f".{final.name}.partial")
    _remove(temporary)
    try:
        yield temporary
        for file in [temporary] if temporary.is_file() else temporary.iterdir():
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
        if final.is_dir():
            _remove(final)
        os.replace(temporary, final)
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _require_same(old: Mapping[str, Any], new: Mapping[str, Any], grows: str, root: Path) -> None:
    shrunk = new[grows] < old.get(grows, 0)
    differences = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and (key != grows or shrunk)
    ]
    if differences:
        raise MdgenError(
            f"{root}: holds samples made otherwise ({'; '.join(differences)[:300]}); give the same command to go on or "
            f"a larger {grows} to extend it, or choose another folder"
        )
