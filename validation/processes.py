"""The processes of `accelerate launch`, each of which runs the same validation: who encodes what, and who writes."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np


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
    from accelerate import PartialState
    from accelerate.utils import gather_object

    PartialState()
    return all(gather_object([condition]))


def encode_shares(encode: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """`encode(images)` [N, D], where every process encodes its share of the rows and gets all of them, in order."""
    if not several():
        return encode(images)
    from accelerate import PartialState
    from accelerate.utils import gather_object

    with PartialState().split_between_processes(list(range(len(images)))) as rows:
        mine = [encode(images[rows])] if len(rows) else []
    return np.concatenate(gather_object(mine))
