"""Guidance: what it promises in formulas, checked in numbers."""

import pytest
import torch

from mdgen.diffusion.guidance import guided_prediction
from mdgen.errors import MdgenError
from mdgen.models.conditioning import UserConditioning
from mdgen.pipeline import MicroDopplerPipeline
from tests.tiny_run import tiny_run


def test_guidance_moves_every_channel_for_every_user_and_none_at_scale_one() -> None:
    users = torch.arange(4)
    conditioning = UserConditioning(4, 6, condition_dropout=0.1)
    torch.nn.init.normal_(conditioning.embedding.weight)
    mix = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))

    def predict(sample: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return sample + (condition @ mix)[:, :, None, None]

    sample = torch.randn(4, 3, 2, 2)
    t = torch.tensor(500.0)
    plain = predict(sample, t, conditioning(users))
    torch.testing.assert_close(guided_prediction(predict, conditioning, sample, t, users, 1.0), plain)
    moved = guided_prediction(predict, conditioning, sample, t, users, 2.0) - plain
    assert moved.abs().amax(dim=(2, 3)).min() > 1e-4  # [user, channel]
    twice = guided_prediction(predict, conditioning, sample, t, users, 3.0) - plain
    torch.testing.assert_close(twice, 2 * moved)


def test_rescaled_guidance_has_the_spread_of_the_conditional_prediction() -> None:
    users = torch.arange(3)
    conditioning = UserConditioning(3, 6, condition_dropout=0.1)
    weights = torch.randn(6, 2, 4, 4, generator=torch.Generator().manual_seed(0))

    def predict(sample: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return sample + torch.einsum("nd,dchw->nchw", condition, weights)

    sample, t = torch.randn(3, 2, 4, 4), torch.tensor(500.0)
    plain = predict(sample, t, conditioning(users)).std(dim=(1, 2, 3))
    guided = guided_prediction(predict, conditioning, sample, t, users, 4.0)
    rescaled = guided_prediction(predict, conditioning, sample, t, users, 4.0, rescale=1.0)
    assert (guided.std(dim=(1, 2, 3)) > 1.5 * plain).all()
    torch.testing.assert_close(rescaled.std(dim=(1, 2, 3)), plain)


def test_autoguidance_goes_away_from_a_weaker_model_and_refuses_another_autoencoder(tmp_path) -> None:
    run, _ = tiny_run(tmp_path / "run")
    weak, _ = tiny_run(tmp_path / "weak", "denoiser.width=64")
    pipeline = MicroDopplerPipeline.load(run.path)
    with pytest.raises(MdgenError, match="autoencoder is another"):
        pipeline.use_weak(tiny_run(tmp_path / "other", seed=1)[0].path)
    pipeline.use_weak(weak.path)
    users, latents, time = torch.tensor([[0], [2]]), torch.randn(2, 4, 4, 4), torch.tensor(500.0)
    good, bad = pipeline.plain(latents, time, users), pipeline.weak.plain(latents, time, users)
    arguments = (pipeline._predict, pipeline.conditioning, latents, time, users)
    guided = guided_prediction(*arguments, 3.0, weak=pipeline.weak.plain)
    torch.testing.assert_close(guided, bad + 3 * (good - bad), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(guided_prediction(*arguments, 1.0, weak=pipeline.weak.plain), good)
