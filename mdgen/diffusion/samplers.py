"""Samplers by name, as diffusers' schedulers with every field written out.

Every field, because a scheduler's defaults are not carried by `from_config` but are by a saved file: left to them, the
same model would sample differently after a reload.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
)

from mdgen.diffusion.objective import TIMESTEPS
from mdgen.errors import MdgenError

_COSINE: dict[str, Any] = {
    "num_train_timesteps": TIMESTEPS,
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": False,
}
_DPM: dict[str, Any] = {
    "num_train_timesteps": TIMESTEPS,
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "lower_order_final": True,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
    "thresholding": False,
    "use_karras_sigmas": False,
}

_SAMPLERS: dict[tuple[str, str], tuple[type, dict[str, Any]]] = {
    ("flow", "euler"): (FlowMatchEulerDiscreteScheduler, {"num_train_timesteps": TIMESTEPS, "shift": 1.0}),
    ("flow", "heun"): (FlowMatchHeunDiscreteScheduler, {"num_train_timesteps": TIMESTEPS, "shift": 1.0}),
    ("flow", "dpm++"): (
        DPMSolverMultistepScheduler,
        {
            **_DPM,
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": 1.0,
            "timestep_spacing": "linspace",
        },
    ),
    ("v_prediction", "dpm++"): (DPMSolverMultistepScheduler, {**_DPM, **_COSINE, "use_flow_sigmas": False}),
    ("v_prediction", "ddim"): (DDIMScheduler, {**_COSINE, "clip_sample": False, "set_alpha_to_one": True}),
    ("v_prediction", "ddpm"): (DDPMScheduler, {**_COSINE, "clip_sample": False, "variance_type": "fixed_small"}),
}


def build_sampler(objective: str, sampler: str, clip: bool = False) -> Any:
    """The scheduler that samples a model of `objective`; raises `MdgenError` for a pair that does not go together.

    clip: keep the clean sample foretold at each step in [-1, 1], where the method foretells one; for pixels, which are
    bounded, and never for latents, which are not.
    """
    try:
        scheduler, fields = _SAMPLERS[objective, sampler]
    except KeyError:
        fitting = sorted(name for kind, name in _SAMPLERS if kind == objective)
        raise MdgenError(
            f"sampler {sampler!r} cannot sample a {objective} model; use one of {', '.join(fitting)}"
        ) from None
    if clip and "clip_sample" in fields:
        fields = {**fields, "clip_sample": True, "clip_sample_range": 1.0}
    if clip and "thresholding" in fields:  # of at most 1 it is clipping to [-1, 1]
        fields = {**fields, "thresholding": True, "sample_max_value": 1.0}
    return scheduler(**fields)
