"""Files of many spectrograms: shards in the formats that other tools read, and the way back.

Float formats (`npy`, `npz`, `hdf5`, `webdataset`) keep every float32 bit for bit, so levels in dB do too. Pictures are
16-bit (step 3e-5 of the [-1, 1] scale) or 8-bit. No format can hold code: text and numbers only.
"""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from mdgen.data.images import write_png16
from mdgen.errors import MdgenError

#: Suffixes of files of many pictures: data sets have some of them, `import` reads all.
OF_MANY = (".npy", ".npz", ".tar", ".h5", ".hdf5", ".hdf", ".he5")


@dataclass(frozen=True)
class Format:
    """write: (file or folder to make, images [N, C, H, W] in [-1, 1], their rows) -> what each row is called inside.

    suffix: of a shard that is one file; "" where it is a folder. exact: float32 come back bit for bit.
    """

    suffix: str
    exact: bool
    write: Callable[[Path, np.ndarray, pd.DataFrame], list[str]]


def split_reference(reference: str) -> tuple[str, str]:
    """(file, row) of `shards/0.npz#12`, a row of a file of many; (reference, "") of any other, such as `walk#1.png`."""
    file, _, row = reference.rpartition("#")
    return (file, row) if file.lower().endswith(OF_MANY) else (reference, "")


def decibels(images: np.ndarray, db_min: float, db_max: float) -> np.ndarray:
    """float64 levels in dB of images in [-1, 1]: db_min at the floor, -1, and db_max at the peak, +1."""
    return db_min + (images.astype(np.float64) + 1) / 2 * (db_max - db_min)


def read_container(path: Path) -> tuple[np.ndarray, pd.DataFrame]:
    """(images, table of text) of an `.npz`, `.h5` or `.tar` file; raises `MdgenError` where it cannot be one."""
    try:
        images, columns = CONTAINERS[path.suffix](path)
    except (OSError, ValueError, KeyError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise MdgenError(f"{path}: cannot be read as arrays of numbers and text ({error}); write it anew") from error
    if images is None or images.ndim not in (3, 4) or not np.issubdtype(images.dtype, np.floating):
        raise MdgenError(f"{path}: needs an array `images` of floats, [N, H, W] or [N, C, H, W]")
    if any(np.shape(values) != (len(images),) for values in columns.values()):
        raise MdgenError(f"{path}: every array beside `images` must be one column of {len(images)} values")
    images = images[:, None] if images.ndim == 3 else images
    return images, pd.DataFrame({key: np.asarray(values).astype(str) for key, values in columns.items()})


def write_float_file(file: Path, image: np.ndarray) -> str:
    """float32 [C, H, W] as `file` with the suffix `.npy`; returns the name."""
    np.save(file.with_suffix(".npy"), image.astype(np.float32))
    return f"{file.name}.npy"


def write_picture16(file: Path, image: np.ndarray) -> str:
    """16-bit gray PNG; `.npy` for colour, of which PNG as commonly read has 8 bits only. Returns the name."""
    if image.shape[0] != 1:
        return write_float_file(file, image)
    write_png16(file.with_suffix(".png"), image[0])
    return f"{file.name}.png"


def write_picture8(file: Path, image: np.ndarray) -> str:
    """8-bit PNG, gray or RGB; returns the name."""
    levels = np.round((np.clip(image, -1, 1) + 1) * (255 / 2)).astype(np.uint8)
    Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)).save(file.with_suffix(".png"))
    return f"{file.name}.png"


def _folder_of(write_one: Callable[[Path, np.ndarray], str]) -> Callable[[Path, np.ndarray, pd.DataFrame], list[str]]:
    def write(path: Path, images: np.ndarray, table: pd.DataFrame) -> list[str]:
        path.mkdir()
        return [f"/{write_one(path / f'{i:05d}', image)}" for i, image in enumerate(images)]

    return write


def _write_npz(path: Path, images: np.ndarray, table: pd.DataFrame) -> list[str]:
    columns = {key: table[key].astype(str).to_numpy(np.str_) for key in table.columns if key != "file"}
    with open(path, "wb") as stream:
        np.savez_compressed(stream, images=images.astype(np.float32), **columns)
    return _numbered(images)


def _write_hdf5(path: Path, images: np.ndarray, table: pd.DataFrame) -> list[str]:
    import h5py

    with h5py.File(path, "w") as file:
        stored = file.create_dataset(
            "images", data=images.astype(np.float32), chunks=(1, *images.shape[1:]), compression="gzip"
        )
        stored.attrs["scale"] = "-1 = db_min (floor), +1 = db_max (peak), linear in dB"
        stored.attrs["axes"] = "sample, channel, velocity (row 0 = velocity_max_mps), time"
        for key in table.columns.drop("file"):
            file.create_dataset(key, data=table[key].astype(str).to_list(), dtype=h5py.string_dtype())
    return _numbered(images)


def _write_tar(path: Path, images: np.ndarray, table: pd.DataFrame) -> list[str]:
    """WebDataset: files of one sample share a key, unique over all shards."""
    name = path.name.removeprefix(".").partition(".")[0]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i, (image, row) in enumerate(zip(images, table.to_dict("records"), strict=True)):
            array = io.BytesIO()
            np.save(array, image.astype(np.float32))
            facts = {key: str(value) for key, value in row.items() if key != "file"}
            for suffix, content in (("npy", array.getvalue()), ("json", json.dumps(facts).encode())):
                member = tarfile.TarInfo(f"{name}-{i:05d}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return _numbered(images)


def _numbered(images: np.ndarray) -> list[str]:
    return [f"#{i}" for i in range(len(images))]


def _read_npz(path: Path) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    with np.load(path, allow_pickle=False) as arrays:
        content = {key: arrays[key] for key in arrays.files}
    return content.pop("images", None), content


def _read_hdf5(path: Path) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    import h5py

    with h5py.File(path) as file:
        content = {key: file[key] for key in file if isinstance(file[key], h5py.Dataset)}
        images = content.pop("images", None)
        texts = {key: h5py.check_string_dtype(stored.dtype) is not None for key, stored in content.items()}
        columns = {key: np.asarray(s.asstr()[:] if texts[key] else s[:]) for key, s in content.items()}
        return (None if images is None else images[:]), columns


def _read_tar(path: Path) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    images, rows = [], []
    with tarfile.open(path) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None and member.name.endswith(".npy"):
                images.append(np.load(io.BytesIO(stream.read()), allow_pickle=False))
            elif stream is not None and member.name.endswith(".json"):
                rows.append(json.loads(stream.read()))
    table = pd.DataFrame(rows, dtype=object)
    table = table.where(table.notna(), "")
    return (np.stack(images) if images else None), {str(key): table[key].to_numpy() for key in table.columns}


FORMATS = {
    "png16": Format("", False, _folder_of(write_picture16)),
    "png8": Format("", False, _folder_of(write_picture8)),
    "imagefolder": Format("", False, _folder_of(write_picture8)),
    "npy": Format("", True, _folder_of(write_float_file)),
    "npz": Format(".npz", True, _write_npz),
    "hdf5": Format(".h5", True, _write_hdf5),
    "webdataset": Format(".tar", True, _write_tar),
}
CONTAINERS = {".npz": _read_npz, ".h5": _read_hdf5, ".tar": _read_tar}
