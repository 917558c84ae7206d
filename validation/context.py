"""What the blocks share: the sets, the settings, the rules, the trained judges and the features, each made once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeVar

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.embedding import VerificationEmbedding
from validation.encoders import Encoder, efficientnet_lite0, pixels_pca
from validation.judge import Judge, train_judges
from validation.recognition import Recognition, recognise
from validation.rules import Rule, rules_with
from validation.sets import Sets
from validation.settings import ValidationSettings

T = TypeVar("T")


class Context:
    """Handed to every block. say: told what is being done, in words."""

    def __init__(self, sets: Sets, settings: ValidationSettings, say: Callable[[str], None] = lambda _: None) -> None:
        self.sets, self.settings, self.say = sets, settings, say
        self.rules: dict[str, Rule] = rules_with(settings.gates)
        self._made: dict[Any, Any] = {}

    def rng(self, block: str) -> np.random.Generator:
        """A random stream of the block's own, so that no block depends on what ran before it."""
        return np.random.default_rng([self.settings.seed, zlib.crc32(block.encode())])

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gives, made at the first call with this key; shared by all contexts of one real data set."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def judging(self, synthetic: SpectrogramSet) -> Context:
        """The same real data, judges, encoders and features, with another synthetic set to judge."""
        other = copy(self)
        other.sets = self.sets.with_synthetic(synthetic)
        return other

    @property
    def judges(self) -> list[Judge]:
        """`judge_seeds` classifiers of users, trained on role `judge` alone."""
        return self.once("judges", self._train_judges)

    @property
    def embedding(self) -> VerificationEmbedding:
        """The verification embedding, trained on all of role `judge`."""
        return self.embedding_without(())

    def embedding_without(self, users: Sequence[str]) -> VerificationEmbedding:
        """One that never met `users`."""
        return self.once(("embedding", *users), lambda: self._train_embedding(users))

    def recognition(self, real: SpectrogramSet) -> Recognition:
        """`recognise` by the judges on a real set."""
        key = ("recognition", real.fingerprint())
        return self.once(key, lambda: recognise(self.judges, real, self.sets.users))

    def encoder(self, name: str) -> Encoder:
        """judge, efficientnet_lite0 or pixels_pca64; each fitted on role `judge` alone, or on no radar data at all."""
        return self.once(("encoder", name), lambda: self._make_encoder(name))

    def features(self, name: str, data: SpectrogramSet) -> np.ndarray:
        """Features of every row of `data` by encoder `name`, float64 [N, D]."""
        return self.once(("features", name, data.fingerprint()), lambda: self._encode(name, data))

    def _encode(self, name: str, data: SpectrogramSet) -> np.ndarray:
        self.say(f"{len(data)} images through encoder {name}")
        return self.encoder(name)(data.images)

    def _train_judges(self) -> list[Judge]:
        s, judges = self.settings, []
        for number in range(s.judge_seeds):
            self.say(f"judge {number + 1} of {s.judge_seeds} on {len(self.sets.judge)} real images")
            seeds = [s.seed + number]
            judges += train_judges(self.sets.judge, seeds, s.judge_steps, s.batch_size, s.judge_size, s.device)
        return judges

    def _train_embedding(self, without: Sequence[str]) -> VerificationEmbedding:
        s, judge = self.settings, self.sets.judge
        known = judge.select(~judge.table["user"].isin(list(without)).to_numpy())
        embedding = VerificationEmbedding(s.seed, s.verification_steps, s.batch_size, s.judge_size, s.device)
        return embedding.fit(known)

    def _make_encoder(self, name: str) -> Encoder:
        if name == "judge":
            return self.judges[0].embed
        if name == "efficientnet_lite0":
            return efficientnet_lite0(self.settings.encoder_size, self.settings.device)
        if name == "pixels_pca64":
            return pixels_pca(self.sets.judge.images, 64, self.settings.judge_size)
        raise MdgenError(f"validate.encoders: unknown encoder {name!r}; use judge, efficientnet_lite0, pixels_pca64")
