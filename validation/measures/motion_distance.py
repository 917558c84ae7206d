"""How far the motion of one set of windows is from a person's real sessions, in units of how far those are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import trim_mean, wasserstein_distance
from sklearn.covariance import ledoit_wolf

from mdgen.data.dataset import ROLES, SpectrogramSet
from validation.measures.kinematics import measure
from validation.measures.resampling import Interval
from validation.measures.scales import QUANTITIES, Scales, scales_of
from validation.sets import session_units

#: Fewer windows in which a quantity is measurable give no distribution.
MIN_WINDOWS = 5
#: Two sessions, or two parts of one, neither say where a person's middle is nor how far sessions lie from it.
MIN_SESSIONS = 3
#: Sessions of one person that weigh as much as what is known of everybody's, when it is asked how much sessions vary.
PRIOR_SESSIONS = 8
#: What carries a direction, of motion or of time; a reversal turns its sign.
DIRECTED = ("torso_velocity", "lead", "foot_lag")
#: What a stretched time or Doppler axis moves.
SCALED = ("step_period", "torso_velocity", "bandwidth")


@dataclass(frozen=True)
class Windows:
    """Measured windows. values: one row each, one column per quantity. user, unit, role: text [N]; a unit is a session,
    or what stands for one."""

    values: pd.DataFrame
    user: np.ndarray
    unit: np.ndarray
    role: np.ndarray
    scales: Scales

    def where(self, mask: np.ndarray) -> Windows:
        """The windows where `mask`, bool [N], holds."""
        values = self.values[mask].reset_index(drop=True)
        return Windows(values, self.user[mask], self.unit[mask], self.role[mask], self.scales)

    def of(self, user: str) -> Windows:
        """One user's windows."""
        return self.where(self.user == user)

    def units_of(self, user: str) -> list[str]:
        """The user's sessions."""
        return sorted(set(self.unit[self.user == user]))


def measure_windows(data: SpectrogramSet, physical: bool) -> Windows:
    """Every window of `data` measured, in m/s and s if `physical`, else in rows and columns."""
    scales = scales_of(data, physical)
    user, role = data.table["user"].to_numpy(str), data.table["split"].to_numpy(str)
    return Windows(measure(data.images, scales), user, session_units(data.table), role, scales)


def compared_quantities(real: Windows, share: float) -> list[str]:
    """The quantities that can be measured in at least `share` of the real windows."""
    measurable = real.values.notna().mean()
    return [name for name in QUANTITIES if measurable[name] >= share]


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """First Wasserstein distance of the measurable values; NaN where either has fewer than `MIN_WINDOWS`."""
    x, y = (values[np.isfinite(values)] for values in (a, b))
    return float(wasserstein_distance(x, y)) if min(len(x), len(y)) >= MIN_WINDOWS else np.nan


def session_distances(real: Windows, quantities: Sequence[str]) -> pd.DataFrame:
    """How far each real session is from the same user's others: index (user, unit), one column per quantity."""
    rows = {}
    for user in sorted(set(real.user)):
        own = real.of(user)
        for unit in own.units_of(user):
            rows[user, unit] = _apart(own.where(own.unit == unit), own.where(own.unit != unit), quantities)
    index = pd.MultiIndex.from_tuples(rows, names=["user", "unit"])
    return pd.DataFrame(list(rows.values()), index, list(quantities))


def set_distances(candidate: Windows, real: Windows, quantities: Sequence[str], users: Sequence[str]) -> pd.DataFrame:
    """How far each user's windows in `candidate` are from the real ones, index user: from the rows of role train or
    from all of them, whichever is closer. A generator owes no more than the sessions it was shown."""
    rows = {}
    for user in users:
        mine, own = candidate.of(user), real.of(user)
        rows[user] = np.fmin(_apart(mine, own, quantities), _apart(mine, own.where(own.role == "train"), quantities))
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(quantities))


def joint_distances(
    candidate: Windows, real: Windows, users: Sequence[str], measurable: float
) -> tuple[pd.Series, pd.Series]:
    """How far speed, cadence and bandwidth together are from a person's: by user, and by (user, unit) of real sessions.

    Mahalanobis distance over the root of the number of quantities, from the mean of the user's (other) sessions. Its
    covariance is that of sessions within a person, pooled over people and shrunk (Ledoit and Wolf 2004), and then
    updated by the person's own (other) sessions, `PRIOR_SESSIONS` of anybody's counting as much as that many of theirs:
    who walks the same every day owes less. A scaled axis moves two quantities against the others, and so stands out
    before any of them does alone. Of whom fewer than `MIN_SESSIONS` are known, too little is known to say. Both empty
    where one of the three cannot be measured in the share `measurable` of the real windows: then it is no gait. Both
    empty, too, where roles stand for sessions, as they are drawn from the same ones.
    """
    quantities = list(SCALED)
    if real.values[quantities].notna().to_numpy().mean(axis=0).min() < measurable or (real.unit == real.role).all():
        return pd.Series(dtype=float), pd.Series(dtype=float)
    keys = sorted(set(zip(real.user, real.unit, strict=True)))
    middles = {
        (user, unit): _middles(real.where((real.user == user) & (real.unit == unit)), quantities) for user, unit in keys
    }
    sessions = pd.DataFrame.from_dict(middles, orient="index", columns=quantities).dropna()
    sessions.index = pd.MultiIndex.from_tuples(sessions.index, names=["user", "unit"])
    count = sessions.groupby(level="user")[quantities[0]].transform("size")
    several = sessions[count > 1]
    if len(several) <= len(quantities):
        return pd.Series(dtype=float), pd.Series(dtype=float)
    centres = several.groupby(level="user").transform("mean")
    apart = (several - centres).mul(np.sqrt(count / (count - 1)), axis=0).dropna()
    spread = apart.std(ddof=0) + 1e-9
    apart /= spread
    pooled, whose = ledoit_wolf(apart.to_numpy(), assume_centered=True)[0], apart.index.get_level_values("user")

    def length(offset: pd.Series, own: pd.DataFrame) -> float:
        scatter = own.to_numpy().T @ own.to_numpy()
        covariance = (PRIOR_SESSIONS * pooled + scatter) / (PRIOR_SESSIONS + len(own))
        return float(np.sqrt(offset @ np.linalg.solve(covariance, offset) / len(quantities)))

    found = pd.DataFrame.from_dict(
        {u: _middles(candidate.of(u), quantities) for u in users}, orient="index", columns=quantities
    )
    known = sessions[count >= MIN_SESSIONS].groupby(level="user").mean()
    offsets = ((found - known.reindex(users)) / spread).dropna()
    of_users = {user: length(offset, apart[whose == user]) for user, offset in offsets.iterrows()}
    of_sessions = {
        key: length(offset, apart[(whose == key[0]) & (apart.index != key)]) for key, offset in apart.iterrows()
    }
    return pd.Series(of_users, dtype=float), pd.Series(of_sessions, dtype=float)


def typical_distances(sessions: pd.DataFrame, scales: Scales) -> pd.Series:
    """Mean distance of a real session from its user's others, over all users; never below the resolution."""
    resolution = [QUANTITIES[name].resolution * scales.unit(name) for name in sessions.columns]
    return sessions.mean().clip(lower=pd.Series(resolution, sessions.columns))


def fresh_session_limit(relative: pd.DataFrame, rng: np.random.Generator, draws: int = 500) -> float:
    """What real data reach: 99th percentile of the greatest mean over users when each user gives one real session.

    relative: the session distances over the typical ones, index (user, unit).
    """
    per_user = [group.to_numpy() for _, group in relative.groupby(level="user")]
    picked = np.stack([rows[rng.integers(len(rows), size=draws)] for rows in per_user])  # (users, draws, quantities)
    means = np.nanmean(np.where(np.isfinite(picked).any(axis=0), picked, 0.0), axis=0)
    return float(np.quantile(means.max(axis=1), 0.99))


def signed_shift(candidate: Windows, real: Windows, name: str, users: Sequence[str]) -> Interval | None:
    """Mean over users of log(median of `candidate` / median of the real windows), with a 95 % interval.

    Torso velocity without axes has no zero: there it is the difference over the real bandwidth. The standard error is
    the larger of the one over users and the one that the spread of each user's own real sessions gives, as two
    faultless users prove little. None where no user has both.
    """
    shifts, spreads = [], []
    for user in users:
        mine, own = candidate.of(user).values, real.of(user)
        home = _position(own.values, name, own)
        shift = _position(mine, name, own) - home
        sessions = [_position(own.where(own.unit == unit).values, name, own) for unit in own.units_of(user)]
        if np.isfinite(shift):
            shifts.append(shift)
            spreads += [s - home for s in sessions if np.isfinite(s)]
    if not shifts or len(spreads) < 2:
        return None
    scatter = np.std(shifts, ddof=1) if len(shifts) > 1 else 0.0
    error = max(scatter, np.std(spreads, ddof=1)) / np.sqrt(len(shifts))
    mean = float(np.mean(shifts))
    return Interval(mean, mean - 1.96 * error, mean + 1.96 * error)


def direction(candidate: Windows, real: Windows, name: str, users: Sequence[str], min_signal: float) -> float | None:
    """Slope of the candidate's user means over the real ones, through zero: 1 as real, -1 reversed, 0 either way.

    None where the real means are not clear of zero: their mean square must reach `min_signal` times the variance that
    differences between sessions leave in them.
    """
    real_means, means, noise = [], [], []
    for user in users:
        own = real.of(user)
        sessions = own.values[name].groupby(own.unit).mean().dropna()
        mine = candidate.of(user).values[name].mean()
        if len(sessions) >= 2 and np.isfinite(mine):
            real_means.append(own.values[name].mean())
            means.append(mine)
            noise.append(sessions.var(ddof=1) / len(sessions))
    signal = np.mean(np.square(real_means)) if real_means else 0.0
    if not real_means or signal < min_signal * np.mean(noise) or signal == 0:
        return None
    return float(np.dot(real_means, means) / np.dot(real_means, real_means))


def known_roles(data: SpectrogramSet, users: Sequence[str]) -> SpectrogramSet:
    """The rows of these users that have a role."""
    return data.role(*ROLES).of_users(users)


def _apart(a: Windows, b: Windows, quantities: Sequence[str]) -> np.ndarray:
    columns = (w.values[list(quantities)].to_numpy().T for w in (a, b))
    return np.array([wasserstein(x, y) for x, y in zip(*columns, strict=True)])


def _middles(windows: Windows, quantities: Sequence[str]) -> np.ndarray:
    """Mean of the middle half of the measurable values, each quantity; NaN where fewer than `MIN_WINDOWS` are.

    Periods off by an octave do not move it, and a few windows say it more exactly than they say a median.
    """
    columns = (windows.values[name].dropna() for name in quantities)
    return np.array([trim_mean(values, 0.25) if len(values) >= MIN_WINDOWS else np.nan for values in columns])


def _position(values: pd.DataFrame, name: str, own: Windows) -> float:
    """Where a user's windows stand on a scale on which a stretched axis is a shift."""
    if values[name].count() < MIN_WINDOWS:
        return np.nan
    middle = float(values[name].median())
    if name == "torso_velocity" and not own.scales.physical:
        return middle / float(own.values["bandwidth"].median() or np.nan)
    return float(np.log(abs(middle))) if middle else np.nan
