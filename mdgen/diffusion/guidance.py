"""Guidance towards the user: without a classifier (Ho & Salimans 2022), and by one (Dhariwal & Nichol 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mdgen.models.conditioning import Between, UserConditioning, conditions

#: (noisy latents, timestep, condition vectors) -> prediction.
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
LEAST_ALPHA = 0.1


def guided_prediction(
    predict: Predict,
    conditioning: UserConditioning,
    sample: Tensor,
    timestep: Tensor,
    users: Tensor | Between,
    guidance_scale: float,
    rescale: float = 0.0,
    weak: Callable[[Tensor, Tensor, Tensor | Between], Tensor] | None = None,
) -> Tensor:
    """Classifier-free guidance over all channels; scale 1 is the plain conditional prediction at half the cost.

    users: ids [N], or [N, 1 + labels]. What guidance strengthens is the user: labels that are told, a recording's
    style for example, act once, by their own prediction (Brooks et al. 2023, eq. 3, with image scale 1). rescale: see
    `rescaled`. weak: (sample, timestep, users) -> prediction of a weaker model, to guide away from in the place of
    nobody (Karras et al. 2024, "Guiding a diffusion model with a bad version of itself").
    """
    if weak is not None and guidance_scale != 1:
        plain = predict(sample, timestep, conditions(conditioning, users))
        guided = torch.lerp(weak(sample, timestep, users), plain, guidance_scale)
        return rescaled(guided, plain, rescale) if rescale else guided
    terms = guidance_terms(conditioning, users, guidance_scale)
    repeated = sample.repeat(len(terms), *[1] * (sample.ndim - 1))
    parts = predict(repeated, timestep, torch.cat([condition for condition, _ in terms])).chunk(len(terms))
    guided = torch.stack([weight * part for (_, weight), part in zip(terms, parts, strict=True)]).sum(0)
    return rescaled(guided, parts[0], rescale) if rescale else guided


def guidance_terms(
    conditioning: UserConditioning, users: Tensor | Between, guidance_scale: float
) -> list[tuple[Tensor, float]]:
    """Conditions and the weights of their predictions, which sum to 1; the plain condition comes first."""
    full = conditions(conditioning, users)
    if guidance_scale == 1:
        return [(full, 1.0)]
    nobody = conditioning(conditioning.nobody(users.first if isinstance(users, Between) else users))
    alone = _user_alone(conditioning, users)
    if alone is None:  # null + scale (user - null) (Ho & Salimans 2022, eq. 6)
        return [(full, guidance_scale), (nobody, 1 - guidance_scale)]
    return [(full, 1.0), (conditions(conditioning, alone), guidance_scale - 1), (nobody, 1 - guidance_scale)]


def rescaled(guided: Tensor, plain: Tensor, share: float) -> Tensor:
    """The guided prediction with, by `share`, the deviation of the plain one (Lin et al. 2024, eqs. 15 and 16)."""
    dims = tuple(range(1, guided.ndim))
    factor = plain.std(dims, keepdim=True) / guided.std(dims, keepdim=True)
    return guided * (share * factor + 1 - share)


def steered(
    prediction: Tensor, gradient: Tensor, alpha: float, sigma: float, prediction_type: str, scale: float
) -> Tensor:
    """A prediction whose noise is e - scale sigma gradient (Dhariwal & Nichol 2021, alg. 2), whatever it predicts.

    gradient: of the log probability of the user, with respect to x_t = alpha x + sigma e. The data it implies move by
    scale sigma^2 / alpha gradient; alpha counts as at least 0.1, for at pure noise that has no bound.
    """
    least = max(alpha, LEAST_ALPHA)
    noise, data = -scale * sigma * gradient, scale * sigma**2 / least * gradient
    moved = {
        "epsilon": noise,
        "sample": data,
        "v_prediction": alpha * noise - sigma * data,
        "flow_prediction": noise - data,
    }
    return prediction + moved[prediction_type]


def _user_alone(conditioning: UserConditioning, users: Tensor | Between) -> Tensor | Between | None:
    """The same users without their labels; `None` where no label is told."""
    if isinstance(users, Between):
        alone = Between(conditioning.user_alone(users.first), conditioning.user_alone(users.second), users.share)
        told = [(users.first, alone.first), (users.second, alone.second)]
        return None if all(torch.equal(conditioning.complete(a), b) for a, b in told) else alone
    plain = conditioning.user_alone(users)
    return None if torch.equal(conditioning.complete(users), plain) else plain
