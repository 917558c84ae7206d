"""What a training trains: one small object that knows its networks, batches and losses, and nothing of the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

#: Tensors of equal first dimension: the samples of a step. It may be cut anywhere along it.
Batch = Mapping[str, Tensor]
#: Concatenates the tensors of all processes along their first dimension.
Gather = Callable[[Tensor], Tensor]


class Task(nn.Module):
    """Networks as submodules, samples 0..len-1, and the losses of a batch.

    names: what a person would call the samples, for example their files; by default their numbers.

    All randomness but dropout is in `draw`, so that the losses of a batch are the mean of those of its parts: it may
    then be cut into micro-batches and over processes without changing what is learned.
    """

    names: list[str] | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def parts(self) -> Mapping[str, tuple[list[nn.Parameter], float]]:
        """Named groups of parameters, each with its peak learning rate; gradients are clipped group by group."""
        raise NotImplementedError

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        """The samples of these indices with all random numbers they need, on the CPU, every tensor [N, ...]."""
        raise NotImplementedError

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Named means over the samples; `total` is minimised, the others are logged.

        progress: share of the run done, in [0, 1).
        """
        raise NotImplementedError

    def begin_step(self) -> None:
        """Called before the first `forward` of a step, and again where the step is tried anew with less memory."""

    def end_step(self, gather: Gather) -> None:
        """Called after a step was applied: for what is learned without gradients, from what all forwards showed."""

    def sample_names(self, indices: np.ndarray) -> list[str]:
        """The names of these samples."""
        return [self.names[i] if self.names else str(i) for i in indices]

    def validation_loss(self) -> float | None:
        """Loss on samples that are not trained on, the same ones in the same way at every call; `None` without any."""
        return None

    def pictures(self) -> dict[str, Tensor]:
        """Images [N, C, H, W] in [-1, 1] that show how far it is."""
        return {}
