"""Does a set repeat itself? Images that are near copies of each other, or the very same picture again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from validation.measures.copies import Closest, closest_copies, nothing_found, scale_of, user_shares
from validation.measures.identical import repeated
from validation.measures.recognition import wilson_interval
from validation.measures.resampling import Interval
from validation.sets import ENOUGH_IMAGES

if TYPE_CHECKING:
    from validation.context import Context


@dataclass(frozen=True)
class Same:
    """Share of the images that equal another of the same user pixel by pixel: of all, and of each user who has
    `ENOUGH_IMAGES`. Overlapping windows never do; empty ones may."""

    share: float
    per_user: pd.Series


@dataclass(frozen=True)
class Repeats:
    """Near copies within the synthetic set. per_user: as `user_shares`; share: of all images, with its Wilson interval;
    honest: the same share of the training windows as they are, overlapping or not; same, same_honest: the very same
    pictures in both sets."""

    per_user: pd.DataFrame
    share: Interval
    honest: float
    same: Same
    same_honest: Same


def find_repeats(context: Context) -> Repeats:
    """Near copies of each other within the synthetic set, on the scale of `memorisation` (none where there is none),
    and the same pictures."""
    sets, scale, limit = context.sets, scale_of(context), context.rules["diversity"]["repeat_score"]
    same = same_pictures(sets.synthetic), context.once(("same", *sets.users), lambda: same_pictures(sets.train))
    if scale is None:
        nothing = user_shares(nothing_found(len(sets.synthetic)), sets.synthetic, limit)
        return Repeats(nothing, Interval(0, 0, 1), 0.0, *same)

    def among(data: SpectrogramSet) -> Closest:
        return closest_copies(data, data, scale, context.settings.judge_size, separate=True)

    closest = among(sets.synthetic)
    honest = context.once(("repeats", *sets.users), lambda: among(sets.train)).share_above(limit)
    share, count = closest.share_above(limit), int(np.isfinite(closest.score).sum())
    interval = Interval(share, *wilson_interval(share, count))
    return Repeats(user_shares(closest, sets.synthetic, limit), interval, honest, *same)


def same_pictures(data: SpectrogramSet) -> Same:
    """Images of `data` that are given more than once."""
    users = data.table["user"].to_numpy(str)
    found = pd.Series(repeated(data.images, users), dtype=float)
    by_user = found.groupby(users)
    return Same(float(found.mean()), by_user.mean()[by_user.size() >= ENOUGH_IMAGES])
