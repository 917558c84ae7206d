"""Which images are the very same picture, pixel by pixel? One hash an image, so that many are compared at once.

Overlap or likeness never makes two windows equal in every pixel; copies in disguise are for `copies` to find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.results import FAIL, Gate, Metric
from validation.rules import Rule

if TYPE_CHECKING:
    from validation.context import Context


def picture_hashes(images: np.ndarray) -> np.ndarray:
    """uint64 [N]: equal where images [N, C, H, W] in [-1, 1] are equal when rounded to 8 bit."""
    digests = (blake2b(_in_8_bit(image).tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), np.uint64)


def repeated(images: np.ndarray, users: Sequence[str] | np.ndarray) -> np.ndarray:
    """bool [N]: rows that are the very picture of another row of the same of `users` [N]."""
    table = pd.DataFrame({"user": users, "picture": picture_hashes(images)})
    return table.duplicated(keep=False).to_numpy()


def unmistakable(images: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Hashes, uint64 [M], of those `images` that nobody writes by chance or has from `known`: of more levels than one,
    and none of `known`."""
    varied = np.array([np.ptp(_in_8_bit(image)) > 0 for image in images], bool)
    return np.setdiff1d(picture_hashes(images)[varied], picture_hashes(known))


def recordings(context: Context) -> dict[str, np.ndarray]:
    """By role, judge and test: the synthetic images that are real ones of this role, whoever's, pixel by pixel. Real
    images that training or val hold as well, or of a single level, do not count: honest sets may hold them."""
    real, hashes = context.sets.real, picture_hashes(context.sets.synthetic.images)

    def of(role: str) -> np.ndarray:
        known = real.role("train", "val").images
        return context.once(("unmistakable", role), lambda: unmistakable(real.role(role).images, known))

    return {role: np.isin(hashes, of(role)) for role in ("judge", "test")}


def recorded_users(found: dict[str, np.ndarray], data: SpectrogramSet, allowed: float) -> list[str]:
    """Users of `data` with more than the `allowed` share of `recordings` among their images."""
    share = pd.Series(np.any(list(found.values()), axis=0)).groupby(data.table["user"].to_numpy(str)).mean()
    return [str(user) for user in share.index[share > allowed]]


def with_recordings(gate: Gate, found: dict[str, np.ndarray], rule: Rule) -> Gate:
    """`gate`, failing where more than `excess` of the images are recordings of other roles (`recordings`)."""
    if np.any(list(found.values()), axis=0).mean() <= rule["excess"]:
        return gate
    named = " and ".join(f"{rows.mean():.1%} of role {role}" for role, rows in found.items() if rows.any())
    note = f"real recordings among the images, pixel by pixel: {named}"
    return replace(gate, status=FAIL, note="; ".join([gate.note, note]))


def recording_rows(found: dict[str, np.ndarray]) -> Iterator[Metric]:
    """The share of each role in `recordings`."""
    for role, rows in found.items():
        yield Metric("recording_share", float(rows.mean()), set_a=role, set_b="synthetic", n_b=len(rows),
                     direction="lower", note="real images of this role, pixel by pixel")  # fmt: skip


def _in_8_bit(image: np.ndarray) -> np.ndarray:
    return np.round((image + 1) * 127.5).clip(0, 255).astype(np.uint8)
