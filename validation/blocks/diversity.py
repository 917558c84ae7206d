"""Block: does each user's synthetic set vary as much as that user's real windows, or has it collapsed?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA

from mdgen.data.dataset import SpectrogramSet
from validation.context import Context
from validation.findings import Drawing, Finding
from validation.measures.copies import failing_users
from validation.measures.neighbourhoods import NEIGHBOURS, neighbourhoods
from validation.measures.repeats import Repeats, find_repeats
from validation.measures.resampling import Interval
from validation.results import FAIL, INCONCLUSIVE, PASS, Gate, Metric, unavailable
from validation.rules import Rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Variety within a user"
INTRO = (
    "Effective number of different images (Vendi score) over that of equally many training windows of the same user: "
    "1 is as varied as real. Where in the step a window begins does not count as variety."
)
#: The encoder that decides, and those reported beside it.
PROFILE, OTHERS = "gait_profile", ("judge", "pixels_pca64")
COMPONENTS = 32
#: Windows of a user that are needed, and that are used at most, on each side.
FEWEST, MOST = 6, 200
#: Held-out real windows that vary less than this are too few to excuse anybody.
LEAST_EXPECTED = 0.6
#: Draws of equally many windows for a value.
DRAWS = 8

#: Features of each user's rows, float64 [n, D].
Features = dict[str, np.ndarray]


@dataclass(frozen=True)
class Variety:
    """One user's set beside the training windows. ratio: of Vendi scores at `count` windows each; log_draws: its
    logarithm in draws of halves; distance: ratio of mean pairwise distances; single: the ratio of one image alone."""

    ratio: Interval
    log_draws: np.ndarray
    distance: float
    single: float
    count: int


def assess_diversity(context: Context) -> Finding:
    """Gate `diversity`: fails when users, or one of them by name, collapse to few images or repeat themselves."""
    sets, rule = context.sets, context.rules["diversity"]
    train, test, synthetic = (_features(context, PROFILE, data) for data in (sets.train, sets.test, sets.synthetic))
    context.say(f"variety of {len(sets.users)} users")
    found = _varieties(context, train, synthetic)
    if not found:
        reason = f"no user has {FEWEST} training windows that differ and {FEWEST} synthetic images"
        return Finding(TITLE, INTRO, [unavailable("diversity", reason)], open_users=sets.users)
    real = context.once(("real variety", *sets.users), lambda: _varieties(context, train, test))
    repeats = find_repeats(context)
    users = failing(found, real, repeats, rule)
    table = pd.DataFrame({u: {"variety": v.ratio.value, "distance_ratio": v.distance} for u, v in found.items()}).T
    table["repeated_share"] = repeats.per_user["near_copy_share"]
    table["same_picture_share"] = repeats.same.per_user
    table["coverage"] = pd.Series(_coverages(context, train, synthetic), dtype=float)
    return Finding(
        TITLE,
        INTRO,
        gates=[diversity_gate(found, real, repeats, users, rule)],
        metrics=[*_metrics(context, found, real, repeats), *_coverage_metrics(context, train, test, table["coverage"])],
        per_user=table,
        failed_users=users,
        drawings=[Drawing("diversity", INTRO, lambda: _draw(found, real, rule))],
        open_users=[user for user in sets.users if user not in found],
    )


def vendi_score(features: np.ndarray, bandwidth: float) -> float:
    """Effective number of different rows of `features` [n, D], from 1 (all equal) to n (all far apart).

    exp of the entropy of the eigenvalues of K / n (Friedman & Dieng 2023, definition 3.1) with the Gaussian kernel
    exp(-d^2 / 2 h^2), h = `bandwidth`: with cosines, what all windows of a person share hides how they differ.
    """
    kernel = np.exp(-squareform(pdist(features, "sqeuclidean")) / (2 * bandwidth**2))
    values = np.linalg.eigvalsh(kernel / len(features))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def variety(real: np.ndarray, other: np.ndarray, rng: np.random.Generator, draws: int = 50) -> Variety | None:
    """Variety of `other` [m, D] over that of `real` [n, D] at equal numbers; None where either is too small, or `real`
    constant.

    The kernel is as wide as half the median distance between real rows. Interval: spread over halves drawn without
    replacement from both, which about equals that of the whole (Shao & Wu 1989).
    """
    count = min(len(real), len(other), MOST)
    bandwidth = float(np.median(pdist(real[:MOST]))) / 2 if count >= FEWEST else 0.0
    if bandwidth < 1e-9:
        return None

    def scores(size: int) -> np.ndarray:
        return np.array([vendi_score(f[rng.permutation(len(f))[:size]], bandwidth) for f in (other, real)])

    whole = np.log([scores(count) for _ in range(DRAWS)]).mean(axis=0)
    halves = np.log([scores(count // 2) for _ in range(draws)])
    log_draws = halves[:, 0] - halves[:, 1]
    distance = float(pdist(other[:MOST]).mean() / pdist(real[:MOST]).mean())
    return Variety(_log_interval(whole[0] - whole[1], log_draws), log_draws, distance, float(np.exp(-whole[1])), count)


def overall(found: dict[str, Variety]) -> Interval:
    """Geometric mean of the users' ratios, with the interval of its draws."""
    value = float(np.mean([np.log(v.ratio.value) for v in found.values()]))
    return _log_interval(value, np.mean([v.log_draws for v in found.values()], axis=0))


def failing(found: dict[str, Variety], real: dict[str, Variety], repeats: Repeats, rule: Rule) -> list[str]:
    """Users who collapse (ratio below `user_ratio` by its upper bound, or below that share of the ratio of their own
    held-out windows where these vary less) or who repeat themselves, nearly or pixel by pixel."""

    def collapsed(user: str) -> bool:
        own = real[user].ratio.value if user in real else 1.0
        return found[user].ratio.high < rule["user_ratio"] * np.clip(own, LEAST_EXPECTED, 1)

    same, usual = repeats.same.per_user, repeats.same_honest
    allowed = rule["user_repeats"] + usual.per_user.reindex(same.index).fillna(0).clip(lower=usual.share)
    repeating = {*failing_users(repeats.per_user, repeats.honest + rule["user_repeats"]), *same.index[same > allowed]}
    return [str(u) for u in repeats.per_user.index if u in repeating or (u in found and collapsed(str(u)))]


def diversity_gate(
    found: dict[str, Variety], real: dict[str, Variety], repeats: Repeats, users: Sequence[str], rule: Rule
) -> Gate:
    """Pass: the users' mean ratio reaches `ratio` (of what held-out real windows reach, where these vary less), nobody
    collapses, and images hardly repeat each other."""
    ratio, ceiling = overall(found), overall(real).value if real else None
    threshold = rule["ratio"] * float(np.clip(1.0 if ceiling is None else ceiling, LEAST_EXPECTED, 1))
    worst = min(found, key=lambda u: found[u].ratio.value)
    notes = [f"least varied: {worst} ({found[worst].ratio.value:.2f})"]
    status = FAIL if ratio.high < threshold else PASS if ratio.value >= threshold else INCONCLUSIVE
    if repeats.share.low > repeats.honest + rule["repeats"]:
        status = FAIL
        notes.append(
            f"{repeats.share.value:.0%} of the images nearly repeat another, {repeats.honest:.0%} of training windows"
        )
    if repeats.same.share > repeats.same_honest.share + rule["repeats"]:
        status = FAIL
        notes.append(
            f"{repeats.same.share:.0%} of the images are the very picture of another, "
            f"{repeats.same_honest.share:.0%} of training windows"
        )
    if users:
        status = FAIL
        notes.append("users that fail: " + ", ".join(users))
    count, floor = sum(v.count for v in found.values()), float(np.mean([v.single for v in found.values()]))
    return Gate(
        "diversity", status, ratio.value, ratio.low, ratio.high, threshold, ceiling, count, "; ".join(notes), floor
    )


def _features(context: Context, name: str, data: SpectrogramSet) -> Features:
    """By encoder `name`; each number over its spread among judge rows, in their first principal components."""
    known = context.features(name, context.sets.judge)
    mean, spread = known.mean(axis=0), known.std(axis=0) + 0.1 * known.std()
    model = context.once(
        ("components", name),
        lambda: PCA(min(COMPONENTS, *known.shape, len(known) - 1), svd_solver="full").fit((known - mean) / spread),
    )
    projected, owner = model.transform((context.features(name, data) - mean) / spread), data.table["user"].to_numpy()
    return {user: projected[owner == user] for user in context.sets.users}


def _varieties(context: Context, real: Features, other: Features, draws: int | None = None) -> dict[str, Variety]:
    rng = context.rng("diversity")
    found = {u: variety(real[u], other[u], rng, draws or context.settings.null_draws) for u in real}
    return {user: v for user, v in found.items() if v is not None}


def _coverages(context: Context, real: Features, other: Features) -> dict[str, float]:
    """Share of each user's real rows whose ball to the fifth neighbour holds a row of `other`, at equal numbers."""
    rng, found = context.rng("coverage"), {}
    for user, own in real.items():
        count = min(len(own), len(other[user]), MOST)
        if count > NEIGHBOURS:
            a, b = (f[rng.permutation(len(f))[:count]] for f in (own, other[user]))
            found[user] = neighbourhoods(a, b).coverage
    return found


def _metrics(
    context: Context, found: dict[str, Variety], real: dict[str, Variety], repeats: Repeats
) -> Iterator[Metric]:
    for name, varieties in (("synthetic", found), ("test", real)):
        if varieties:
            ratio = overall(varieties)
            yield Metric("vendi_ratio", ratio.value, PROFILE, set_a="train", set_b=name, ci_low=ratio.low,
                         ci_high=ratio.high, direction="one", note="geometric mean of users")  # fmt: skip
        for user, v in varieties.items():
            yield Metric("vendi_ratio", v.ratio.value, PROFILE, "user", user, "train", name, v.ratio.low, v.ratio.high,
                         v.count, v.count, "one")  # fmt: skip
            yield Metric("distance_ratio", v.distance, PROFILE, "user", user, "train", name, direction="one")
    share, honest = repeats.share, "training windows as they are; overlapping ones repeat each other"
    yield Metric("repeated_share", share.value, set_b="synthetic", ci_low=share.low, ci_high=share.high,
                 direction="lower")  # fmt: skip
    yield Metric("repeated_share", repeats.honest, set_b="train", direction="lower", note=honest)
    for name, same in (("synthetic", repeats.same), ("train", repeats.same_honest)):
        yield Metric("same_picture_share", same.share, set_b=name, direction="lower", note="equal in 8 bit")
    for name in OTHERS:
        train, synthetic = (_features(context, name, data) for data in (context.sets.train, context.sets.synthetic))
        for user, v in _varieties(context, train, synthetic, draws=1).items():
            yield Metric("vendi_ratio", v.ratio.value, name, "user", user, "train", "synthetic", direction="one")
            yield Metric("distance_ratio", v.distance, name, "user", user, "train", "synthetic", direction="one")


def _coverage_metrics(context: Context, train: Features, test: Features, coverage: pd.Series) -> Iterator[Metric]:
    note = "share of training windows with a window of the other set among as near as their fifth neighbour"
    for name, values in (("synthetic", coverage.dropna()), ("test", pd.Series(_coverages(context, train, test)))):
        if len(values):
            yield Metric("coverage_of_training", float(values.mean()), PROFILE, set_a="train", set_b=name,
                         direction="higher", note=note)  # fmt: skip
        for user, value in values.items():
            yield Metric("coverage_of_training", float(value), PROFILE, "user", str(user), "train", name,
                         direction="higher")  # fmt: skip


def _log_interval(value: float, log_draws: np.ndarray) -> Interval:
    margin = 1.96 * float(log_draws.std())
    return Interval(*np.exp([value, value - margin, value + margin]).tolist())


def _draw(found: dict[str, Variety], real: dict[str, Variety], rule: Rule) -> Figure:
    from matplotlib.figure import Figure

    from validation.report.figures import GRAY, REAL, SYNTHETIC, label

    users = list(found)
    figure = Figure(figsize=(6.6, 1.2 + 0.34 * len(users)))
    axis = figure.subplots()
    for varieties, colour, offset, name in (
        (real, REAL, -0.14, "real, held out"),
        (found, SYNTHETIC, 0.14, "synthetic"),
    ):
        ratios = [(place + offset, varieties[u].ratio) for place, u in enumerate(users) if u in varieties]
        if ratios:
            place, values = [p for p, _ in ratios], [r.value for _, r in ratios]
            error = np.array([[r.value - r.low, r.high - r.value] for _, r in ratios]).T
            axis.errorbar(values, place, xerr=error, fmt="o", color=colour, capsize=2, label=name)
    axis.axvline(1, color=GRAY, linewidth=1)
    axis.axvline(rule["user_ratio"], color=GRAY, linestyle="--", linewidth=1)
    axis.set(yticks=range(len(users)), xlabel="variety over that of training windows", xlim=(0, None))
    axis.set_yticklabels([label(u) for u in users])
    axis.invert_yaxis()
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    return figure
