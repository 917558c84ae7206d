"""Everything that is measured on the sets, in the order in which it is needed. No decision is taken here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.accuracy import Recognition, recognise
from validation.encoders import Encoder, efficientnet_lite0, pixels_pca
from validation.fidelity import Fidelity, compare
from validation.inception import InceptionEncoder, find_weights, inception_fid, inception_score
from validation.judge import Judge, train_judges
from validation.neighbours import Neighbours, nearest_same_user
from validation.sets import Sets
from validation.settings import ValidationSettings
from validation.texture import TextureRatio, texture_ratios
from validation.verification import VerificationEmbedding, VerificationResult, split_enrolment, verify

Say = Callable[[str], None]


@dataclass(frozen=True)
class InceptionResult:
    """FID of test to synthetic and to train at the same `n`; scores of synthetic and of real images."""

    fid: float
    fid_real: float
    score: float
    score_real: float
    n: int


@dataclass(frozen=True)
class Measured:
    """All results.

    train: recognition of the generator's own real data, the most it can pass on. verification, inception: the reason,
    as text, where they could not be had.
    """

    classes: list[str]
    synthetic: Recognition
    real: Recognition
    train: Recognition
    verification: VerificationResult | str
    fidelity: list[Fidelity]
    texture: list[TextureRatio]
    texture_real: list[TextureRatio]
    near_synthetic: Neighbours
    near_real: Neighbours
    inception: InceptionResult | str


def measure(sets: Sets, settings: ValidationSettings, say: Say) -> Measured:
    """Train the judges and take every measurement; the same settings, data and machine give the same numbers."""
    judges = _judges(sets, settings, say)
    say("accuracy on held-out real and on synthetic images")
    real, synthetic, learned = (recognise(judges, s, sets.users) for s in (sets.test, sets.synthetic, sets.train))
    verification = _verification(sets, settings, say)
    fidelity = _fidelity(sets, judges[0], settings, say)
    say("texture and closest training images")
    rng = np.random.default_rng([settings.seed, 1])
    train = sets.train
    return Measured(
        classes=[str(c) for c in judges[0].classes_],
        synthetic=synthetic,
        real=real,
        train=learned,
        verification=verification,
        fidelity=fidelity,
        texture=texture_ratios(sets.test.images, sets.synthetic.images, rng, settings.bootstrap_draws),
        texture_real=texture_ratios(sets.test.images, train.images, rng, settings.bootstrap_draws),
        near_synthetic=nearest_same_user(sets.synthetic, train, settings.max_shift),
        near_real=nearest_same_user(sets.test, train, settings.max_shift),
        inception=_inception(sets, settings, say),
    )


def _judges(sets: Sets, settings: ValidationSettings, say: Say) -> list[Judge]:
    judges: list[Judge] = []
    for number in range(settings.judge_seeds):
        say(f"judge {number + 1} of {settings.judge_seeds} on {len(sets.judge)} real images")
        judges += train_judges(
            sets.judge, [settings.seed + number], settings.judge_steps, settings.batch_size, settings.judge_size,
            settings.device,
        )  # fmt: skip
    return judges


def _verification(sets: Sets, settings: ValidationSettings, say: Say) -> VerificationResult | str:
    per_user = max(2, int(settings.max_pairs**0.5 / len(sets.users)))
    try:
        sides = split_enrolment(sets.real, sets.users, per_user, settings.seed)
    except MdgenError as error:
        return str(error)
    say(f"verification embedding, then {len(sides.enrolment)} enrolled against {len(sides.probes)} probes")
    embedding = VerificationEmbedding(
        settings.seed, settings.verification_steps, settings.batch_size, settings.judge_size, settings.device
    ).fit(sets.judge)
    return verify(embedding, sides, sets.synthetic, settings.seed, settings.bootstrap_draws)


def _fidelity(sets: Sets, judge: Judge, settings: ValidationSettings, say: Say) -> list[Fidelity]:
    results = []
    for number, name in enumerate(settings.encoders):
        say(f"distances, encoder {name}")
        rng = np.random.default_rng([settings.seed, 2, number])
        encoder = _encoder(name, sets, judge, settings)
        limit, draws = settings.max_encoded_images, settings.bootstrap_draws
        results.append(compare(name, encoder, sets, limit, draws, settings.null_draws, rng))
    return results


def _encoder(name: str, sets: Sets, judge: Judge, settings: ValidationSettings) -> Encoder:
    if name == "judge":
        return judge.embed
    if name == "efficientnet_lite0":
        return efficientnet_lite0(settings.encoder_size, settings.device)
    if name == "pixels_pca64":
        return pixels_pca(sets.judge.images, 64, settings.judge_size)
    raise MdgenError(f"validate.encoders: unknown encoder {name!r}; use judge, efficientnet_lite0, pixels_pca64")


def _inception(sets: Sets, settings: ValidationSettings, say: Say) -> InceptionResult | str:
    try:
        encoder = InceptionEncoder(find_weights(settings.inception_weights, settings.allow_download), settings.device)
    except MdgenError as error:
        return str(error)
    rng = np.random.default_rng([settings.seed, 3])
    n = min(settings.max_inception_images, len(sets.test), len(sets.train), len(sets.synthetic))
    if n < 2:
        return "fewer than two images in one of the sets"
    say(f"Inception features of 3 x {n} images")
    test, train, synthetic = (encoder(_draw(s, n, rng)) for s in (sets.test, sets.train, sets.synthetic))
    return InceptionResult(
        inception_fid(test, synthetic), inception_fid(test, train), inception_score(synthetic), inception_score(test), n
    )


def _draw(data: SpectrogramSet, count: int, rng: np.random.Generator) -> np.ndarray:
    return data.images[np.sort(rng.permutation(len(data))[:count])]
