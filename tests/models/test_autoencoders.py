"""The family of autoencoders: one way of asking, what codes get their gradients from, sizes refused."""

import numpy as np
import pytest
import torch

from mdgen.config import AutoencoderConfig, load_recipe
from mdgen.errors import MdgenError
from mdgen.models.autoencoder import AUTOENCODERS, build_autoencoder, last_layer
from mdgen.models.patch_autoencoder import FLOOR_CONTRAST, find_floor
from mdgen.models.vector_autoencoder import VectorAutoencoder
from mdgen.models.vq_autoencoder import Codebook, VQAutoencoder, perplexity
from mdgen.training.autoencoder_check import measure_latents

KINDS = {"patch": (4, 8, 12), "kl": (4, 8, 12), "vq": (4, 8, 12), "vector": (4, 1, 1), "none": (1, 32, 48)}


def built(kind: str, **settings: object) -> torch.nn.Module:
    content = {"kind": kind, "latent_channels": 4, "downsample": 4, "channels": 16, "blocks": 1, **settings}
    torch.manual_seed(0)
    return build_autoencoder(AutoencoderConfig.model_validate(content), (1, 32, 48)).eval()


def test_the_one_held_out_vector_has_a_deviation() -> None:
    autoencoder = VectorAutoencoder(1, (16, 16), latent_channels=3, channels=8)
    _, std = measure_latents(autoencoder, np.zeros((1, 1, 16, 16), np.float32))
    assert np.isfinite(std).all()


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_answer_alike_and_come_back_from_disk_as_they_were(kind: str, tmp_path) -> None:
    autoencoder = built(kind, codebook={"size": 32})
    images = torch.rand(2, 1, 32, 48) * 2 - 1
    latents = autoencoder.encode(images).latent_dist.mean
    assert latents.shape == (2, *KINDS[kind])
    assert autoencoder.decode(latents).sample.shape == images.shape
    autoencoder.save_pretrained(tmp_path)
    again = next(c for c in AUTOENCODERS if type(autoencoder) is c).from_pretrained(tmp_path).eval()
    assert torch.equal(again.decode(again.encode(images).latent_dist.mean).sample, autoencoder.decode(latents).sample)


def test_channels_of_the_latents_follow_the_kind_where_a_recipe_does_not_say() -> None:
    channels = {kind: load_recipe(None, [f"autoencoder.kind={kind}"]).autoencoder.latent_channels for kind in KINDS}
    assert channels == {"patch": 8, "kl": 8, "vq": 256, "vector": 128, "none": 1}
    assert load_recipe(None, ["autoencoder.kind=vq", "autoencoder.latent_channels=4"]).autoencoder.latent_channels == 4
    default = AutoencoderConfig(kind="vq")
    assert (default.codebook.size, default.latent_channels, default.codebook.commitment) == (8192, 256, 0.25)


def test_without_an_autoencoder_latents_are_the_pixels() -> None:
    images = torch.rand(2, 1, 32, 48) * 2 - 1
    pixels = built("none")
    posterior = pixels.encode(images).latent_dist
    assert torch.equal(posterior.mean, images)
    assert posterior.std.max() == 0
    assert torch.equal(pixels.decode(images).sample, images)


@pytest.mark.parametrize("kind", ["patch", "kl", "vq"])
def test_a_size_that_cannot_be_halved_so_often_is_refused(kind: str) -> None:
    config = AutoencoderConfig(kind=kind, channels=16)  # type: ignore[arg-type]
    with pytest.raises(MdgenError, match="does not divide pictures of 30x32"):
        build_autoencoder(config, (1, 30, 32))


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (64, 32), (9, 15)])
def test_a_picture_of_any_size_becomes_one_vector(size: tuple[int, int]) -> None:
    config = AutoencoderConfig(kind="vector", channels=8, blocks=1)
    autoencoder = build_autoencoder(config, (3, *size))
    latents = autoencoder.encode(torch.zeros(2, 3, *size)).latent_dist.mean
    assert latents.shape == (2, 128, 1, 1)
    assert autoencoder.decode(latents).sample.shape == (2, 3, *size)


@pytest.mark.parametrize("kind", ["patch", "kl", "vq", "vector"])
def test_the_last_layer_is_the_one_that_makes_the_pixels(kind: str) -> None:
    autoencoder = built(kind, codebook={"size": 32})
    layer = last_layer(autoencoder)
    assert layer.shape[0] in (1, 16)  # a pixel, or a patch of them
    images = torch.rand(1, 1, 32, 48)
    autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample.square().sum().backward()
    assert layer.grad is not None
    assert layer.grad.abs().sum() > 0


def test_the_blocks_of_the_vq_system() -> None:
    config = AutoencoderConfig(kind="vq", downsample=16, normalisation="batch", channels=16)
    vq = build_autoencoder(config, (3, 256, 256))
    down = vq.encoder[0]
    assert [type(layer).__name__ for layer in down] == ["Conv2d", "BatchNorm2d", "LeakyReLU", *["ResidualBlock"] * 2]
    assert (down[0].kernel_size, down[0].stride, down[2].negative_slope) == ((4, 4), (2, 2), 0.2)
    assert len(vq.encoder) == len(vq.decoder) == 4
    assert vq.codebook.codes.shape == (8192, 256)
    assert vq.encode(torch.zeros(1, 3, 64, 64)).latent_dist.mean.shape == (1, 256, 4, 4)


def test_a_latent_becomes_its_nearest_code_and_passes_its_gradient_straight_through() -> None:
    codebook = Codebook(3, 2)
    codebook.codes.data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    latents = torch.tensor([[0.9, 0.2], [0.1, 0.7], [-3.0, -3.0]]).T.reshape(1, 2, 1, 3).requires_grad_()
    quantised = codebook(latents)
    assert quantised.codes.flatten().tolist() == [1, 2, 0]
    torch.testing.assert_close(quantised.latents, codebook.look_up(quantised.codes))
    pull = torch.randn(1, 2, 1, 3)
    (gradient,) = torch.autograd.grad((quantised.latents * pull).sum(), latents)
    torch.testing.assert_close(gradient, pull)


def test_commitment_moves_latents_alone_and_the_codebook_loss_codes_alone() -> None:
    codebook = Codebook(4, 2)
    latents = torch.randn(2, 2, 3, 3, requires_grad=True)
    quantised = codebook(latents)
    targets = (latents, codebook.codes)
    to_latents, to_codes = torch.autograd.grad(quantised.commitment_loss, targets, allow_unused=True, retain_graph=True)
    assert to_latents.abs().sum() > 0
    assert to_codes is None
    to_latents, to_codes = torch.autograd.grad(quantised.codebook_loss, targets, allow_unused=True)
    assert to_latents is None
    assert to_codes.abs().sum() > 0


def test_perplexity_counts_the_codes_an_even_use_would_take() -> None:
    counts = torch.zeros(8)
    assert perplexity(counts) == 0
    counts[:4] = 5.0
    assert perplexity(counts) == pytest.approx(4)
    counts[0] = 1e6
    assert perplexity(counts) == pytest.approx(1, abs=0.01)


def test_decoding_forgives_errors_smaller_than_half_the_way_to_the_next_code() -> None:
    autoencoder = built("vq", codebook={"size": 8})
    assert isinstance(autoencoder, VQAutoencoder)
    autoencoder.codebook.codes.data = torch.randn(8, 4)
    latents = autoencoder.codebook.look_up(torch.randint(8, (2, 8, 12)))
    distances = torch.cdist(autoencoder.codebook.codes, autoencoder.codebook.codes) + 1e9 * torch.eye(8)
    error = torch.randn_like(latents)
    error = error / error.norm(dim=1, keepdim=True) * 0.49 * distances.min()
    torch.testing.assert_close(autoencoder.decode(latents + error).sample, autoencoder.decode(latents).sample)


def test_a_floor_blurred_by_a_lossy_format_is_found_and_comes_back_as_floor():
    rng = np.random.default_rng(0)
    images = np.where(rng.random((8, 1, 32, 32)) < 0.6, rng.choice([0, 1, 1, 1, 2, 3], (8, 1, 32, 32)) / 127.5 - 1, 0)
    images = np.where(images == 0, rng.uniform(-0.8, 1, images.shape), images).astype(np.float32)
    typical, level = find_floor(images)
    assert typical == pytest.approx(1 / 127.5 - 1)
    assert 3 / 127.5 - 1 < level < -0.9
    assert find_floor(np.where(images < -0.9, -1, images)) == (-1, -1)
    assert find_floor(images.clip(-0.7, 1)) == (-1, -1)
    config = AutoencoderConfig(kind="patch", latent_channels=16, floor_margin=0.2)
    autoencoder = build_autoencoder(config, (1, 32, 32), (typical, level)).eval()
    latents = autoencoder.encode(torch.from_numpy(images)).latent_dist.mean.detach()
    exact = autoencoder.decode(latents).sample.detach().numpy()
    floor = images <= level
    np.testing.assert_allclose(exact[~floor], images[~floor], atol=1e-5)
    np.testing.assert_allclose(exact[floor] - typical, FLOOR_CONTRAST * (images[floor] - typical), atol=1e-5)
    error = 0.03 * torch.from_numpy(rng.standard_normal(latents.shape, np.float32))
    hazy = autoencoder.decode(latents + error).sample.detach().numpy()
    assert (hazy[floor] <= level).mean() > 0.99
    assert (hazy[~floor] > level).mean() > 0.99
