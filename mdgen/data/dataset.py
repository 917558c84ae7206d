"""The data contract: spectrograms in memory and on disk, with the table that says whose they are.

In memory: float32 [N, C, H, W] in [-1, 1], linear in dB (-1 = floor, +1 = peak); row 0 is the highest positive
(approaching) velocity, columns are time. On disk: a folder with a table (`MANIFESTS`) and one 16-bit PNG, 8-bit PNG or
`.npy` per spectrogram, or files of many (`.npy` stacks, `.npz`, `.h5`, `.tar`) whose rows the table names, `file#row`;
or one `.npz`, `.h5` or `.tar`; or, without any table, a bare folder per user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.folders import atomic_folder
from mdgen.data.formats import CONTAINERS, read_container, split_reference, write_picture16
from mdgen.data.images import PICTURE_SUFFIXES, check_values, read_picture
from mdgen.data.stacks import Stack
from mdgen.errors import MdgenError

#: Columns every manifest has. Empty text means unknown.
KEY_COLUMNS = ("file", "user", "session", "recording", "split")
#: Physical axes of a spectrogram, where known (numbers; NaN means unknown).
AXIS_COLUMNS = ("velocity_min_mps", "velocity_max_mps", "duration_s", "db_min", "db_max")
#: First column (in pixels) of a window inside its recording, where windows were cut from one; allows cutting anew.
START_COLUMN = "start_column"
NUMBER_COLUMNS = (*AXIS_COLUMNS, START_COLUMN)
#: Tables of a data set folder; the last one is Hugging Face's, where `file` is called `file_name`.
MANIFESTS = ("manifest.csv", "manifest.parquet", "metadata.csv")
#: What a folder holds that is written shard by shard.
UNFINISHED = "index.json"
ROLES = ("train", "judge", "val", "test")


@dataclass(frozen=True)
class SpectrogramSet:
    """Spectrograms and their table, row i of the table describing image i.

    images: float32 [N, C, H, W] in [-1, 1]. table: one row per image with the `KEY_COLUMNS` (text, "" = unknown) and
    whatever else the manifest holds. name: where it came from, for messages.
    """

    images: np.ndarray
    table: pd.DataFrame
    name: str = "data set"

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != len(self.table):
            raise ValueError(f"{self.name}: images {self.images.shape} do not match a table of {len(self.table)} rows")
        missing = [c for c in KEY_COLUMNS if c not in self.table.columns]
        if missing:
            raise ValueError(f"{self.name}: the table lacks the columns {missing}")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def users(self) -> list[str]:
        """User names in natural order (`ID_2` before `ID_10`)."""
        return natsorted(self.table["user"].unique().tolist())

    @property
    def groups(self) -> pd.Series:
        """The (user, session, recording) each row belongs to, as one text; splits never cut through a group."""
        return self.table["user"].str.cat([self.table["session"], self.table["recording"]], sep="\x1f")

    def labels(self, users: Sequence[str]) -> np.ndarray:
        """int64 [N]: index of each row's user in `users`. A user that is not in the list is an error."""
        index = {user: i for i, user in enumerate(users)}
        unknown = natsorted(set(self.table["user"]) - set(index))
        if unknown:
            raise MdgenError(f"{self.name}: unknown users {unknown[:5]}; known are {list(users)[:12]}")
        return self.table["user"].map(index).to_numpy(np.int64)

    def select(self, mask: np.ndarray | pd.Series) -> SpectrogramSet:
        """The rows where `mask` (bool [N], or integer positions) holds."""
        rows = np.flatnonzero(mask) if np.asarray(mask).dtype == bool else np.asarray(mask)
        return replace(self, images=self.images[rows], table=self.table.iloc[rows].reset_index(drop=True))

    def role(self, *roles: str) -> SpectrogramSet:
        """The rows whose split is one of `roles`."""
        return self.select(self.table["split"].isin(roles).to_numpy())

    def training(self) -> SpectrogramSet:
        """The rows of role `train`; all rows where there are no roles. Raises `MdgenError` where none is to train."""
        rows = self if (self.table["split"] == "").all() else self.role("train")
        if len(rows) == 0:
            raise MdgenError(f"{self.name}: no row has split 'train'; import it with roles")
        return rows

    def of_users(self, users: Iterable[str]) -> SpectrogramSet:
        """The rows of these users."""
        return self.select(self.table["user"].isin(list(users)).to_numpy())

    def with_images(self, images: np.ndarray) -> SpectrogramSet:
        """The same table over other images of the same number (reconstructions, for example)."""
        return replace(self, images=np.asarray(images, np.float32))

    def axes(self) -> dict[str, float]:
        """The physical axes that all rows share."""
        known = {c: self.table[c].unique() for c in AXIS_COLUMNS if c in self.table.columns}
        return {c: float(values[0]) for c, values in known.items() if len(values) == 1 and not pd.isna(values[0])}

    def require_shape(self, shape: Sequence[int], model: str) -> None:
        """Raise `MdgenError` where images are not of the `shape` [C, H, W] that `model` is for."""
        if self.images.shape[1:] != tuple(shape):
            raise MdgenError(
                f"{self.name}: its pictures are {picture_size(self.images.shape[1:])}, {model} is for "
                f"{picture_size(shape)}; bring them to that with `mdgen import --size {shape[1]}`"
            )

    def fingerprint(self) -> str:
        """sha256 of the pixels and all key columns but `file`: equal content gives equal text, however it is stored."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images, np.float32).tobytes())
        user, *others = (self.table[column] for column in KEY_COLUMNS[1:])
        digest.update("\n".join(user.str.cat(others, sep="\x1f")).encode())
        return digest.hexdigest()


def make_table(**columns: Sequence | str) -> pd.DataFrame:
    """A table with every key column: those not given are empty text."""
    length = max(len(v) for v in columns.values() if not isinstance(v, str))
    given = {k: [v] * length if isinstance(v, str) else list(v) for k, v in columns.items()}
    return pd.DataFrame({**{k: [""] * length for k in KEY_COLUMNS}, **given})


def read_dataset(path: str | Path) -> SpectrogramSet:
    """Read a data set in any form of the contract; raises `MdgenError` naming file, problem and mend."""
    path = Path(path)
    if not path.exists():
        raise MdgenError(f"{path}: no such data set; give a folder with manifest.csv, a folder per user, or a file")
    if path.is_file():
        if path.suffix not in CONTAINERS:
            raise MdgenError(f"{path}: not a data set; give a folder, or a file {', '.join(CONTAINERS)}")
        return _read_container(path)
    for name in MANIFESTS:
        if (path / name).exists():
            return _read_manifest(path, path / name)
    if (path / UNFINISHED).exists():
        raise MdgenError(f"{path}: is not finished; give the command that writes it again, and it goes on")
    return _read_bare_folder(path)


def write_dataset(data: SpectrogramSet, out: str | Path) -> Path:
    """Write `data` as 16-bit gray PNGs (`.npy` for colour) with `manifest.csv`; all of it or nothing.

    User names are data: files are numbered, so no name becomes a path. `out` must not exist or be empty.
    """
    out = Path(out)
    with atomic_folder(out) as folder:
        (folder / "images").mkdir()
        width = max(5, len(str(len(data))))
        files = [
            f"images/{write_picture16(folder / 'images' / f'{i:0{width}d}', image)}"
            for i, image in enumerate(data.images)
        ]
        data.table.assign(file=files).to_csv(folder / "manifest.csv", index=False)
    return out


def _read_manifest(root: Path, manifest: Path) -> SpectrogramSet:
    try:
        if manifest.suffix == ".csv":
            table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
        else:
            table = read_parquet_text(manifest)
    except (ValueError, OSError) as error:
        raise MdgenError(f"{manifest}: cannot be read as a table ({error}); write it anew") from error
    return read_rows(root, table, manifest)


def read_parquet_text(file: Path) -> pd.DataFrame:
    """A Parquet table as text: what is unknown is "", and beside it whole numbers stay whole."""
    table = pd.read_parquet(file, dtype_backend="numpy_nullable")
    return table.astype(object).where(table.notna(), "").astype(str)


def read_rows(root: Path, table: pd.DataFrame, manifest: Path) -> SpectrogramSet:
    """The spectrograms below `root` that a table of text names; `manifest` is where it came from, for messages."""
    table = _checked_table(table.rename(columns={"file_name": "file"}), manifest)
    inside = root.resolve()
    files, numbers = (np.array(part, object) for part in zip(*map(split_reference, table["file"]), strict=True))

    def parts() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for name, rows in pd.Series(files).groupby(files, sort=False).indices.items():
            target = (root / str(name)).resolve()
            if not target.is_relative_to(inside):
                raise MdgenError(f"{manifest}: the file {name!r} lies outside the data set; use paths below {root}")
            yield target.name, rows, _read_pictures(target, numbers[rows])

    return SpectrogramSet(_gather(len(table), parts()), table, str(root))


def _read_pictures(file: Path, numbers: np.ndarray) -> np.ndarray:
    """float32 [n, C, H, W]: the pictures of these numbers (text) in a file of many, or the one picture of a file."""
    content: np.ndarray | Stack
    if file.suffix in CONTAINERS:
        content = _read_container(file).images
    elif file.suffix == ".npy" and numbers[0]:
        content = Stack(file)
    else:
        return np.repeat(read_picture(file)[None], len(numbers), axis=0)
    inside = {str(row) for row in range(len(content))}
    wrong = [number for number in numbers if number not in inside]
    if wrong:
        raise MdgenError(f"{file}: holds {len(content)} pictures, no {wrong[0]!r}; name a row as {file.name}#0")
    images = content[numbers.astype(int)]
    if isinstance(content, Stack):
        content.close()
        check_values(images, file)
    return images


def _read_container(path: Path) -> SpectrogramSet:
    if not path.exists():
        raise MdgenError(f"{path}: is missing; restore it or take its rows out of the manifest")
    images, table = read_container(path)
    table = _checked_table(table.assign(file=[f"{path.name}#{i}" for i in range(len(images))]), path)
    check_values(images, path)
    return SpectrogramSet(images.astype(np.float32), table, str(path))


def _read_bare_folder(root: Path) -> SpectrogramSet:
    files = user_folder_files(root)
    parts = ((file.name, np.array([row]), read_picture(file)[None]) for row, (_, file) in enumerate(files))
    table = make_table(file=[str(f.relative_to(root)) for _, f in files], user=[user for user, _ in files])
    return SpectrogramSet(_gather(len(files), parts), table, str(root))


def user_folder_files(root: Path) -> list[tuple[str, Path]]:
    """(user, file) of every spectrogram of a folder per user, both in natural order."""
    if not root.is_dir():
        raise MdgenError(f"{root}: no such folder; give a folder that holds one folder of pictures per user")
    folders = natsorted((d for d in root.iterdir() if d.is_dir() and not d.name.startswith(".")), key=lambda d: d.name)
    files = [
        (folder.name, file)
        for folder in folders
        for file in natsorted(folder.iterdir(), key=lambda f: f.name)
        if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise MdgenError(f"{root}: holds no spectrograms; expected manifest.csv, or one folder of pictures per user")
    return files


def _checked_table(table: pd.DataFrame, source: Path) -> pd.DataFrame:
    for column in ("file", "user"):
        if column not in table.columns:
            raise MdgenError(f"{source}: has no column {column!r}; a manifest needs at least file and user")
    if table.empty:
        raise MdgenError(f"{source}: has no rows; nothing to read")
    nameless = table.index[table["user"] == ""]
    if len(nameless):
        raise MdgenError(f"{source}: row {nameless[0] + 2} has no user; give every row a user")
    for column in KEY_COLUMNS:
        if column not in table.columns:
            table[column] = ""
    for column in NUMBER_COLUMNS:
        if column in table.columns:
            try:
                table[column] = pd.to_numeric(table[column].mask(table[column] == ""))
            except ValueError as error:
                raise MdgenError(f"{source}: column {column!r} must hold numbers ({error})") from error
    wrong = sorted(set(table["split"]) - {*ROLES, "", "unused"})
    if wrong:
        raise MdgenError(f"{source}: unknown split {wrong[0]!r}; use one of {', '.join(ROLES)}, unused")
    return table


def _gather(count: int, parts: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> np.ndarray:
    """float32 [count, C, H, W] from (name, rows, images) of files whose pictures must be of one size."""
    images, first = np.zeros((0, 0, 0, 0), np.float32), ""
    for name, rows, part in parts:
        if not first:
            images, first = np.empty((count, *part.shape[1:]), np.float32), name
        if part.shape[1:] != images.shape[1:]:
            raise MdgenError(
                f"{name}: is {picture_size(part.shape[1:])} but {first} is {picture_size(images.shape[1:])}; bring all "
                "to one size with `mdgen import --size`"
            )
        images[rows] = part
    return images


def picture_size(shape: Sequence[int]) -> str:
    """What messages call the size of images [C, H, W]: "64x64 with 1 channel(s)"."""
    return f"{shape[2]}x{shape[1]} with {shape[0]} channel(s)"
