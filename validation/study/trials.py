"""Trials: people with many recordings, newcomers with a few windows of few recordings, and the newcomers' others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError


@dataclass(frozen=True)
class Trial:
    """known: every window of the people with many recordings. few: all that may be seen of the newcomers, `windows` of
    each from `recordings` of them. test: the newcomers' other recordings, which no arm and no choice may touch."""

    seed: int
    recordings: int
    windows: int
    known: SpectrogramSet
    few: SpectrogramSet
    test: SpectrogramSet

    @property
    def name(self) -> str:
        return f"{self.recordings}-recordings-{self.windows}-windows-seed-{self.seed}"

    def halves(self) -> np.ndarray:
        """bool [len(test)]: a random half of each newcomer's unseen recordings."""
        groups = pd.DataFrame({"user": self.test.table["user"], "group": self.test.groups}).drop_duplicates()
        groups = groups.sample(frac=1, random_state=self.seed)
        first = groups.groupby("user").cumcount() % 2 == 0
        return self.test.groups.isin(groups["group"][first]).to_numpy()


def draw_trial(data: SpectrogramSet, recordings: int, windows: int, seed: int) -> Trial:
    """Half of the people are newcomers; seeds 2k and 2k + 1 take complementary halves, so that all are, equally often.

    Which recordings and windows of a newcomer are seen depends on the seed alone; recordings with fewer than half of
    the windows they should give come last. Raises
    `MdgenError` where fewer than two newcomers, or two others, have more than `recordings` recordings, or where one
    window of each newcomer is all that is seen.
    """
    people = np.random.default_rng([seed // 2, 1]).permutation(data.users)
    newcomers = people[seed % 2 :: 2]
    user, group = data.table["user"].to_numpy(), data.groups.to_numpy()
    rng = np.random.default_rng([seed, 2])
    seen, unseen, used = [], [], 0
    for person in sorted(newcomers):
        own = rng.permutation(np.unique(group[user == person]))
        order = {name: rng.permutation(np.flatnonzero(group == name)) for name in own}
        own = sorted(own, key=lambda name: len(order[name]) < windows / recordings / 2)
        if len(own) <= recordings:
            continue
        used += 1
        chosen = [order[name] for name in own[:recordings]]
        seen.append(_in_turn(chosen)[:windows])
        unseen.append(np.concatenate([order[name] for name in own[recordings:]]))
    known = np.isin(user, np.setdiff1d(people, newcomers))
    if used < 2 or len(set(user[known])) < 2:
        raise MdgenError(
            f"{data.name}: a study needs two newcomers and two others with more than {recordings} recordings each; "
            "import the data with recordings, or ask for fewer"
        )
    few, test = (data.select(np.sort(np.concatenate(rows))) for rows in (seen, unseen))
    if len(few) <= used:
        raise MdgenError(
            f"{data.name}: one window of each newcomer teaches nothing of how it varies; see more --windows"
        )
    return Trial(seed, recordings, windows, data.select(known), few, test)


def _in_turn(parts: list[np.ndarray]) -> np.ndarray:
    """One of each part, then the next of each, until all are used up."""
    longest = max(len(part) for part in parts)
    return np.concatenate([[part[i] for part in parts if i < len(part)] for i in range(longest)]).astype(int)
