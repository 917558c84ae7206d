"""What is different on a GPU. Skipped where there is none; each test has a process of its own, which sees it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mdgen.config import GenerateConfig
from mdgen.device import computing_on, memory_gb, resolve_precision
from mdgen.errors import MdgenError
from mdgen.generate import generate
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training import loop
from mdgen.training.autoencoder import load_autoencoder, train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.engine import Engine, StepResult
from tests.conftest import VISIBLE_GPUS, ridges, tiny_recipe
from tests.training.toys import PROCESSES


def has_gpu() -> bool:
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU")


def on_gpu(action: Callable[..., None], *arguments: object) -> None:
    process = PROCESSES.Process(target=_shown_the_gpu, args=(action, arguments))
    process.start()
    process.join(120)
    process.kill()
    assert process.exitcode == 0


def _shown_the_gpu(action: Callable[..., None], arguments: tuple) -> None:
    os.environ.pop("CUDA_VISIBLE_DEVICES")
    if VISIBLE_GPUS != "all":
        os.environ["CUDA_VISIBLE_DEVICES"] = VISIBLE_GPUS
    action(*arguments)


@pytest.mark.parametrize("kind", ["patch", "kl", "vq"])
def test_what_a_gpu_learned_and_draws_a_cpu_draws_too(tmp_path: Path, kind: str) -> None:
    on_gpu(_train_and_draw, tmp_path / "run", f"autoencoder.kind={kind}")


def _train_and_draw(folder: Path, *overrides: str) -> None:
    recipe, data, run = tiny_recipe(*overrides), ridges(), Run(folder)
    train_autoencoder(data, run, recipe, device="cuda")
    train_denoiser(data, run, recipe, device="cuda")
    assert memory_gb() == torch.cuda.max_memory_allocated() / 1e9 > 0
    settings = GenerateConfig(per_user=4, steps=3, precision="fp32")
    here, there = (generate(folder, settings, device=device).images for device in ("cuda", "cpu"))
    np.testing.assert_allclose(here, there, atol=0.02)


def test_a_run_goes_on_on_another_device(tmp_path: Path) -> None:
    on_gpu(_train_one_stage, tmp_path / "run")
    train_denoiser(ridges(), Run(tmp_path / "run"), tiny_recipe(), device="cpu")
    assert MicroDopplerPipeline.from_pretrained(tmp_path / "run").config.users == ridges().users


def _train_one_stage(folder: Path) -> None:
    train_autoencoder(ridges(), Run(folder), tiny_recipe(), device="cuda")
    assert load_autoencoder(folder / "autoencoder").device.type == "cpu"


def test_a_run_that_was_stopped_goes_on_on_the_gpu_as_if_it_had_not_been(tmp_path: Path) -> None:
    on_gpu(_train_at_once_and_in_two_goes, tmp_path)


def _train_at_once_and_in_two_goes(folder: Path, device: str = "cuda") -> None:
    recipe = tiny_recipe(*(f"denoiser.training.{setting}" for setting in ("steps=8", "checkpoint_every=4")))
    train_autoencoder(ridges(), Run(folder / "once"), recipe, device=device)
    shutil.copytree(folder / "once", folder / "twice")
    train_denoiser(ridges(), Run(folder / "once"), recipe, device=device)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Engine, "step", _stopped_at(6, loop.Engine.step))
        with pytest.raises(KeyboardInterrupt):
            train_denoiser(ridges(), Run(folder / "twice"), recipe, device=device)
    train_denoiser(ridges(), Run(folder / "twice"), recipe, device=device)
    once, twice = (load_file(next((folder / run / "denoiser").glob("*.safetensors"))) for run in ("once", "twice"))
    for name, weight in once.items():
        torch.testing.assert_close(twice[name], weight, rtol=1e-3, atol=1e-4)


def _stopped_at(last: int, step: Callable[..., StepResult]) -> Callable[..., StepResult]:
    def stopped(self: Engine, number: int, *arguments: Any) -> StepResult:
        if number == last:
            raise KeyboardInterrupt
        return step(self, number, *arguments)

    return stopped


def test_the_gpu_is_the_default_and_a_second_device_is_refused() -> None:
    on_gpu(_ask_for_both)


def _ask_for_both() -> None:
    device = computing_on("auto").device
    assert device.type == "cuda"
    assert resolve_precision("auto", device) != torch.float32 or torch.cuda.get_device_capability()[0] < 7
    with pytest.raises(MdgenError, match="computes on cuda already"):
        computing_on("cpu")
