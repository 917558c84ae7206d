"""Public picture sets by torchvision's own loaders, as data sets: the class stands where the user stands.

Where somebody has unpacked a set into pictures already, `root` holds `train/CLASS/*.png` and `test/CLASS/*.png`.

The CIFAR sets come as pickles. torchvision's loaders read them, and read none whose MD5 is not that of its authors'
file: to make another file of the same sum is not feasible, so what is unpickled is what they published.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.errors import MdgenError

#: Shares of a set's own training part; its own test part is `test`.
_ROLES = (("train", 0.8), ("judge", 0.95), ("val", 1.0))


@dataclass(frozen=True)
class PublicSet:
    """loader: its class in torchvision.datasets. size: pixels a side that it comes to where none is given."""

    loader: str
    size: int


PUBLIC_SETS = {
    "cifar10": PublicSet("CIFAR10", 32),
    "cifar100": PublicSet("CIFAR100", 32),
    "mnist": PublicSet("MNIST", 32),
    "fashion-mnist": PublicSet("FashionMNIST", 32),
    "celeba": PublicSet("CelebA", 64),
}


def import_public(
    name: str,
    root: Path,
    *,
    download: bool = False,
    size: int | None = None,
    limit: int | None = None,
    attribute: str = "Smiling",
    seed: int = 0,
) -> SpectrogramSet:
    """A public set read from `root`, where it lies as torchvision stores it or as folders of pictures, or is downloaded
    to if asked.

    limit: at most so many pictures of each of its two parts, evenly over the classes. attribute: celeba's two classes.
    Raises `MdgenError` that says how to get a set that is not there.
    """
    if name not in PUBLIC_SETS:
        raise MdgenError(f"{name}: no such public set; known are {', '.join(PUBLIC_SETS)}")
    known = PUBLIC_SETS[name]
    images, tables = [], []
    for train in (True, False):
        part = _open(name, known.loader, root, train, download)
        labels, classes = _labels(name, part, attribute)
        rows = _chosen(labels, limit, seed)
        images.append(np.stack([_picture(part[row][0], size or known.size) for row in rows]))
        roles = _roles(len(rows), seed) if train else ["test"] * len(rows)
        numbers = [f"{'train' if train else 'test'}-{row}" for row in rows]
        tables.append(make_table(user=[classes[label] for label in labels[rows]], recording=numbers, split=roles))
    return SpectrogramSet(np.concatenate(images), pd.concat(tables, ignore_index=True), name)


def _open(name: str, loader: str, root: Path, train: bool, download: bool) -> Any:
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        raise MdgenError(f"torchvision cannot be imported ({error}); pip install -U torch torchvision") from error
    unpacked = [root / part for part in ("train", "test")]
    part = {"split": "train" if train else "test"} if name == "celeba" else {"train": train}
    try:
        if all(folder.is_dir() for folder in unpacked):
            return datasets.ImageFolder(str(unpacked[0 if train else 1]), loader=_unpacked_picture)
        return getattr(datasets, loader)(root=str(root), download=download, **part)
    except (RuntimeError, OSError, ImportError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(
            f"{root}: {name} is not there ({reason}); add --download where there is a network, or put torchvision's "
            f"files for {loader} there, or pictures as train/CLASS/*.png and test/CLASS/*.png, or import a folder of "
            "pictures per class with `mdgen import`"
        ) from error


def _unpacked_picture(file: str) -> Image.Image:
    try:
        with Image.open(file) as picture:
            return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except (OSError, Image.DecompressionBombError) as error:
        raise MdgenError(f"{file}: cannot be read ({error}); unpack the set anew") from error


def _labels(name: str, part: Any, attribute: str) -> tuple[np.ndarray, list[str]]:
    if hasattr(part, "targets"):
        return np.asarray(part.targets), [str(c) for c in part.classes]
    names = [n for n in part.attr_names if n]
    if attribute not in names:
        raise MdgenError(f"celeba has no attribute {attribute!r}; it has {', '.join(names)}")
    return part.attr[:, names.index(attribute)].numpy(), [f"not_{attribute}", attribute]


def _chosen(labels: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """Rows in their order: all, or `limit` of them with every class alike."""
    if limit is None or limit >= len(labels):
        return np.arange(len(labels))
    shuffled = np.random.default_rng([seed, 3]).permutation(len(labels))
    rank = np.empty(len(labels), int)
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        rank[rows] = np.arange(len(rows))
    return np.sort(shuffled[np.argsort(rank[shuffled], kind="stable")][:limit])


def _roles(count: int, seed: int) -> list[str]:
    draws = np.random.default_rng([seed, 4]).permutation(count) / max(count, 1)
    return [next(role for role, end in _ROLES if draw < end) for draw in draws]


def _picture(picture: Image.Image, size: int) -> np.ndarray:
    """float32 [C, size, size] in [-1, 1]: the middle square, made larger or smaller; a small one is framed instead."""
    width, height = picture.size
    if width == height and width < size <= width + 8:  # 28 pixels of digits in a frame of 32
        framed = Image.new(picture.mode, (size, size))
        framed.paste(picture, ((size - width) // 2, (size - height) // 2))
        picture = framed
    else:
        side = min(width, height)
        box = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
        picture = picture.resize((size, size), Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC, box)
    pixels = np.asarray(picture, np.float32) / 127.5 - 1
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
