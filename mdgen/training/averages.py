"""Averages of the weights over training: one of a fixed half-life, and profiles that give any length afterwards.

Power-function profiles and their reconstruction: Karras et al. 2024, "Analyzing and Improving the Training Dynamics of
Diffusion Models", section 3.1 and appendix C. There the products of profiles are integrals; here every average's
weights are worked out step by step, so that a reconstruction is of what the loop did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.training.checkpoint import checkpoints, load_checkpoint
from mdgen.training.sharding import share_of, whole


@dataclass(frozen=True)
class HalfLife:
    """Exponential average of a half-life in steps; shorter at first, so that a short run is not stuck at its start."""

    steps: float

    def decay(self, step: int) -> float:
        """What the average keeps of itself at update `step` (1, 2, ...); at the first one, nothing."""
        return 0.0 if step == 1 else min(step / (step + 9), 0.5 ** (1 / self.steps))


@dataclass(frozen=True)
class PowerFunction:
    """Average whose weights grow like a power of the step ; its length stays a fixed share of the run.

    relative_std: standard deviation of the weights in shares of the run, above 0 and below 0.289.
    """

    relative_std: float

    @cached_property
    def exponent(self) -> float:
        """gamma of a relative deviation: the root of std^2 = (gamma + 1) / (gamma + 2)^2 / (gamma + 3)."""
        inverse = self.relative_std**-2
        return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())

    def decay(self, step: int) -> float:
        """(1 - 1/step)^(gamma + 1)."""
        return (1 - 1 / step) ** (self.exponent + 1)


Profile = HalfLife | PowerFunction


class Averages:
    """Running averages of `parameters`, one for each profile; on the CPU if asked, to spare the device's memory."""

    def __init__(self, parameters: Sequence[Tensor], profiles: Sequence[Profile], on_cpu: bool = False) -> None:
        self.parameters, self.profiles = list(parameters), list(profiles)
        self.device = torch.device("cpu") if on_cpu else None
        self.updates = 0
        self.shadows = [[p.detach().to(device=self.device, copy=True) for p in self.parameters] for _ in profiles]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        self.updates += 1
        current = [p.detach().to(device=self.device) for p in self.parameters]
        for profile, shadow in zip(self.profiles, self.shadows, strict=True):
            torch._foreach_lerp_(shadow, current, 1 - profile.decay(self.updates))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The first average in the place of the parameters for the length of the block."""
        if not self.shadows:
            yield
            return
        kept = [p.detach().clone() for p in self.parameters]
        self.copy_to_parameters(self.shadows[0])
        try:
            yield
        finally:
            self.copy_to_parameters(kept)

    @torch.no_grad()
    def copy_to_parameters(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "shadows": whole(self.shadows)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        for shadow, saved in zip(self.shadows, state["shadows"], strict=True):
            for ours, theirs in zip(shadow, saved, strict=True):
                ours.copy_(share_of(theirs, ours))

    def snapshot(self) -> dict[str, Any]:
        """The power-function averages as a state to keep: several over a run are what `reconstruct` needs."""
        kept = [(p, s) for p, s in zip(self.profiles, self.shadows, strict=True) if isinstance(p, PowerFunction)]
        return {
            "updates": self.updates,
            "relative_stds": [profile.relative_std for profile, _ in kept],
            "shadows": whole([shadow for _, shadow in kept]),
        }


def weights_over_steps(profile: Profile, updates: int, length: int) -> np.ndarray:
    """float64 [length]: the weight of each update's parameters in the average after `updates` of them; sums to 1."""
    decays = np.array([profile.decay(step) for step in range(1, updates + 1)])
    later = np.append(np.cumprod(decays[:0:-1])[::-1], 1.0)  # what is left of each update after all that follow
    return np.pad((1 - decays) * later, (0, length - updates))


def reconstruct(folder: Path, profile: Profile) -> list[Tensor]:
    """The average over the whole run by `profile`, from the snapshots in `folder`: the nearest combination of them.

    Raises `MdgenError` where there are no snapshots.
    """
    snapshots = [load_checkpoint(checkpoint) for checkpoint in checkpoints(folder)]
    if not snapshots:
        raise MdgenError(f"{folder}: holds no averages; train with ema_profiles=[0.05, 0.1]")
    length = snapshots[-1]["updates"]
    known, shadows = [], []
    for snapshot in snapshots:
        for width, shadow in zip(snapshot["relative_stds"], snapshot["shadows"], strict=True):
            known.append(weights_over_steps(PowerFunction(width), snapshot["updates"], length))
            shadows.append(shadow)
    target = weights_over_steps(profile, length, length)
    shares = np.linalg.lstsq(np.stack(known, axis=1), target, rcond=1e-12)[0]
    total = [torch.zeros_like(p, dtype=torch.float64) for p in shadows[0]]
    for share, shadow in zip(shares, shadows, strict=True):
        for sum_, part in zip(total, shadow, strict=True):
            sum_ += float(share) * part.double()
    return [sum_.to(part.dtype) for sum_, part in zip(total, shadows[0], strict=True)]


def best_length(
    averages: Averages, folder: Path, lengths: Sequence[float], score: Callable[[], float]
) -> dict[str, float]:
    """`score` (lower is better) of power-function averages of these relative deviations, and of the weights in place.

    The parameters are left with the best one's. score: called with the weights in place, for example a validation loss
    or a judge's error rate.
    """
    best = [p.detach().clone() for p in averages.parameters]
    scores = {"in place": score()}
    for length in lengths:
        candidate = reconstruct(folder, PowerFunction(length))
        averages.copy_to_parameters(candidate)
        scores[f"{length:g}"] = score()
        if scores[f"{length:g}"] == min(scores.values()):
            best = candidate
    averages.copy_to_parameters(best)
    return scores
