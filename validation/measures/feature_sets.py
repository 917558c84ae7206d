"""The sets of a validation as feature vectors of one encoder, all on the scale of real rows no generator has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from validation.context import Context
from validation.measures.distances import standardise, standardise_columns


@dataclass(frozen=True)
class FeatureSet:
    """features: float64 [N, D]. users, units: text [N]; a unit is a (user, session, recording), one sample of a day."""

    features: np.ndarray
    users: np.ndarray
    units: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    def select(self, rows: np.ndarray) -> FeatureSet:
        """Some rows, as positions or bool [N]."""
        return FeatureSet(self.features[rows], self.users[rows], self.units[rows])

    def with_features(self, features: np.ndarray) -> FeatureSet:
        """The same rows with other features."""
        return replace(self, features=features)

    def members(self, users: list[str]) -> np.ndarray:
        """Which rows belong to each of `users`: bool [users, N]."""
        return np.asarray(users)[:, None] == self.users


def feature_sets(context: Context, encoder: str) -> dict[str, FeatureSet]:
    """Roles judge, val, train, test and the synthetic set through `encoder`, scaled by roles judge and val.

    At most `max_encoded_images` rows of each, evenly over its users and drawn by the seed; the same rows for every
    encoder and block.
    """
    sets, settings = context.sets, context.settings
    given = {"judge": sets.judge, "val": sets.val, "train": sets.train, "test": sets.test, "synthetic": sets.synthetic}
    limit, seed = settings.max_encoded_images, settings.seed
    given = {name: sampled(data, limit, seed) for name, data in given.items() if len(data)}
    raw = {name: context.features(encoder, data) for name, data in given.items()}
    reference = np.concatenate([raw[name] for name in ("judge", "val") if name in raw])
    scale = standardise_columns if context.encoder(encoder).mixed_units else standardise
    scaled = scale(reference, *raw.values())
    return {
        name: FeatureSet(features, given[name].table["user"].to_numpy(str), given[name].groups.to_numpy(str))
        for name, features in zip(raw, scaled, strict=True)
    }


def joined(*parts: FeatureSet) -> FeatureSet:
    """The rows of all `parts`."""
    return FeatureSet(
        np.concatenate([p.features for p in parts]),
        np.concatenate([p.users for p in parts]),
        np.concatenate([p.units for p in parts]),
    )


def sampled(data: SpectrogramSet, limit: int, seed: int) -> SpectrogramSet:
    """At most about `limit` rows, equally many of each user where there are enough; the same ones for equal seeds."""
    if len(data) <= limit:
        return data
    rng, users = np.random.default_rng(seed), data.table["user"].to_numpy()
    share = max(2, limit // len(data.users))
    return data.select(np.sort(np.concatenate([_some(rng, users == user, share) for user in data.users])))


def balanced(rng: np.random.Generator, users: list[str], *parts: FeatureSet) -> list[FeatureSet]:
    """Equally many rows of every user in all of `parts`: the most that each of them has."""
    rows: list[list[np.ndarray]] = [[] for _ in parts]
    for user in users:
        count = min(int((part.users == user).sum()) for part in parts)
        for chosen, part in zip(rows, parts, strict=True):
            chosen.append(_some(rng, part.users == user, count))
    return [part.select(np.sort(np.concatenate(chosen))) for part, chosen in zip(parts, rows, strict=True)]


def _some(rng: np.random.Generator, mask: np.ndarray, count: int) -> np.ndarray:
    return rng.permutation(np.flatnonzero(mask))[:count]
