"""Samplers by name, as diffusers' schedulers with every field written out and grids that end where they should.

Every field, because a scheduler's defaults are not carried by `from_config` but are by a saved file: left to them, the
same model would sample differently after a reload. Clipping is off: latents are not bounded. A noise process, which an
objective gives, is the part of such a configuration that says what the network predicts and under which schedule.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from mdgen.errors import MdgenError

Scheduler = tuple[type, dict[str, Any]]

_GRID = {"timestep_spacing": "trailing", "use_karras_sigmas": False}
_SOLVER = {**_GRID, "final_sigmas_type": "zero", "thresholding": False, "lower_order_final": True}
_DPM = {**_SOLVER, "solver_type": "midpoint", "euler_at_final": False}
_FLOW_SOLVER = {"use_flow_sigmas": True, "flow_shift": 1.0}


@dataclass(frozen=True)
class Method:
    """A way to sample. order: the power of the step that its error falls with.

    flow, betas: its scheduler for straight paths and for schedules of betas, where it has one. stochastic: it adds
    noise on the way. consistency: for networks distilled to jump to the data, from wherever they are, in one step.
    """

    order: int
    flow: Scheduler
    betas: Scheduler | None
    stochastic: bool = field(default=False, kw_only=True)
    consistency: bool = field(default=False, kw_only=True)


def _multistep(order: int, algorithm: str) -> tuple[Scheduler, Scheduler]:
    fields = {**_DPM, "solver_order": order, "algorithm_type": algorithm}
    return (
        (DPMSolverMultistepScheduler, {**fields, **_FLOW_SOLVER}),
        (DPMSolverMultistepScheduler, {**fields, "use_flow_sigmas": False}),
    )


_UNIPC = {**_SOLVER, "solver_order": 2, "solver_type": "bh2", "predict_x0": True, "disable_corrector": []}
_LCM = {"original_inference_steps": 1000, "timestep_scaling": 10.0, "thresholding": False, "set_alpha_to_one": True}

#: DDPM (Ho et al. 2020) and DDIM (Song et al. 2021) are the first-order SDE and ODE steps of DPM-Solver++ (Lu et al.
#: 2022, section 4 and appendix A), which steps over any grid; diffusers' own assume steps that divide 1000.
METHODS: dict[str, Method] = {
    "ddpm": Method(1, *_multistep(1, "sde-dpmsolver++"), stochastic=True),
    "ddim": Method(1, *_multistep(1, "dpmsolver++")),
    "dpm++": Method(2, *_multistep(2, "dpmsolver++")),
    "unipc": Method(
        2,
        (UniPCMultistepScheduler, {**_UNIPC, **_FLOW_SOLVER}),
        (UniPCMultistepScheduler, {**_UNIPC, "use_flow_sigmas": False}),
    ),
    "heun": Method(2, (FlowMatchHeunDiscreteScheduler, {"shift": 1.0}), None),
    "euler": Method(1, (FlowMatchEulerDiscreteScheduler, {"shift": 1.0}), None),
    "lcm": Method(
        0, (FlowMatchLCMScheduler, {"shift": 1.0}), (LCMScheduler, {**_LCM, **_GRID}), stochastic=True, consistency=True
    ),
}


def build_sampler(process: Mapping[str, Any], sampler: str) -> Any:
    """The scheduler that samples by `sampler` a model of a noise process: fields of a diffusers scheduler.

    Raises `MdgenError` for a pair that does not go together.
    """
    flow = process["prediction_type"] == "flow_prediction"
    fitting = {name: method.flow if flow else method.betas for name, method in METHODS.items()}
    scheduler, fields = fitting.get(sampler) or (None, {})
    if scheduler is None:
        names = sorted(name for name, found in fitting.items() if found)
        raise MdgenError(
            f"sampler {sampler!r} cannot sample a model of {process['prediction_type']}; use one of {', '.join(names)}"
        )
    known = inspect.signature(scheduler).parameters
    return scheduler(**{key: value for key, value in {**process, **fields}.items() if key in known})


def set_steps(scheduler: Any, steps: int, device: torch.device | str = "cpu") -> None:
    """Lay out `steps` steps; `scheduler.timesteps` then holds one entry for each evaluation of the network.

    Straight paths get the grid 1, 1 - 1/steps, ..., 0 with exact times: diffusers' own start below pure noise, round
    times to whole thousandths, or spend an evaluation on the last thousandth.
    """
    scheduler.set_timesteps(steps, device=device)
    if is_flow(scheduler):
        sigmas = torch.linspace(1, 0, steps + 1)
        if isinstance(scheduler, UniPCMultistepScheduler):
            sigmas[0] -= 1e-6  # its corrector takes the logarithm of 1 - sigma
        if isinstance(scheduler, FlowMatchHeunDiscreteScheduler):
            sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
        evaluated = sigmas[:-1]
        if isinstance(scheduler, FlowMatchHeunDiscreteScheduler):
            evaluated = torch.cat([sigmas[:1], sigmas[1:-1]])
        scheduler.sigmas = sigmas
        scheduler.timesteps = (evaluated * scheduler.config.num_train_timesteps).to(device)
    scheduler.set_begin_index(0)


def start_at(scheduler: Any, strength: float) -> int:
    """Begin where `strength` (0 = data, 1 = noise) of the evaluations are still to come; returns how many to skip."""
    skipped = round((1 - strength) * len(scheduler.timesteps))
    if isinstance(scheduler, FlowMatchHeunDiscreteScheduler):
        skipped -= skipped % 2  # its steps are of two evaluations
    scheduler.set_begin_index(skipped)
    return skipped


def evaluations(scheduler: Any, steps: int) -> int:
    """Network evaluations that `steps` steps take."""
    set_steps(scheduler, steps)
    return len(scheduler.timesteps)


def step(scheduler: Any, prediction: Tensor, timestep: Tensor, sample: Tensor, generators: Any = None) -> Tensor:
    """One evaluation onwards. generators: one for each sample, for methods that add noise."""
    noise = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    return scheduler.step(prediction, timestep, sample, return_dict=False, **noise)[0]


def is_flow(scheduler: Any) -> bool:
    """Whether it samples straight paths x_t = (1 - t) x + t e."""
    return "FlowMatch" in type(scheduler).__name__ or bool(getattr(scheduler.config, "use_flow_sigmas", False))


def noise_level(scheduler: Any, timestep: Tensor | float) -> tuple[float, float]:
    """(alpha, sigma) of x_t = alpha x + sigma e at a timestep."""
    position = float(timestep) / scheduler.config.num_train_timesteps
    if is_flow(scheduler):
        return 1 - position, position
    squared = float(scheduler.alphas_cumprod[round(float(timestep))])
    return squared**0.5, (1 - squared) ** 0.5
