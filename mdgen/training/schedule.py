"""What happens at which step (data order, random seeds, learning rate), and how many steps there is time for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mdgen.config import TrainingConfig
from mdgen.errors import MdgenError

#: Share of a time budget that is left for what comes after training.
RESERVE = 0.05
#: Share of a time budget that goes into timing steps before the first one, and its most in seconds.
PROBE, MOST_PROBE_S = 0.01, 30.0


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """int64 [batch_size]: the samples of a step. An epoch is a permutation of (seed, epoch), walked through."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // count
    return np.concatenate(
        [_epoch_order(count, seed, int(e))[positions[epochs == e] - e * count] for e in np.unique(epochs)]
    )


@lru_cache(maxsize=4)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, 1, epoch]).permutation(count)


def mix_seed(*numbers: int) -> int:
    """A 63-bit seed for these numbers, such as (seed, step)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def learning_rate_factor(config: TrainingConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to `final_learning_rate` (Loshchilov & Hutter 2017, eq. 5), over `steps`."""
    warmup = max(1, round(config.warmup * steps))
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return config.final_learning_rate + (1 - config.final_learning_rate) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class Budget:
    """How long a command may take, counted from its start."""

    minutes: float
    started: float

    @classmethod
    def of(cls, minutes: float | None) -> Budget | None:
        """The budget of a command that starts now; `None` is no limit."""
        if minutes is None:
            return None
        if not minutes > 0:
            raise MdgenError(f"--max-minutes {minutes:g}: must be above 0")
        return cls(minutes, time.monotonic())

    @property
    def left_s(self) -> float:
        """Seconds that training may still take."""
        return self.minutes * 60 * (1 - RESERVE) - (time.monotonic() - self.started)

    def needs_timing(self, spent_s: float, timed: int, wanted: int) -> bool:
        """Whether to time more steps than those `timed` in `spent_s`, to know how many of `wanted` fit."""
        plenty = 2 * wanted * spent_s / timed < self.left_s
        return not plenty and spent_s < min(MOST_PROBE_S, self.minutes * 60 * PROBE)

    def affordable_steps(self, step_s: float, save_s: float, checkpoint_every: int, wanted: int) -> int:
        """The steps of a schedule that fits: `wanted`, or fewer where time is short, but one at least."""
        return max(1, min(wanted, int(self.left_s / (step_s + save_s / checkpoint_every))))


class Pace:
    """Keeps a schedule within the budget it was fitted to: looks at the clock whenever half of what was left is done.

    So the last looks are a step apart, and what is cut at each of them is the smaller the nearer the end is.
    """

    def __init__(self, budget: Budget, steps: int) -> None:
        self.budget = budget
        self._start(0, steps)

    def due(self, done: int, steps: int) -> bool:
        """Whether to look again after `done` of `steps`."""
        return steps - done <= self._look_at

    def affordable_steps(self, done: int, steps: int) -> int:
        """The length of the schedule: `steps`, or fewer where those since the last look were too slow."""
        step_s = (time.monotonic() - self._last_time) / max(1, done - self._last)
        self._start(done, steps)
        return done + max(0, min(steps - done, int(self.budget.left_s / step_s)))

    def _start(self, done: int, steps: int) -> None:
        self._last, self._last_time, self._look_at = done, time.monotonic(), (steps - done) // 2
