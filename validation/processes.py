"""The processes of `accelerate launch`, each of which runs the same validation: who encodes what, and who writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from accelerate import PartialState


def several() -> bool:
    """Whether `accelerate launch` (or torchrun) started more than one process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main() -> bool:
    """True in the one process that may write."""
    return int(os.environ.get("RANK", "0")) == 0


def everywhere(condition: bool) -> bool:
    """Whether `condition` holds in every process; all of them must ask."""
    if not several():
        return condition
    from accelerate.utils import gather_object

    _state()
    return all(gather_object([condition]))


def encode_shares(encode: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """`encode(images)` [N, D], where every process encodes its share of the rows and gets all of them, in order."""
    if not several():
        return encode(images)
    from accelerate.utils import gather_object

    with _state().split_between_processes(list(range(len(images)))) as rows:
        mine = [encode(images[rows])] if len(rows) else []
    return np.concatenate(gather_object(mine))


def _state() -> PartialState:
    """Of the processes; on a machine without a GPU accelerate has to be told so, or every process believes itself
    alone."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
