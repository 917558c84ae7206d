"""What the blocks share: the sets, the settings, the rules, the trained judges and the features, each made once."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cached_property

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.encoders import Encoder, efficientnet_lite0, pixels_pca
from validation.judge import Judge, train_judges
from validation.rules import Rule, rules_with
from validation.sets import Sets
from validation.settings import ValidationSettings


class Context:
    """Handed to every block. say: told what is being done, in words."""

    def __init__(self, sets: Sets, settings: ValidationSettings, say: Callable[[str], None] = lambda _: None) -> None:
        self.sets, self.settings, self.say = sets, settings, say
        self.rules: dict[str, Rule] = rules_with(settings.gates)
        self._encoders: dict[str, Encoder] = {}
        self._features: dict[tuple[str, str], np.ndarray] = {}

    def rng(self, block: str) -> np.random.Generator:
        """A random stream of the block's own, so that no block depends on what ran before it."""
        return np.random.default_rng([self.settings.seed, zlib.crc32(block.encode())])

    @cached_property
    def judges(self) -> list[Judge]:
        """`judge_seeds` classifiers of users, trained on role `judge` alone."""
        s, judges = self.settings, []
        for number in range(s.judge_seeds):
            self.say(f"judge {number + 1} of {s.judge_seeds} on {len(self.sets.judge)} real images")
            seeds = [s.seed + number]
            judges += train_judges(self.sets.judge, seeds, s.judge_steps, s.batch_size, s.judge_size, s.device)
        return judges

    def encoder(self, name: str) -> Encoder:
        """judge, efficientnet_lite0 or pixels_pca64; each fitted on role `judge` alone, or on no radar data at all."""
        if name not in self._encoders:
            self._encoders[name] = self._make_encoder(name)
        return self._encoders[name]

    def features(self, name: str, data: SpectrogramSet) -> np.ndarray:
        """Features of every row of `data` by encoder `name`, float64 [N, D]; computed once per set."""
        key = (name, data.fingerprint())
        if key not in self._features:
            self.say(f"{len(data)} images through encoder {name}")
            self._features[key] = self.encoder(name)(data.images)
        return self._features[key]

    def _make_encoder(self, name: str) -> Encoder:
        if name == "judge":
            return self.judges[0].embed
        if name == "efficientnet_lite0":
            return efficientnet_lite0(self.settings.encoder_size, self.settings.device)
        if name == "pixels_pca64":
            return pixels_pca(self.sets.judge.images, 64, self.settings.judge_size)
        raise MdgenError(f"validate.encoders: unknown encoder {name!r}; use judge, efficientnet_lite0, pixels_pca64")
