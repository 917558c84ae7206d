"""Networks: shapes, what they start as, and the traps that made others' models silently wrong."""

import numpy as np
import pytest
import torch

from mdgen.config import DenoiserConfig
from mdgen.errors import MdgenError
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser
from mdgen.models.latents import denormalise_latents, kl_per_dimension, normalise_latents
from mdgen.models.losses import EffNetLiteFeatures, Lpips
from mdgen.models.patch_autoencoder import PatchAutoencoder


@pytest.mark.parametrize(("channels", "patch"), [(1, 4), (3, 2)])
def test_with_as_many_latents_as_pixels_the_untrained_autoencoder_is_lossless(channels: int, patch: int) -> None:
    autoencoder = PatchAutoencoder(channels, channels * patch * patch, patch, 16, 1)
    images = torch.randn(2, channels, 16, 24)
    again = autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample
    torch.testing.assert_close(again, images, atol=1e-5, rtol=0)


def test_fewer_latents_keep_the_lowest_frequencies_first() -> None:
    autoencoder = PatchAutoencoder(1, 3, 4, 16, 1)
    smooth = torch.linspace(-1, 1, 16).expand(1, 1, 16, 16)
    speckle = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def error(images: torch.Tensor) -> float:
        return float((autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample - images).square().mean())

    assert error(smooth) < 0.02 * error(speckle)


def test_kl_of_a_posterior_equals_diffusers_own_sum() -> None:
    posterior = PatchAutoencoder(1, 4, 4, 16, 1).encode(torch.randn(3, 1, 16, 16)).latent_dist
    torch.testing.assert_close(kl_per_dimension(posterior).sum((1, 2, 3)), posterior.kl())


def test_normalised_latents_come_back() -> None:
    autoencoder = PatchAutoencoder(1, 2, 4, 16, 1, latents_mean=[1.0, -2.0], latents_std=[0.5, 3.0])
    latents = torch.randn(2, 2, 4, 4)
    again = denormalise_latents(autoencoder, normalise_latents(autoencoder, latents))
    torch.testing.assert_close(again, latents)
    with pytest.raises(ValueError, match="no latent statistics"):
        normalise_latents(PatchAutoencoder(1, 2, 4, 16, 1), latents)


@pytest.mark.parametrize(
    "config",
    [
        DenoiserConfig(width=32, depth=2, heads=2),
        DenoiserConfig(kind="unet", width=32, depth=1, heads=2, levels=(1, 2)),
        DenoiserConfig(kind="unet", width=32, depth=1, heads=2, levels=(1, 2), attention=(8, 4)),
        DenoiserConfig(kind="mlp", width=32, depth=2),
    ],
)
def test_a_denoiser_starts_at_zero_and_then_listens_to_its_condition(config: DenoiserConfig) -> None:
    denoiser = build_denoiser(config, 4, (8, 8))
    sample, time = torch.randn(2, 4, 8, 8), torch.tensor([100.0, 900.0])
    condition = torch.randn(2, denoiser.condition_dim)
    assert denoiser(sample, time, class_labels=condition).sample.abs().max() == 0
    torch.manual_seed(0)
    for parameter in denoiser.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    denoiser.eval()
    first = denoiser(sample, time, class_labels=condition).sample
    other = denoiser(sample, time, class_labels=condition + 1).sample
    assert first.shape == sample.shape
    assert (first - other).abs().amax(dim=(0, 2, 3)).min() > 0  # every channel


def test_the_null_user_is_one_owned_row_that_no_user_has() -> None:
    conditioning = UserConditioning(5, 8, condition_dropout=0.4)
    users = torch.arange(5).repeat(400)
    dropped = conditioning.drop(users, torch.Generator().manual_seed(0))[:, 0]
    assert set(dropped[dropped != users].tolist()) == {conditioning.null_id} == {5}
    assert (dropped != users).float().mean() == pytest.approx(0.4, abs=0.04)


def test_guidance_without_condition_dropout_is_refused() -> None:
    UserConditioning(5, 8, condition_dropout=0.0).require_guidance(1.0)
    UserConditioning(5, 8, condition_dropout=0.1).require_guidance(2.0)
    with pytest.raises(MdgenError, match="condition dropout"):
        UserConditioning(5, 8, condition_dropout=0.0).require_guidance(2.0)


@pytest.mark.parametrize("build", [EffNetLiteFeatures, lambda: Lpips(random_trunk=True)], ids=["effnet", "lpips"])
def test_a_perceptual_distance_is_zero_at_home_and_gives_its_gradient_to_the_picture_alone(build) -> None:
    distance = build().train()
    x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = (x + 0.3).clamp(-1, 1).requires_grad_()
    assert distance(x, x) == pytest.approx(0, abs=1e-6)
    value = distance(x, y)
    value.backward()
    assert value > 1e-5
    assert y.grad is not None
    assert y.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in distance.parameters())


def test_an_lpips_trunk_from_a_file_is_really_used(tmp_path) -> None:
    from torchvision.models import alexnet

    torch.manual_seed(1)
    trunk = alexnet(weights=None)
    torch.save(trunk.state_dict(), tmp_path / "alexnet.pt")
    distance = Lpips(tmp_path / "alexnet.pt")
    loaded = distance.metric.net.slice1[0].weight
    np.testing.assert_array_equal(loaded.detach(), trunk.features[0].weight.detach())
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "wrong.pt")
    with pytest.raises(MdgenError, match="AlexNet"):
        Lpips(tmp_path / "wrong.pt")


def test_latent_scales_go_from_common_to_own_and_keep_the_total_variance_at_one() -> None:
    from mdgen.training.autoencoder_check import latent_scales

    std = np.array([2.0, 0.5, 0.1])
    for whitening in (0.0, 0.5, 1.0):
        scaled = std / latent_scales(std.tolist(), whitening)
        assert np.square(scaled).mean() == pytest.approx(1)
        assert scaled[0] / scaled[2] == pytest.approx((2.0 / 0.1) ** (1 - whitening))


def test_the_clipped_floor_comes_back_clean_from_latents_that_are_a_little_off() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.where(torch.rand(2, 1, 16, 16, generator=generator) < 0.5, -1.0, 0.3)

    def haze(margin: float) -> float:
        autoencoder = PatchAutoencoder(1, 16, 4, 16, 1, floor_margin=margin)
        latents = autoencoder.encode(images).latent_dist.mean
        latents = latents + 0.03 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
        again = autoencoder.decode(latents).sample.detach().clamp(-1, 1)
        assert (again - images).abs().max() < 0.2
        return float((again[images == -1] + 1).mean())

    assert haze(0.1) < 0.05 * haze(0.0)
