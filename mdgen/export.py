"""A model for other runtimes: denoiser and decoder as ONNX, checked against this one on the same numbers.

What a sampler does between evaluations stays with the caller: `sampling.json` gives users, shapes, and the times and
noise levels of the run's steps; for straight paths a step is x + (sigma_next - sigma) * prediction. Guidance is
null + scale (user - null), where null is the user number `null_user`.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mdgen.data.folders import atomic_folder
from mdgen.diffusion.samplers import noise_level, set_steps
from mdgen.errors import MdgenError
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run

#: Largest difference of pictures on their [-1, 1] scale that counts as the same picture.
TOLERANCE = 1e-4


class _Denoiser(nn.Module):
    """What the sampler is told, whatever the objective."""

    def __init__(self, pipeline: MicroDopplerPipeline) -> None:
        super().__init__()
        self.denoiser, self.conditioning, self.answer = pipeline.denoiser, pipeline.conditioning, pipeline.answer

    def forward(self, sample: Tensor, timestep: Tensor, user: Tensor) -> Tensor:
        return self.answer(self.denoiser, sample, timestep, self.conditioning(user))


class _Decoder(nn.Module):
    def __init__(self, pipeline: MicroDopplerPipeline) -> None:
        super().__init__()
        autoencoder = self.autoencoder = pipeline.autoencoder
        for name in ("latents_mean", "latents_std"):
            self.register_buffer(name, torch.tensor(autoencoder.config[name]).view(1, -1, 1, 1))

    def forward(self, latents: Tensor) -> Tensor:
        return self.autoencoder.decode(latents * self.latents_std + self.latents_mean).sample.clamp(-1, 1)


def export_onnx(run: Path, out: Path) -> dict[str, float]:
    """Write `denoiser.onnx`, `decoder.onnx` and `sampling.json` into the new folder `out`.

    Returns the largest difference in onnxruntime of each; raises `MdgenError` where that is more than `TOLERANCE`.
    """
    _require_onnx()
    pipeline = MicroDopplerPipeline.load(run)
    latents = torch.randn(2, *pipeline.config.latent_shape, generator=torch.Generator().manual_seed(0))
    step = {"sample": latents, "timestep": torch.tensor([700.0, 20.0]), "user": torch.tensor([0, 1])}
    with atomic_folder(out) as folder:
        differences = {
            "denoiser": _export(_Denoiser(pipeline), step, "prediction", folder / "denoiser.onnx"),
            "decoder": _export(_Decoder(pipeline), {"latents": latents}, "images", folder / "decoder.onnx"),
        }
        worst = max(differences, key=lambda name: differences[name])
        if not differences[worst] <= TOLERANCE:
            raise MdgenError(
                f"{run}: its {worst} differs by {differences[worst]:.2g} in onnxruntime, so nothing was exported; try "
                "other versions of torch and onnxruntime"
            )
        facts = json.dumps(_facts(pipeline, run), indent=1, ensure_ascii=False)
        (folder / "sampling.json").write_text(facts, encoding="utf-8")
    return differences


def _export(module: nn.Module, inputs: dict[str, Tensor], output: str, file: Path) -> float:
    """Largest difference of onnxruntime from torch, on another number of samples than it was exported with."""
    import onnxruntime

    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name: batch", UserWarning)  # all inputs share it, as they should
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(file),
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    others = {name: torch.cat([value, value.flip(0), value[:1]]) for name, value in inputs.items()}
    with torch.no_grad():
        expected = module(*others.values()).numpy()
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run([output], {name: value.numpy() for name, value in others.items()})
    return float(np.abs(found - expected).max())


def _facts(pipeline: MicroDopplerPipeline, run: Path) -> dict[str, object]:
    settings = Run(run).recipe().generate
    set_steps(pipeline.scheduler, settings.steps)
    times = [float(t) for t in pipeline.scheduler.timesteps]
    return {
        "users": list(pipeline.config.users),
        "null_user": pipeline.conditioning.null_id,
        "latent_shape": list(pipeline.config.latent_shape),
        "objective": pipeline.config.objective,
        "sampler": settings.sampler,
        "guidance_scale": settings.guidance_scale,
        "guidance_interval": list(settings.guidance_interval),
        "timesteps": times,
        "alpha_sigma": [noise_level(pipeline.scheduler, t) for t in times],
        **Run(run).axes(),
    }


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MdgenError(f"exporting needs the package {error.name}; in a clone: pip install '.[onnx]'") from error
    if torch.__version__ < "2.9":  # compared as a version, not as text
        raise MdgenError(f"exporting needs torch 2.9 or later, here is {torch.__version__}; everything else works")
