"""ONNX: the exported parts give the same picture, sampled step by step outside of this library."""

import json

import numpy as np
import pytest
import torch

from mdgen.export import export_onnx
from mdgen.pipeline import MicroDopplerPipeline
from tests.tiny_run import tiny_run


@pytest.mark.parametrize(("kind", "objective"), [("unet", "flow"), ("dit", "flow"), ("dit", "edm")])
def test_onnxruntime_gives_the_same_picture(kind: str, objective: str, tmp_path) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"the package `{name}` (extra onnx) is not installed")
    if torch.__version__ < "2.9":
        pytest.skip("exporting needs torch 2.9 or later")
    import onnxruntime

    changes = (f"denoiser.kind={kind}", "denoiser.levels=[1, 1]", f"diffusion.objective={objective}")
    run, _ = tiny_run(tmp_path / "run", *changes, "generate.sampler=euler", "generate.steps=4")
    export_onnx(run.path, tmp_path / "onnx")
    facts = json.loads((tmp_path / "onnx" / "sampling.json").read_text())
    denoiser, decoder = (onnxruntime.InferenceSession(tmp_path / "onnx" / f"{n}.onnx") for n in ("denoiser", "decoder"))
    x = torch.randn(3, *facts["latent_shape"], generator=torch.Generator().manual_seed(1))
    pipeline = MicroDopplerPipeline.load(run.path)
    states = pipeline.trajectory([0, 1, 2], [], noise=x, guidance_scale=2.0, num_inference_steps=4)
    expected = pipeline.decode(list(states)[-1]).numpy()

    latents = x.numpy()
    sigmas = [sigma for _, sigma in facts["alpha_sigma"]] + [0.0]
    for k, timestep in enumerate(facts["timesteps"]):
        both = [
            denoiser.run(None, {"sample": latents, "timestep": np.full(3, timestep, np.float32), "user": user})[0]
            for user in (np.arange(3), np.full(3, facts["null_user"]))
        ]
        latents = latents + np.float32(sigmas[k + 1] - sigmas[k]) * (both[1] + 2.0 * (both[0] - both[1]))
    np.testing.assert_allclose(decoder.run(None, {"latents": latents})[0], expected, atol=1e-4)
