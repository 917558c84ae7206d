"""A judge's view of a synthetic set in four numbers, for benchmarks that compare many sets in one run."""

from __future__ import annotations

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from validation.blocks.diversity import overall, variety
from validation.measures.distances import kernel_distance, standardise
from validation.measures.scores import cosine_scores
from validation.networks.judge import Judge

#: Pairs of real sets drawn to say how far apart two of them are.
DRAWS = 60


class Opinion:
    """Trained on role `judge`, compares with roles `val` and `test`: data that no generator saw."""

    def __init__(self, data: SpectrogramSet, seed: int = 0, steps: int = 500) -> None:
        judges, self.real = data.role("judge"), data.role("val", "test")
        self.judge = Judge(seed, steps).fit(judges.images, judges.table["user"].to_numpy())
        self.features = self.judge.embed(self.real.images)
        self.seed = seed

    def __call__(self, made: SpectrogramSet) -> dict[str, float]:
        """accuracy, diversity (over real), eer and kernel_distance of `made`."""
        features, users = self.judge.embed(made.images), made.table["user"].to_numpy()
        found = {}
        for user in made.users:
            own = self.features[self._users == user], features[users == user]
            ratio = variety(*own, np.random.default_rng(0), draws=10)
            found |= {user: ratio} if ratio is not None else {}
        return {
            **self._three(self.features, self._users, features, users, self.judge.predict(made.images)),
            "diversity": overall(found).value if found else float("nan"),
        }

    def noise(self, count: int) -> dict[str, dict[str, float]]:
        """How much each measure differs between two real sets of `count` each, compared with the same other real data.

        mean: of the measure; margin: 95 % quantile of the difference. Raises `ValueError` where there are too few.
        """
        if 3 * count > len(self.real):
            raise ValueError(f"two real sets of {count} and one to compare with need {3 * count}; got {len(self.real)}")
        rng, predicted, pairs = np.random.default_rng(self.seed), self.judge.predict(self.real.images), []
        for _ in range(DRAWS):
            first, second, rest = np.split(rng.permutation(len(self.real)), [count, 2 * count])
            reference = self.features[rest], self._users[rest]
            pairs.append(
                [self._three(*reference, self.features[s], self._users[s], predicted[s]) for s in (first, second)]
            )
        found = {}
        for key in pairs[0][0]:
            values = np.array([[measures[key] for measures in pair] for pair in pairs])
            margin = np.quantile(np.abs(values[:, 0] - values[:, 1]), 0.95)
            found[key] = {"mean": float(values.mean()), "margin": float(margin)}
        return found

    @property
    def _users(self) -> np.ndarray:
        return self.real.table["user"].to_numpy()

    def _three(
        self, real: np.ndarray, real_users: np.ndarray, other: np.ndarray, other_users: np.ndarray, found: np.ndarray
    ) -> dict[str, float]:
        scores = cosine_scores(real, real_users, other, other_users)
        return {
            "accuracy": float((found == other_users).mean()),
            "eer": scores.equal_error_rate(),
            "kernel_distance": kernel_distance(*standardise(self.features, real, other)),
        }
