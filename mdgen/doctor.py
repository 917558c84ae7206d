"""What to paste into a question: versions, machine, devices, and what `auto` would choose here."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import psutil
import torch

from mdgen import __version__
from mdgen.device import resolve_device, resolve_precision

PACKAGES = ("torch", "torchvision", "diffusers", "accelerate", "safetensors", "numpy", "scikit-learn", "lpips")
#: Environment variables that change where and how a training runs.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "WORLD_SIZE", "RANK", "ACCELERATE_USE_FSDP", "HF_HUB_OFFLINE")


def report_lines() -> list[str]:
    """Lines for people; the last ones say what stands in the way, if anything does."""
    device = torch.device(resolve_device("auto"))
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(Path.cwd())
    return [
        f"mdgen {__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        f"CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        f"memory: {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free; "
        f"disk here: {disk.free / 1e9:.1f} of {disk.total / 1e9:.1f} GB free",
        *_gpu_lines(),
        f"auto chooses: device {device}, precision {str(resolve_precision('auto', device)).removeprefix('torch.')}",
        "environment: " + (", ".join(f"{n}={os.environ[n]}" for n in VARIABLES if n in os.environ) or "nothing set"),
        *(f"problem: {problem}" for problem in _problems(disk.free)),
    ]


def _gpu_lines() -> list[str]:
    if not torch.cuda.is_available():
        return [f"GPU: none seen (torch built for CUDA {torch.version.cuda})"]
    lines = []
    for number in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(number)
        lines.append(f"GPU {number}: {gpu.name}, {gpu.total_memory / 1e9:.1f} GB, capability {gpu.major}.{gpu.minor}")
    return [*lines, f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"]


def _problems(disk_free: float) -> list[str]:
    problems = []
    if disk_free < 2e9:
        problems.append("less than 2 GB of disk are free here; checkpoints may not fit")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        problems.append(f"torchvision does not fit torch ({error}); pip install -U torch torchvision")
    return problems


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"
