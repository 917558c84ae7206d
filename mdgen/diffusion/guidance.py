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
    rescale: float = 0.0,
) -> Tensor:
    """null + scale (user - null), over all channels; scale 1 is the plain conditional prediction at half the cost.

    Both predictions come from one batch. rescale: how far (0 to 1) the result's standard deviation is brought back to
    that of the conditional one (Lin et al. 2024, eq. 15 and 16).
    """
    if guidance_scale == 1:
        return predict(sample, timestep, conditioning(users))
    nobody = torch.full_like(users, conditioning.null_id)
    both = predict(torch.cat([sample, sample]), timestep, conditioning(torch.cat([users, nobody])))
    conditional, unconditional = both.chunk(2)
    guided = unconditional + guidance_scale * (conditional - unconditional)
    if rescale == 0:
        return guided
    spread = conditional.std(dim=(1, 2, 3), keepdim=True) / guided.std(dim=(1, 2, 3), keepdim=True)
    return guided * (1 + rescale * (spread - 1))
