"""Block: do synthetic windows of a person match that person's real enrolment as well as real windows do?

An embedding is trained with a metric loss on role `judge`; enrolment, real probes and synthetic probes are other data,
enrolment and real probes never of one recording. From ten users on, a second protocol is subject-disjoint: embeddings
that never met the people they verify.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.enrolment import Enrolment, equal_per_user, split_enrolment
from validation.measures.scores import (
    ScoreSet,
    area_under_roc,
    cosine_scores,
    equal_error_threshold,
    error_rates_at,
    true_accept_rate,
)
from validation.networks.embedding import VerificationEmbedding
from validation.results import ADVISORY, FAIL, INCONCLUSIVE, PASS, Gate, Metric, unavailable
from validation.rules import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: With fewer users than this, neither half would be enough to train or to verify on.
SUBJECT_DISJOINT_USERS = 10
FALSE_ACCEPT_RATES = (0.01, 0.1)
TITLE = "Verification"


def assess_verification(context: Context) -> Finding:
    """Gate `verification`: equal error rate of synthetic over that of real probes, against one real enrolment."""
    sets, settings, rule = context.sets, context.settings, context.rules["verification"]
    per_user = max(2, int(settings.max_pairs**0.5 / len(sets.users)))
    try:
        sides = split_enrolment(sets.real, sets.users, per_user, settings.seed)
    except MdgenError as error:
        return Finding(TITLE, gates=[unavailable("verification", str(error))])
    context.say(f"verification: {len(sides.enrolment)} enrolled against {len(sides.probes)} probes")
    result = verify(context.embedding, sides, sets.synthetic, settings.seed, settings.bootstrap_draws)
    disjoint = _subject_disjoint(context, sides)
    users = [u for u in sets.users if u in set(sides.probes.users)]
    return Finding(
        TITLE,
        "Pairs of windows, one enrolled and one probing, scored by an embedding trained on other recordings. The equal "
        "error rate of synthetic probes should be that of real ones; genuine pairs among the synthetic far more alike "
        "than real ones mean that a person's windows are too much alike.",
        [verification_gate(result, rule, sets.advisory)],
        _rows("session-disjoint", result) + disjoint,
        _columns(result, users),
        drawings=_drawings(result),
        warnings=sides.notes,
    )


@dataclass(frozen=True)
class VerificationResult:
    """The five score sets (two of them split into genuine and impostor by `ScoreSet`) and the rates drawn from them.

    Intervals are 95 %, from resampling users; `rise` is EER(real-synthetic) - EER(real-real).
    """

    real_real: ScoreSet
    real_synthetic: ScoreSet
    synthetic_genuine: np.ndarray
    eer_real: float
    eer_synthetic: float
    eer_real_interval: tuple[float, float]
    eer_synthetic_interval: tuple[float, float]
    rise_interval: tuple[float, float]
    notes: list[str]

    @property
    def rise(self) -> float:
        """EER(real-synthetic) - EER(real-real)."""
        return self.eer_synthetic - self.eer_real


def verify(
    embedding: VerificationEmbedding, sides: Enrolment, synthetic: SpectrogramSet, seed: int = 0, draws: int = 200
) -> VerificationResult:
    """Score real and as many synthetic probes per user against the same real enrolment."""
    rng = np.random.default_rng(seed)
    rr, rs, among = _score(embedding, sides, synthetic, rng)
    eers = np.array([_redrawn(rr, rs, rng) for _ in range(draws)])
    low, high = np.nanquantile(np.c_[eers, eers[:, 1] - eers[:, 0]], [0.025, 0.975], axis=0)
    intervals = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    return VerificationResult(
        rr, rs, among, rr.equal_error_rate(), rs.equal_error_rate(), intervals[0], intervals[1], intervals[2],
        sides.notes,
    )  # fmt: skip


def verification_gate(result: VerificationResult, rule: Rule, advisory: str = "") -> Gate:
    """Synthetic probes err at most `eer_margin` more than real ones against the same enrolment.

    Fail only where the interval of the rise (users resampled) lies above the margin; in between, inconclusive.
    """
    threshold = result.eer_real + rule["eer_margin"]
    rise_low, rise_high = result.rise_interval
    notes = [f"rises by {result.rise:+.3f} (95 %: {rise_low:+.3f} to {rise_high:+.3f}) over real probes"]
    if result.eer_real > rule["useless_eer"]:
        status = INCONCLUSIVE
        notes.append("the embedding does not verify real people, so it decides nothing")
    elif result.rise <= rule["eer_margin"]:
        status = PASS
    else:
        status = FAIL if rise_low > rule["eer_margin"] else INCONCLUSIVE
    if advisory:
        status = FAIL if status == FAIL else ADVISORY
        notes.append(advisory)
    low, high = result.eer_synthetic_interval
    count, note = result.real_synthetic.scores.shape[1], "; ".join(notes)
    return Gate(
        "verification", status, result.eer_synthetic, low, high, threshold, result.eer_real, count, note, floor=0.5
    )


def _score(
    embedding: VerificationEmbedding, sides: Enrolment, synthetic: SpectrogramSet, rng: np.random.Generator
) -> tuple[ScoreSet, ScoreSet, np.ndarray]:
    """Real-real and real-synthetic scores, and the genuine ones among the synthetic."""
    probes = equal_per_user(synthetic, sides.probes, rng)
    enrolled, real, fake = (embedding(s.images) for s in (sides.enrolment, sides.probes, probes))
    users_e, users_r, users_s = (s.table["user"].to_numpy() for s in (sides.enrolment, sides.probes, probes))
    among = cosine_scores(fake, users_s, fake, users_s)
    pairs = np.triu(np.ones(among.scores.shape, bool), 1) & (users_s[:, None] == users_s[None, :])
    return (
        cosine_scores(enrolled, users_e, real, users_r),
        cosine_scores(enrolled, users_e, fake, users_s),
        among.scores[pairs],
    )


def _redrawn(rr: ScoreSet, rs: ScoreSet, rng: np.random.Generator) -> tuple[float, float]:
    users = np.unique(rr.users_a)
    drawn, counts = np.unique(rng.choice(users, len(users)), return_counts=True)
    weights = dict(zip(drawn.tolist(), counts.tolist(), strict=True))
    return rr.equal_error_rate(weights), rs.equal_error_rate(weights)


def _subject_disjoint(context: Context, sides: Enrolment) -> list[Metric]:
    """Rates of embeddings trained on the other half of the users, at thresholds fixed on validation pairs."""
    sets, settings = context.sets, context.settings
    users = [u for u in sets.users if u in set(sides.enrolment.users)]
    if len(users) < SUBJECT_DISJOINT_USERS:
        note = f"needs {SUBJECT_DISJOINT_USERS} users, there are {len(users)}"
        return [Metric("equal_error_rate", None, "subject-disjoint", status="unavailable", note=note)]
    found = []
    for number, half in enumerate((users[::2], users[1::2])):
        embedding = context.embedding_without(half)
        chosen = replace(sides, enrolment=sides.enrolment.of_users(half), probes=sides.probes.of_users(half))
        rr, rs, _ = _score(
            embedding, chosen, sets.synthetic.of_users(half), np.random.default_rng([settings.seed, number])
        )
        found.append(_disjoint_rates(rr, rs, _calibration(embedding, context, half)))
    means = pd.DataFrame(found).mean()
    return [
        Metric(key, float(value), "subject-disjoint", set_a="enrolment", set_b=name, direction="lower")
        for (key, name), value in means.items()
    ]


def _disjoint_rates(rr: ScoreSet, rs: ScoreSet, calibration: ScoreSet | None) -> pd.Series:
    rates = {
        ("equal_error_rate", name): scores.equal_error_rate() for name, scores in (("test", rr), ("synthetic", rs))
    }
    if calibration is not None:
        threshold = equal_error_threshold(calibration)
        for name, scores in (("test", rr), ("synthetic", rs)):
            accepts, rejects = error_rates_at(scores, threshold)
            rates["false_accept_rate_at_validation_threshold", name] = accepts
            rates["false_reject_rate_at_validation_threshold", name] = rejects
    return pd.Series(rates)


def _calibration(embedding: VerificationEmbedding, context: Context, users: Sequence[str]) -> ScoreSet | None:
    """Pairs of validation rows with judge rows of users whom this embedding never met; None where there are none."""
    val, other = (s.of_users(users) for s in (context.sets.val, context.sets.judge))
    if not len(val) or not len(other):
        return None
    sides = [(embedding(s.images), s.table["user"].to_numpy()) for s in (other, val)]
    return cosine_scores(*sides[0], *sides[1])


def _rows(protocol: str, v: VerificationResult) -> list[Metric]:
    rows = []
    for name, eer, (low, high), scores in (
        ("test", v.eer_real, v.eer_real_interval, v.real_real),
        ("synthetic", v.eer_synthetic, v.eer_synthetic_interval, v.real_synthetic),
    ):
        n_a, n_b = scores.scores.shape
        base = Metric("", None, protocol, set_a="enrolment", set_b=name, n_a=n_a, n_b=n_b)
        rows += [
            replace(base, metric="equal_error_rate", value=eer, ci_low=low, ci_high=high, direction="lower"),
            replace(base, metric="roc_auc", value=area_under_roc(scores.genuine, scores.impostor), direction="higher"),
            replace(base, metric="genuine_similarity", value=float(scores.genuine.mean())),
            replace(base, metric="impostor_similarity", value=float(scores.impostor.mean())),
        ]
        rows += [
            replace(base, metric=f"tar_at_far_{far:g}", value=true_accept_rate(scores, far), direction="higher")
            for far in FALSE_ACCEPT_RATES
        ]
    among = float(v.synthetic_genuine.mean()) if len(v.synthetic_genuine) else None
    note = "far above real-real: the synthetic windows of a person are too much alike"
    return [*rows, Metric("genuine_similarity", among, protocol, set_a="synthetic", set_b="synthetic", note=note)]


def _columns(v: VerificationResult, users: Sequence[str]) -> pd.DataFrame:
    """Each user's own genuine pairs against the impostors that claim to be this user."""
    table = {
        name: [_own_rate(s, u) for u in users] for name, s in (("eer", v.real_synthetic), ("real_eer", v.real_real))
    }
    return pd.DataFrame(table, index=list(users))


def _own_rate(scores: ScoreSet, user: str) -> float:
    mine = scores.users_a == user
    return replace(scores, scores=scores.scores[mine], users_a=scores.users_a[mine]).equal_error_rate()


def _drawings(result: VerificationResult) -> list[Drawing]:
    def draw() -> Figure:
        from validation.report import figures

        return figures.verification(result)

    caption = "Left: similarities of pairs. Right: ROC; the equal error rate is where the dashed line is crossed."
    return [Drawing("verification", caption, draw)]
