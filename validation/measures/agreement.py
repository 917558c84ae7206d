"""Do the labels of a set agree with its images? Found out inside the set, so that a day on which everybody moves
otherwise, which no judge of other days can tell from mixed-up labels, does not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from validation.measures.learning import Labelled, random_places, recognised
from validation.measures.recognition import wilson_interval

FOLDS, DRAWS = 5, 5
#: Windows of every user below which a set says nothing.
FEWEST = 20


@dataclass(frozen=True)
class Agreement:
    """Share of a set's images whose label the others of the set give them, mean over users, with Wilson's interval on
    all its images. real: the same by set of real images, as many of each user."""

    share: float
    low: float
    high: float
    real: dict[str, float]

    @property
    def usual(self) -> float:
        """The least that a real set reaches."""
        return min(self.real.values())


def label_agreement(
    synthetic: Labelled, real: dict[str, Labelled], users: Sequence[str], rng: np.random.Generator
) -> Agreement | None:
    """None where `synthetic`, or every set of `real`, has fewer than `FEWEST` images of one of `users`."""
    counts = {name: _fewest(data, users) for name, data in real.items()}
    able = [name for name, count in counts.items() if count >= FEWEST]
    if not able or _fewest(synthetic, users) < FEWEST:
        return None
    each = min(_fewest(synthetic, users), *(counts[name] for name in able))
    share = cross_validated(synthetic, each, rng)
    low, high = wilson_interval(share, len(synthetic.users))
    return Agreement(share, low, high, {name: cross_validated(real[name], each, rng) for name in able})


def cross_validated(data: Labelled, each: int, rng: np.random.Generator) -> float:
    """Accuracy, mean over users, of a linear discriminant on the fold it has not learned from, in random draws of
    `each` images of a user."""
    found = []
    for _ in range(DRAWS):
        drawn = data.select(random_places(data.users, rng) < each)
        fold, right = random_places(drawn.users, rng) % FOLDS, np.zeros(len(drawn.users), bool)
        for number in range(FOLDS):
            right[fold == number] = recognised(drawn.select(fold != number), drawn.select(fold == number))
        found.append(np.mean([right[drawn.users == user].mean() for user in np.unique(drawn.users)]))
    return float(np.mean(found))


def _fewest(data: Labelled, users: Sequence[str]) -> int:
    return min(int((data.users == user).sum()) for user in users)
