"""Verification: do synthetic windows of a person match that person's real enrolment as well as real windows do?

An embedding is trained with a metric loss on role `judge`; enrolment, real probes and synthetic probes are other data.
Enrolment and real probes never come from one recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.judge import encode_batches
from validation.network import Trunk, resolve_device, seeded_thread, shrink

TEMPERATURE = 0.1
PEAK_RATE = 3e-3
WINDOWS_PER_USER = 4


class VerificationEmbedding:
    """Unit vectors in which windows of one person lie close: supervised contrastive loss (Khosla et al. 2020, eq. 2).

    Each batch holds four windows of each of several users. Same seed, data and machine: same embedding.
    """

    def __init__(
        self, seed: int = 0, steps: int = 200, batch_size: int = 32, size: int = 64, device: str = "auto"
    ) -> None:
        self.seed, self.steps, self.batch_size, self.size = seed, steps, batch_size, size
        self.device = resolve_device(device)

    def fit(self, data: SpectrogramSet) -> VerificationEmbedding:
        """Train on all of `data`; raises `MdgenError` on fewer than two users."""
        if len(data.users) < 2:
            raise MdgenError(f"{data.name}: verification needs at least two users, found {len(data.users)}; add users")
        images, labels = torch.from_numpy(shrink(data.images, self.size)), torch.tensor(data.labels(data.users))
        channels, height, width = images.shape[1:]
        with seeded_thread(self.seed):
            self.network = Trunk((channels, height, width)).to(self.device)
            self._train(images, labels)
        self.network.eval()
        return self

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float64 [N, 128], rows of norm 1."""
        vectors = encode_batches(self.network, shrink(images, self.size), self.device)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _train(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        from pytorch_metric_learning.losses import SupConLoss

        loss_of = SupConLoss(temperature=TEMPERATURE)
        optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=self.steps)
        rng = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            rows = _balanced_rows(labels.numpy(), self.batch_size, rng)
            optimiser.zero_grad()
            loss_of(self.network(images[rows].to(self.device)), labels[rows].to(self.device)).backward()
            optimiser.step()
            schedule.step()


def _balanced_rows(labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of one batch: `WINDOWS_PER_USER` each of as many random users as fit (at least two)."""
    known = np.unique(labels)
    chosen = rng.choice(known, min(len(known), max(2, batch_size // WINDOWS_PER_USER)), replace=False)
    rows = [np.flatnonzero(labels == user) for user in chosen]
    return np.concatenate([rng.choice(r, WINDOWS_PER_USER, replace=len(r) < WINDOWS_PER_USER) for r in rows])


@dataclass(frozen=True)
class ScoreSet:
    """Similarities of enrolment (or other) rows [n] with probe rows [m]: scores [n, m], and the user of each row."""

    scores: np.ndarray
    users_a: np.ndarray
    users_b: np.ndarray

    @property
    def genuine(self) -> np.ndarray:
        """Scores of pairs of one person."""
        return self.scores[self.users_a[:, None] == self.users_b[None, :]]

    @property
    def impostor(self) -> np.ndarray:
        """Scores of pairs of two persons."""
        return self.scores[self.users_a[:, None] != self.users_b[None, :]]

    def equal_error_rate(self, counts: dict[str, int] | None = None) -> float:
        """EER with every user counted as often as `counts` says (1 each by default)."""
        same = self.users_a[:, None] == self.users_b[None, :]
        if counts is None:
            return equal_error_rate(self.scores[same], self.scores[~same])
        weight_a = np.array([counts.get(u, 0) for u in self.users_a], float)
        weight_b = np.array([counts.get(u, 0) for u in self.users_b], float)
        # A user drawn twice must not become an impostor of itself, and gives two, not four, genuine sets.
        weights = np.where(same, weight_b[None, :], weight_a[:, None] * weight_b[None, :])
        used = weights > 0
        return equal_error_rate(
            self.scores[same & used], self.scores[~same & used], weights[same & used], weights[~same & used]
        )


def equal_error_rate(
    genuine: np.ndarray,
    impostor: np.ndarray,
    genuine_weight: np.ndarray | None = None,
    impostor_weight: np.ndarray | None = None,
) -> float:
    """Error rate where false accepts equal false rejects, in [0, 1]; higher scores mean the same person.

    Linear between the two points of the ROC around the crossing. NaN when either set is empty.
    """
    if not len(genuine) or not len(impostor):
        return float("nan")
    labels = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    weights = None
    if genuine_weight is not None and impostor_weight is not None:
        weights = np.r_[genuine_weight, impostor_weight]
    false_accept, true_accept, _ = roc_curve(labels, np.r_[genuine, impostor], sample_weight=weights)
    gap = false_accept - (1 - true_accept)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(false_accept[before] + share * (false_accept[after] - false_accept[before]))


def area_under_roc(genuine: np.ndarray, impostor: np.ndarray) -> float:
    """Probability that a genuine score exceeds an impostor score."""
    labels = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    return float(roc_auc_score(labels, np.r_[genuine, impostor]))


@dataclass(frozen=True)
class Enrolment:
    """Rows of real data for enrolment and for probing, never of one recording. notes: what had to be given up."""

    enrolment: SpectrogramSet
    probes: SpectrogramSet
    notes: list[str]


def split_enrolment(real: SpectrogramSet, users: Sequence[str], per_user: int, seed: int = 0) -> Enrolment:
    """Enrolment and probe rows of every user from the roles `test` and, where test has one recording, `val` or `judge`.

    Different sessions where test holds several, else different recordings. A user for whom no second recording is
    known outside the generator's data is left out and named in the notes. At most `per_user` rows of each kind.
    """
    rng = np.random.default_rng(seed)
    enrolled: list[np.ndarray] = []
    probing: list[np.ndarray] = []
    notes: list[str] = []
    for user in users:
        found = _user_sides(real.table, real.groups, user)
        if found is None:
            notes.append(f"{user}: no two recordings for verification, left out")
            continue
        sides, note = found
        notes += [f"{user}: {note}"] if note else []
        for chosen, rows in zip((enrolled, probing), sides, strict=True):
            chosen.append(np.sort(rng.permutation(rows)[:per_user]))
    if len(enrolled) < 2:
        raise MdgenError(f"{real.name}: fewer than two users have two recordings held out; verification needs them")
    return Enrolment(real.select(np.concatenate(enrolled)), real.select(np.concatenate(probing)), notes)


def _user_sides(table: pd.DataFrame, groups: pd.Series, user: str) -> tuple[tuple[np.ndarray, np.ndarray], str] | None:
    """(enrolment rows, probe rows) of one user, and what was given up; None where there are no two groups."""
    mine = (table["user"] == user).to_numpy()
    test = mine & (table["split"] == "test").to_numpy()
    for key in (groups.where(table["session"] == "", table["session"]), groups):
        parts = pd.unique(key[test])
        if len(parts) >= 2:
            enrol = key.isin(parts[: len(parts) // 2]).to_numpy()
            return (np.flatnonzero(test & enrol), np.flatnonzero(test & ~enrol)), ""
    for role, note in (("val", ""), ("judge", "enrolled with data that trained the embedding")):
        other = mine & (table["split"] == role).to_numpy() & ~groups.isin(groups[test]).to_numpy()
        if test.any() and other.any():
            return (np.flatnonzero(other), np.flatnonzero(test)), note
    return None


def cosine_scores(a: np.ndarray, users_a: np.ndarray, b: np.ndarray, users_b: np.ndarray) -> ScoreSet:
    """Scores between unit vectors `a` [n, D] and `b` [m, D]."""
    return ScoreSet((a @ b.T).astype(np.float32), np.asarray(users_a), np.asarray(users_b))


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
    auc_real: float
    auc_synthetic: float
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
    probes = equal_per_user(synthetic, sides.probes, rng)
    enrolled, real, fake = (embedding(s.images) for s in (sides.enrolment, sides.probes, probes))
    users_e, users_r, users_s = (s.table["user"].to_numpy() for s in (sides.enrolment, sides.probes, probes))
    rr, rs = cosine_scores(enrolled, users_e, real, users_r), cosine_scores(enrolled, users_e, fake, users_s)
    among = cosine_scores(fake, users_s, fake, users_s)
    pairs = np.triu(np.ones(among.scores.shape, bool), 1) & (users_s[:, None] == users_s[None, :])
    eers = np.array([_redrawn(rr, rs, rng) for _ in range(draws)])
    low, high = np.nanquantile(np.c_[eers, eers[:, 1] - eers[:, 0]], [0.025, 0.975], axis=0)
    intervals = [(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    return VerificationResult(
        real_real=rr,
        real_synthetic=rs,
        synthetic_genuine=among.scores[pairs],
        eer_real=rr.equal_error_rate(),
        eer_synthetic=rs.equal_error_rate(),
        eer_real_interval=intervals[0],
        eer_synthetic_interval=intervals[1],
        rise_interval=intervals[2],
        auc_real=area_under_roc(rr.genuine, rr.impostor),
        auc_synthetic=area_under_roc(rs.genuine, rs.impostor),
        notes=sides.notes,
    )


def _redrawn(rr: ScoreSet, rs: ScoreSet, rng: np.random.Generator) -> tuple[float, float]:
    users = np.unique(rr.users_a)
    drawn, counts = np.unique(rng.choice(users, len(users)), return_counts=True)
    weights = dict(zip(drawn.tolist(), counts.tolist(), strict=True))
    return rr.equal_error_rate(weights), rs.equal_error_rate(weights)


def equal_per_user(data: SpectrogramSet, like: SpectrogramSet, rng: np.random.Generator) -> SpectrogramSet:
    """At most as many random rows of each user as `like` has; users that `like` lacks are dropped."""
    wanted, users = like.table["user"].value_counts(), data.table["user"].to_numpy()
    rows = [rng.permutation(np.flatnonzero(users == user))[: wanted[user]] for user in like.users]
    return data.select(np.sort(np.concatenate(rows)))
