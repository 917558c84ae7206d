"""What the blocks share: the sets, the settings, the rules, the trained judges and the features, each made once."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.cache import Cache, cache_key, source_hash
from validation.measures.recognition import Recognition, recognise
from validation.networks import encoders
from validation.networks.embedding import VerificationEmbedding
from validation.networks.encoders import Encoder
from validation.networks.inception import inception_v3
from validation.networks.judge import Judge
from validation.rules import Rule, rules_with
from validation.sets import Sets
from validation.settings import ValidationSettings

T = TypeVar("T")


class Context:
    """Handed to every block. say: told what is being done, in words."""

    def __init__(self, sets: Sets, settings: ValidationSettings, say: Callable[[str], None] = lambda _: None) -> None:
        self.sets, self.settings, self.say = sets, settings, say
        self.rules: dict[str, Rule] = rules_with(settings.gates)
        self.cache = Cache(settings.cache, say)
        self._made: dict[Any, Any] = {}

    def rng(self, block: str) -> np.random.Generator:
        """A random stream of the block's own, so that no block depends on what ran before it."""
        return np.random.default_rng([self.settings.seed, zlib.crc32(block.encode())])

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What `make` gives, made at the first call with this key; shared by all contexts of one real data set."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def kept(self, name: str, parts: Sequence[object], make: Callable[[], np.ndarray]) -> np.ndarray:
        """What `make` gives, kept in the cache as `name` of `parts`, which are all it depends on."""
        return self.cache.arrays(_key(name, *parts), lambda: {name: make()})[name]

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
        """One of `settings.encoders`; each fitted on role `judge` alone, or on no radar data at all."""
        return self.once(("encoder", name), lambda: self._make_encoder(name))

    def features(self, name: str, data: SpectrogramSet) -> np.ndarray:
        """Features of every row of `data` by encoder `name`, float64 [N, D]."""
        return self.once(("features", name, data.fingerprint()), lambda: self._encode(name, data))

    def _encode(self, name: str, data: SpectrogramSet) -> np.ndarray:
        encoder = self.encoder(name)

        def encode() -> dict[str, np.ndarray]:
            self.say(f"{len(data)} images through encoder {name}")
            return {"features": encoder(data.images)}

        key = _key("features", encoder.fingerprint, data.images)
        return self.cache.arrays(key, encode)["features"]

    def _train_judges(self) -> list[Judge]:
        return [self._judge(number) for number in range(self.settings.judge_seeds)]

    def _judge(self, number: int) -> Judge:
        s, data = self.settings, self.sets.judge
        users = data.table["user"].to_numpy(str)
        judge = Judge(s.seed + number, s.judge_steps, s.batch_size, s.judge_size)

        def train() -> dict[str, np.ndarray]:
            self.say(f"judge {number + 1} of {s.judge_seeds} on {len(data)} real images")
            return judge.fit(data.images, users).state()

        key = _key("judge", judge.get_params(), users.tolist(), data.images)
        state = self.cache.arrays(key, train)
        return judge if hasattr(judge, "net_") else judge.restore(state, data.images, users)

    def _train_embedding(self, without: Sequence[str]) -> VerificationEmbedding:
        s, judge = self.settings, self.sets.judge
        known = judge.select(~judge.table["user"].isin(list(without)).to_numpy())
        settings = (s.seed, s.verification_steps, s.batch_size, s.judge_size)
        embedding = VerificationEmbedding(*settings)
        key = _key("embedding", settings, known.table["user"].tolist(), known.images)
        state = self.cache.arrays(key, lambda: embedding.fit(known).state())
        return embedding.restore(state, known.images.shape[1:])

    def _make_encoder(self, name: str) -> Encoder:
        reference, s = self.sets.judge.images, self.settings
        makers: dict[str, Callable[[], Encoder]] = {
            "judge": lambda: encoders.judge_embedding(self.judges[0]),
            "efficientnet_lite0": lambda: encoders.efficientnet_lite0(s.encoder_size, s.device),
            "pixels_pca64": lambda: encoders.pixels_pca(reference, 64, s.judge_size),
            "gait_profile": lambda: encoders.gait_profile(reference.shape[-2], reference.shape[-1], s.judge_size),
            "pca_residual": lambda: encoders.pca_residual(reference, 64, s.judge_size),
            "pixel_levels": encoders.pixel_levels,
            "inception_v3": lambda: inception_v3(s.inception_weights, s.allow_download, s.device),
        }
        if name not in makers:
            raise MdgenError(f"validate.encoders: unknown encoder {name!r}; use {', '.join(makers)}")
        return makers[name]()


def _key(name: str, *parts: object) -> str:
    """`cache_key` for what networks give, which depends on their code and on torch too."""
    return cache_key(name, torch.__version__, _networks_code(), *parts)


@cache
def _networks_code() -> str:
    return source_hash(Path(encoders.__file__).parent)
