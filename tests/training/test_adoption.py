"""Models that diffusers saved go on as ours: their weights, their schedule, and users where they had none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, EulerDiscreteScheduler, UNet2DConditionModel, UNet2DModel

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from mdgen.generate import generate
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.adoption import adopt
from mdgen.training.fine_tuning import fine_tune
from tests.conftest import ridges, tiny_recipe

FINE = ("fine_tuning.training.steps=3", "fine_tuning.training.batch_size=4", "fine_tuning.training.ema_half_life=0")
#: Two levels of eight channels.
LEVELS = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}


def saved(
    folder: Path, pixels: int = 1, latents: int = 4, vae: bool = True, cross: bool = False, **unet: object
) -> Path:
    """A tiny model as diffusers saves it."""
    torch.manual_seed(0)
    if vae:
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        AutoencoderKL(
            in_channels=pixels, out_channels=pixels, latent_channels=latents, **blocks, **LEVELS
        ).save_pretrained(folder / "vae")
    channels = {"in_channels": latents if vae else pixels, "out_channels": latents if vae else pixels, "sample_size": 8}
    if cross:
        down, up = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
        network: torch.nn.Module = UNet2DConditionModel(
            **channels, **LEVELS, down_block_types=down, up_block_types=up, cross_attention_dim=16, attention_head_dim=2
        )
    else:
        down, up = ("DownBlock2D", "DownBlock2D"), ("UpBlock2D", "UpBlock2D")
        network = UNet2DModel(**channels, **LEVELS, down_block_types=down, up_block_types=up, **unet)
    network.save_pretrained(folder / "unet")
    DDPMScheduler(prediction_type="v_prediction", beta_schedule="linear").save_pretrained(folder / "scheduler")
    return folder


@pytest.mark.parametrize(
    ("scheduler", "nearest", "known"),
    [
        (DDPMScheduler(beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True), "cosine", True),
        (EulerDiscreteScheduler(beta_schedule="linear", beta_end=0.02), "linear", True),
        (DDPMScheduler(trained_betas=DDPMScheduler(beta_schedule="sigmoid").betas.tolist()), "sigmoid", True),
        (DDPMScheduler(trained_betas=(DDPMScheduler().betas * 1.02).tolist()), "linear", False),
        (
            EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=8.5e-4, beta_end=0.012),
            "scaled_linear",
            False,
        ),
        (DDPMScheduler(4000, 1e-4 / 4, 0.02 / 4), "linear", False),
    ],
    ids=["cosine", "linear", "sigmoid", "of its own", "Stable Diffusion's", "four thousand steps"],
)
def test_the_nearest_noise_schedule_is_taken_and_another_one_said(scheduler, nearest, known, tmp_path, capsys) -> None:
    scheduler.save_pretrained(saved(tmp_path) / "scheduler")
    adopt(tmp_path, ridges(), Run(tmp_path / "run"), tiny_recipe())
    assert Run(tmp_path / "run").recipe().diffusion.schedule == nearest
    assert ("not one of ours" in capsys.readouterr().err) is not known


def test_a_noise_schedule_that_diffusers_cannot_make_is_refused(tmp_path) -> None:
    config = saved(tmp_path) / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"linear"', '"parabolic"'))
    with pytest.raises(MdgenError, match="noise schedule 'parabolic' is not known"):
        adopt(tmp_path, ridges(), Run(tmp_path / "run"), tiny_recipe())


@pytest.mark.parametrize(
    "given", [{}, {"cross": True}, {"vae": False}, {"pixels": 3}, {"num_class_embeds": 5}], ids=str
)
def test_an_adopted_model_learns_on_and_generates(given, tmp_path) -> None:
    run, data = Run(tmp_path / "start"), ridges()
    adopt(saved(tmp_path / "theirs", **given), data, run, tiny_recipe())
    recipe = run.recipe(FINE)
    assert recipe.diffusion.objective == "v_prediction"
    assert recipe.diffusion.schedule == "linear"
    fine_tune(data, run.path, Run(tmp_path / "run"), recipe, device="cpu")
    before, after = (MicroDopplerPipeline.load(r).denoiser.state_dict() for r in (run.path, tmp_path / "run"))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    made = generate(tmp_path / "run", run.recipe().generate, device="cpu")
    assert made.images.shape == (9, 1, 16, 16)
    assert np.isfinite(made.images).all()


def test_nobody_is_what_the_model_knew(tmp_path) -> None:
    folder, run = saved(tmp_path / "theirs"), Run(tmp_path / "start")
    adopt(folder, ridges(), run, tiny_recipe())
    theirs, ours = UNet2DModel.from_pretrained(folder / "unet").eval(), MicroDopplerPipeline.load(run.path)
    noisy, time = torch.randn(2, 4, 8, 8), torch.tensor([10.0, 700.0])
    with torch.no_grad():
        nobody = ours.conditioning(ours.conditioning.nobody(torch.zeros(2, dtype=torch.long)))
        answers = theirs(noisy, time).sample, ours.denoiser(noisy, time, class_labels=nobody).sample
    torch.testing.assert_close(*answers)
    latents = ours.autoencoder.encode(torch.from_numpy(ridges().role("train").images)).latent_dist.mean
    normal = (latents.mean((0, 2, 3)) - torch.tensor(ours.autoencoder.config.latents_mean)).abs()
    assert normal.max() < 1e-4


def test_a_colour_autoencoder_made_gray_answers_as_for_equal_colours(tmp_path) -> None:
    folder, run, data = saved(tmp_path / "theirs", pixels=3), Run(tmp_path / "start"), ridges()
    adopt(folder, data, run, tiny_recipe())
    colour, gray = AutoencoderKL.from_pretrained(folder / "vae").eval(), MicroDopplerPipeline.load(run.path).autoencoder
    picture = torch.from_numpy(data.images[:2])
    with torch.no_grad():
        latents = [a.encode(p).latent_dist.mean for a, p in ((colour, picture.repeat(1, 3, 1, 1)), (gray, picture))]
        torch.testing.assert_close(*latents)
        pictures = colour.decode(latents[0]).sample.mean(1, keepdim=True), gray.decode(latents[1]).sample
    torch.testing.assert_close(*pictures)


def test_what_does_not_fit_is_told_in_one_line(tmp_path) -> None:
    data, recipe = ridges(), tiny_recipe()
    with pytest.raises(MdgenError, match="folders unet, scheduler"):
        adopt(tmp_path / "nothing", data, Run(tmp_path / "run"), recipe)
    folder = saved(tmp_path / "theirs")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(MdgenError, match="from safetensors"):
        adopt(folder, data, Run(tmp_path / "run"), recipe)
    folder = saved(tmp_path / "wide", latents=3)
    colours = dataclasses.replace(data, images=data.images.repeat(2, 1))
    with pytest.raises(MdgenError, match="for 1 channels, the pictures have 2"):
        adopt(folder, colours, Run(tmp_path / "run"), recipe)
    assert isinstance(data, SpectrogramSet)
    assert not (tmp_path / "run").exists()
