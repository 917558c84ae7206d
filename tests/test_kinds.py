"""Every kind of autoencoder goes the whole way: stage 1, stage 2, resume, plan, generation, and back from disk."""

import json

import numpy as np
import pytest
import torch

from mdgen.config import DiffusionConfig, Recipe
from mdgen.diffusion.objective import noise_process
from mdgen.diffusion.samplers import build_sampler
from mdgen.generate import generate
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.plan import plan_lines
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from tests.conftest import ridges, tiny_recipe

KINDS = {
    "patch": ("autoencoder.kind=patch",),
    "kl": ("autoencoder.kind=kl",),
    "vq": ("autoencoder.kind=vq", "autoencoder.codebook.size=16"),
    "vq-ema-batchnorm": (
        "autoencoder.kind=vq",
        "autoencoder.codebook.size=16",
        "autoencoder.codebook.update=ema",
        "autoencoder.normalisation=batch",
    ),
    "vector": ("autoencoder.kind=vector", "denoiser.kind=mlp"),
    "none": ("autoencoder.kind=none", "denoiser.patch=4", "diffusion.objective=v_prediction"),
}
SHAPES = {"vector": [4, 1, 1], "none": [1, 16, 16]}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory) -> tuple[str, Run, Recipe]:
    recipe = tiny_recipe(*KINDS[request.param])
    run = Run(tmp_path_factory.mktemp("runs") / request.param)
    train_autoencoder(ridges(), run, recipe, device="cpu")
    train_denoiser(ridges(), run, recipe, device="cpu")
    return request.param, run, recipe


def test_from_two_stages_to_samples(trained) -> None:
    kind, run, recipe = trained
    assert list(MicroDopplerPipeline.load(run.path).config.latent_shape) == SHAPES.get(kind, [4, 4, 4])
    made = generate(run.path, recipe.generate, seed=3)
    assert made.images.shape == (9, 1, 16, 16)
    assert np.isfinite(made.images).all()
    assert made.images.std() > 0
    again = generate(run.path, recipe.generate.model_copy(update={"batch_size": 4}), seed=3)
    np.testing.assert_allclose(made.images, again.images, atol=1e-4)


def test_a_reload_changes_no_sample(trained, tmp_path) -> None:
    _, run, _ = trained
    first = MicroDopplerPipeline.load(run.path)
    first.save_pretrained(tmp_path / "again")
    second = MicroDopplerPipeline.from_pretrained(tmp_path / "again")
    a, b = (
        p([0, 2], [torch.Generator().manual_seed(i) for i in range(2)], num_inference_steps=3) for p in (first, second)
    )
    assert torch.equal(a, b)


def test_the_same_commands_again_change_nothing(trained) -> None:
    _, run, recipe = trained
    files = [*run.path.glob("autoencoder/*.safetensors"), *run.path.glob("denoiser/*.safetensors")]
    assert len(files) == 2
    before = [file.read_bytes() for file in files]
    train_autoencoder(ridges(), run, recipe, device="cpu")
    train_denoiser(ridges(), run, recipe, device="cpu")
    assert [file.read_bytes() for file in files] == before


def test_latents_are_scaled_for_stage_2_but_pixels_stay_as_they_are(trained) -> None:
    kind, run, _ = trained
    check = json.loads((run.path / "logs" / "autoencoder_check.json").read_text())
    if kind == "none":
        config = json.loads((run.path / "autoencoder" / "config.json").read_text())
        assert (config["latents_mean"], config["latents_std"]) == ([0.0], [1.0])
        assert not (run.path / "cache").exists()
    else:
        assert check["latent_mean"] == pytest.approx(0, abs=0.3)
        assert check["latent_std"] == pytest.approx(1, abs=0.3)


def test_a_plan_is_made_without_training(trained) -> None:
    kind, _, recipe = trained
    lines = plan_lines(recipe, ridges())
    assert str(tuple(SHAPES.get(kind, [4, 4, 4]))) in lines[1]
    stages = [line.split(":")[0] for line in lines[2:]]
    first = [] if kind == "none" else ["autoencoder"]
    assert stages == [*first, "denoiser", *(["prior"] if kind.startswith("vq") else [])]


def test_samples_are_clipped_on_the_way_where_they_are_pixels_and_only_there(trained) -> None:
    kind, run, _ = trained
    scheduler = MicroDopplerPipeline.load(run.path).scheduler
    assert bool(scheduler.config.thresholding) == (kind == "none")
    for sampler in ("dpm++", "ddim", "ddpm"):
        for clip in (True, False):
            method = build_sampler(noise_process(DiffusionConfig(objective="v_prediction")), sampler, clip=clip)
            method.set_timesteps(20)
            far = torch.full((1, 1, 4, 4), 40.0)
            step = method.timesteps[-1]
            generator = {"generator": torch.Generator()} if sampler == "ddpm" else {}
            end = method.step(torch.zeros_like(far), step, far, return_dict=False, **generator)[0]
            assert (float(end.abs().max()) < 2) == clip, sampler
