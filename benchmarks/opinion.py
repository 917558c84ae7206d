"""A judge's view of a synthetic set in four numbers, for benchmarks that compare many sets in one run."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from validation.blocks.diversity import overall, variety
from validation.measures.distances import kernel_distance, standardise
from validation.measures.scores import cosine_scores
from validation.networks.judge import Judge

#: Random halvings of held-out real data that say how far apart two real sets are.
HALVINGS = 40


class Opinion:
    """Trained on role `judge`, compares with roles `val` and `test`: data that no generator saw."""

    def __init__(self, data: SpectrogramSet, seed: int = 0, steps: int = 500) -> None:
        judges, self.real = data.role("judge"), data.role("val", "test")
        self.judge = Judge(seed, steps).fit(judges.images, judges.table["user"].to_numpy())
        self.features = self.judge.embed(self.real.images)
        self.rng = np.random.default_rng(seed)

    def __call__(self, made: SpectrogramSet) -> dict[str, float]:
        """accuracy, diversity (over real), eer and kernel_distance of `made`."""
        features, users = self.judge.embed(made.images), made.table["user"].to_numpy()
        found = {}
        for user in made.users:
            own = self.features[self._users == user], features[users == user]
            ratio = variety(*own, np.random.default_rng(0), draws=10)
            found |= {user: ratio} if ratio is not None else {}
        return {
            **self._three(self.features, self._users, features, users, made.images),
            "diversity": overall(found).value if found else float("nan"),
        }

    @cached_property
    def noise(self) -> dict[str, dict[str, float]]:
        """Mean, and the 95 % quantile of the deviation from it, of each measure between random halves of real data."""
        draws = []
        for _ in range(HALVINGS):
            first, second = np.array_split(self.rng.permutation(len(self.real)), 2)
            halves = (self.features[first], self._users[first], self.features[second], self._users[second])
            draws.append(self._three(*halves, self.real.images[second]))
        table = {key: np.array([draw[key] for draw in draws]) for key in draws[0]}
        return {
            key: {"mean": float(v.mean()), "margin": float(np.quantile(np.abs(v - v.mean()), 0.95))}
            for key, v in table.items()
        }

    @property
    def _users(self) -> np.ndarray:
        return self.real.table["user"].to_numpy()

    def _three(
        self, real: np.ndarray, real_users: np.ndarray, other: np.ndarray, other_users: np.ndarray, images: np.ndarray
    ) -> dict[str, float]:
        scores = cosine_scores(real, real_users, other, other_users)
        return {
            "accuracy": float((self.judge.predict(images) == other_users).mean()),
            "eer": scores.equal_error_rate(),
            "kernel_distance": kernel_distance(*standardise(self.features, real, other)),
        }
