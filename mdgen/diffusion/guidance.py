"""Classifier-free guidance (Ho & Salimans 2022): away from "nobody in particular", towards the user."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mdgen.models.conditioning import UserConditioning

#: (noisy latents, timestep, condition vectors) -> prediction.
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]


def guided_prediction(
    predict: Predict,
    conditioning: UserConditioning,
    sample: Tensor,
    timestep: Tensor,
    users: Tensor,
    guidance_scale: float,
) -> Tensor:
    """null + scale (user - null), over all channels; scale 1 is the plain conditional prediction at half the cost."""
    if guidance_scale == 1:
        return predict(sample, timestep, conditioning(users))
    nobody = torch.full_like(users, conditioning.null_id)
    both = predict(torch.cat([sample, sample]), timestep, conditioning(torch.cat([users, nobody])))
    conditional, unconditional = both.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)
