"""Small sources with known answers: windows of smooth noise on a Doppler-like profile, in any format and layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.data.importing.importer import import_dataset
from mdgen.data.importing.settings import ImportSettings


def values(length: int, seed: int, size: int = 32) -> np.ndarray:
    """[size, length] in 0..1: a ridge along time under smooth noise."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(size, length)), 1)
    ridge = np.exp(-(((np.arange(size)[:, None] - 0.4 * size) / (0.1 * size)) ** 2))
    return np.clip(0.3 + 0.3 * ridge + 1.2 * noise, 0, 1)


def folder_of(root: Path, kind: str = "gray", users: tuple[str, ...] = ("ID_2", "ID_10"), count: int = 24) -> Path:
    """Windows that overlap by 75 %, in four recordings per user with gaps of numbers between them."""
    for u, user in enumerate(users):
        (root / user).mkdir(parents=True)
        for i in range(count):
            recording, place = divmod(i, count // 4)
            whole = values(32 + 8 * count, 10 * u + recording)
            window, number = whole[:, 8 * place : 8 * place + 32], i + 1 + 10 * recording
            save(root / user / f"{user}_w{number}", window, kind)
    return root


def truth(user: int = 0, count: int = 24) -> np.ndarray:
    """float [count, 32, 32] in [-1, 1]: what `folder_of` drew for a user."""
    wholes = [values(32 + 8 * count, 10 * user + r) for r in range(4)]
    return np.stack([w[:, 8 * p : 8 * p + 32] for w in wholes for p in range(count // 4)]) * 2 - 1


def save(stem: Path, window: np.ndarray, kind: str) -> None:
    if kind == "npy":
        np.save(stem.with_suffix(".npy"), (60 * window - 90).astype(np.float32))
    elif kind in ("gray", "jpg", "tif"):
        suffix = {"gray": ".png"}.get(kind, f".{kind}")
        Image.fromarray((window * 255).round().astype(np.uint8)).save(stem.with_suffix(suffix))
    elif kind == "gray16":
        Image.fromarray((window * 65535).round().astype(np.uint16)).save(stem.with_suffix(".png"))
    else:
        pixels = (matplotlib.colormaps[kind](window)[..., :3] * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(stem.with_suffix(".png"))


def imported(source: Path, out: Path, **settings: Any) -> tuple[SpectrogramSet, str]:
    """The data set that an import of `source` writes, and its report as text."""
    report = import_dataset(source, out, ImportSettings(**settings))
    return read_dataset(out), "\n".join(report.lines)
