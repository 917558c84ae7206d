"""Windows that hold the same signal: given twice, cut from one recording with an overlap, or filed under two names.

Fine detail (speckle) is what no two walks share, so it alone is compared, at every shift in time up to a third of
a window.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from mdgen.data.dataset import ROLES, SpectrogramSet
from mdgen.data.texture import AXES, fine_energy

#: Detail: what a Gaussian of this width, in cells, takes away.
_DETAIL = 1.0
#: Rows are mixed into so many before all pairs are compared: the correlations of candidates are then off by some 0.05.
_MIXED_ROWS, _SLACK = 24, 0.15
#: A pair shares signal when its detail correlates by this much, and by this much more than windows of different users.
_LIMIT, _OVER_CHANCE = 0.45, 0.15
#: Larger sets are sampled to this many windows.
MAX_WINDOWS = 3000
#: Fine energy over all energy below which a picture is taken to be upscaled.
_UPSCALED = 0.01
_CHUNK = 256


@dataclass(frozen=True)
class SharedSignal:
    """Pairs of windows that hold the same signal.

    pairs: one row each: first, second (rows of the table), correlation, shift (columns by which the second starts
    later), kind ("identical": equal pixels, "copy": the same moment, "overlap"), and bool columns other_user,
    other_recording, other_role (train in one, judge, val or test in the other). searched: rows that were compared.
    limit: the correlation from which a pair counts.
    """

    pairs: pd.DataFrame
    searched: np.ndarray
    limit: float

    def count(self, **wanted: object) -> int:
        """Pairs whose columns have the `wanted` values."""
        return int(np.logical_and.reduce([self.pairs[name] == value for name, value in wanted.items()]).sum())


def find_shared_signal(data: SpectrogramSet, seed: int = 0) -> SharedSignal:
    """Compare all pairs of at most `MAX_WINDOWS` windows of `data` (drawn evenly from its users)."""
    rows = _sample(data, seed)
    detail = _detail(data.images[rows])
    users = data.table["user"].to_numpy()[rows]
    first, second, rough, limit = _candidates(detail, users, data.groups.to_numpy()[rows], seed)
    fold = max(1, data.images.shape[-1] // 64)
    hashes = np.array([hashlib.sha256(data.images[i].tobytes()).hexdigest() for i in rows], dtype=object)
    found = []
    for a, b, near in zip(first, second, rough, strict=True):
        correlation, shift = _best_shift(detail[a], detail[b], near)
        same = hashes[a] == hashes[b]
        if same or correlation >= limit:
            kind = "identical" if same else "copy" if shift == 0 else "overlap"
            found.append((rows[a], rows[b], 1.0 if same else correlation, 0 if same else shift * fold, kind))
    pairs = pd.DataFrame(found, columns=["first", "second", "correlation", "shift", "kind"])
    return SharedSignal(_labelled(pairs, data), rows, limit)


def native_side(images: np.ndarray) -> int:
    """The least side, of the picture's own halved again and again, at which nothing of [N, C, H, W] is lost.

    A picture that was blown up has hardly any power in its fine half, along time and along Doppler.
    """
    side = min(images.shape[-2:])
    while side >= 32:
        energy = np.maximum(images.var(axis=(-2, -1)).mean(), 1e-12)
        if max(fine_energy(images, axis).mean() / energy for _, axis in AXES) > _UPSCALED:
            return side
        height, width = images.shape[-2] // 2 * 2, images.shape[-1] // 2 * 2
        blocks = images[..., :height, :width].reshape(*images.shape[:2], height // 2, 2, width // 2, 2)
        images, side = blocks.mean(axis=(3, 5)), side // 2
    return side


def _sample(data: SpectrogramSet, seed: int) -> np.ndarray:
    if len(data) <= MAX_WINDOWS:
        return np.arange(len(data))
    draw = pd.Series(np.random.default_rng(seed).permutation(len(data)))
    turn = draw.groupby(data.table["user"].to_numpy()).rank()
    return np.sort(np.lexsort((draw, turn))[:MAX_WINDOWS])


def _detail(images: np.ndarray) -> np.ndarray:
    """float32 [N, H, W] of unit deviation, at most about 64 cells high and wide."""
    gray = images.mean(axis=1)
    fold_h, fold_w = (max(1, side // 64) for side in gray.shape[1:])
    height, width = gray.shape[1] // fold_h, gray.shape[2] // fold_w
    gray = gray[:, : height * fold_h, : width * fold_w]
    small = gray.reshape(len(gray), height, fold_h, width, fold_w).mean(axis=(2, 4))
    detail = small - gaussian_filter(small, (0, _DETAIL, _DETAIL))
    return (detail / np.maximum(detail.std(axis=(1, 2), keepdims=True), 1e-6)).astype(np.float32)


def _candidates(
    detail: np.ndarray, users: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """(first, second, near what shift) of pairs worth a closer look, first < second, and the correlation from which one
    counts: well above what windows of other users, or other recordings of the user, reach at any shift by chance
    (and by a fixed pattern, which they share)."""
    _, height, width = detail.shape
    mix = np.random.default_rng(seed).normal(size=(_MIXED_ROWS, height)).astype(np.float32) / np.sqrt(_MIXED_ROWS)
    mixed = np.einsum("kh,nhw->nkw", mix, detail)
    spectra = np.fft.rfft(mixed, 2 * width).astype(np.complex64).transpose(2, 0, 1)  # (F, N, K)
    shifts = np.arange(-(width // 3), width // 3 + 1)
    weight = 1 / (height * (width - np.abs(shifts))).astype(np.float32)
    first, second, best, where = [], [], [], []
    for start in range(0, len(detail), _CHUNK):
        product = spectra[:, start : start + _CHUNK].conj() @ spectra[:, start:].transpose(0, 2, 1)
        raw = np.fft.irfft(product, 2 * width, axis=0)[-shifts]
        raw *= weight[:, None, None]
        place = raw.argmax(axis=0)
        value = np.take_along_axis(raw, place[None], 0)[0]
        a, b = np.nonzero(np.triu(np.ones(value.shape, bool), 1))
        first.append(a + start)
        second.append(b + start)
        best.append(value[a, b].astype(np.float32))
        where.append(shifts[place[a, b]].astype(np.int16))
    a, b, c, near = (np.concatenate(parts) for parts in (first, second, best, where))
    strangers, other = c[users[a] != users[b]], c[(users[a] == users[b]) & (groups[a] != groups[b])]
    quantiles = [np.quantile(v, q) for v, q in ((strangers, 0.999), (other, 0.995)) if len(v) >= 1000]
    limit = max(_LIMIT, min(float(max(quantiles, default=0.3)), 0.6) + _OVER_CHANCE)
    keep = c >= limit - _SLACK
    return a[keep], b[keep], near[keep], limit


def _best_shift(a: np.ndarray, b: np.ndarray, near: int) -> tuple[float, int]:
    """(greatest correlation of what overlaps, columns by which `b` starts later than `a`), both [H, W]."""
    width, best = a.shape[1], (-1.0, 0)
    for shift in range(near - 1, near + 2):
        x, y = a[:, max(0, shift) : width + min(0, shift)], b[:, max(0, -shift) : width + min(0, -shift)]
        x, y = x - x.mean(), y - y.mean()
        value = float((x * y).sum() / max(np.sqrt((x**2).sum() * (y**2).sum()), 1e-9))
        best = max(best, (value, shift), key=lambda found: found[0])
    return best


def _labelled(pairs: pd.DataFrame, data: SpectrogramSet) -> pd.DataFrame:
    first, second = (data.table.iloc[pairs[name].astype(int)].reset_index(drop=True) for name in ("first", "second"))
    groups = data.groups.to_numpy()
    unknown = (first["session"] == "") & (first["recording"] == "")
    apart = groups[pairs["first"].astype(int)] != groups[pairs["second"].astype(int)]
    held_out = [rows["split"].isin(ROLES[1:]) for rows in (first, second)]
    trained = [rows["split"] == "train" for rows in (first, second)]
    return pairs.assign(
        other_user=(first["user"] != second["user"]).to_numpy(bool),
        other_recording=(apart & ~unknown).to_numpy(bool),
        other_role=((trained[0] & held_out[1]) | (trained[1] & held_out[0])).to_numpy(bool),
    )
