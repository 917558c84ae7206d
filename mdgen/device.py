"""Where and how exactly to compute."""

from __future__ import annotations

import torch


def resolve_device(device: str) -> str:
    """`auto` is the GPU where there is one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for `fp32`, `bf16` or `auto`: bf16 exactly where the hardware multiplies it natively.

    Not accelerate's own: its precision is one for the whole process, and the stages of a run differ.
    """
    return torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bf16" or (precision == "auto" and _native_bf16(device))
    )


def _native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
