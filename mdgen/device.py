"""Where and how exactly to compute."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from mdgen.errors import MdgenError

if TYPE_CHECKING:
    from accelerate import PartialState


#: Processes wait this long for one that encodes, checks or judges for all; else it would be minutes.
PATIENCE = timedelta(days=30)


def resolve_device(device: str) -> str:
    """`auto` is the GPU where there is one; asking for a GPU that is not there is an error, never a slow fallback."""
    if device not in ("auto", "cpu", "cuda"):
        raise MdgenError(f"--device {device}: no such device; use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MdgenError("--device cuda: this torch sees no GPU; see `mdgen doctor`, or use --device auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def computing_on(device: str) -> PartialState:
    """The state of this process, settled on `device` by the first who asks.

    Raises `MdgenError` for a device other than that on which this process computes already.
    """
    from accelerate import PartialState

    wanted = resolve_device(device)
    state = PartialState(cpu=wanted == "cpu", timeout=PATIENCE)
    if state.device.type != wanted:
        raise MdgenError(f"--device {device}: this process computes on {state.device.type} already; start another one")
    return state


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type that networks multiply in. `auto`: bfloat16, or else float16, where the hardware is built for it."""
    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if device.type == "cuda":
        generation = torch.cuda.get_device_capability(device)[0]
        return torch.bfloat16 if generation >= 8 else torch.float16 if generation == 7 else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def lacks_half_precision(device: str) -> bool:
    """Whether `precision: auto` means float32 on this device ("auto", "cpu", "cuda"), several times as slow."""
    return resolve_precision("auto", torch.device(resolve_device(device))) == torch.float32


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context that computes in `resolve_precision`.

    Not accelerate's own: its precision is one for the whole process, and the stages of a run differ.
    """
    dtype = resolve_precision(precision, device)
    lower = dtype != torch.float32
    return torch.autocast(device.type, dtype if lower else torch.bfloat16, enabled=lower)


def memory_gb() -> float:
    """GB that this process holds: on the GPU at most so far, where one is used, else resident now."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    import psutil

    return psutil.Process().memory_info().rss / 1e9
