"""The adversarial part of stage 1: each side learns from its own loss alone, and the balance between the losses."""

import pytest
import torch

from mdgen.config import AdversarialConfig
from mdgen.models.autoencoder import last_layer
from mdgen.models.losses import EffNetLiteFeatures
from mdgen.training.adversary import Adversary
from tests.training.test_engine import ADVERSARIAL, autoencoder_task, engine


def adversary(**settings: object) -> tuple[Adversary, torch.nn.Conv2d, torch.Tensor]:
    """An adversary, a decoder of one layer, and pictures."""
    torch.manual_seed(0)
    config = AdversarialConfig.model_validate(
        {"weight": 0.5, "start": 0.2, "ramp": 0.4, "receptive_field": 16, "channels": 8, **settings}
    )
    return Adversary(config, (1, 24, 24)), torch.nn.Conv2d(1, 1, 3, padding=1), torch.randn(4, 1, 24, 24)


def said(part: Adversary, decoder: torch.nn.Conv2d, images: torch.Tensor, progress: float = 1.0):
    reconstructions = decoder(images)
    others = (reconstructions - images).abs().mean()
    added, logged = part(images, reconstructions, others, decoder.weight, progress)
    return others, added, logged


def gradient_of(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor | None:
    return torch.autograd.grad(value, parameter, allow_unused=True, retain_graph=True)[0]


@pytest.mark.parametrize("settings", [{}, {"r1": 1.0, "lecam": 0.5}], ids=["hinge", "regularised"])
def test_each_side_gets_the_gradient_of_its_own_loss_alone(settings) -> None:
    part, decoder, images = adversary(adaptive=False, **settings)
    _, both, _ = said(part, decoder, images, progress=1.0)
    to_decoder = gradient_of(both, decoder.weight)
    to_discriminator = [gradient_of(both, p) for p in part.parameters()]
    assert to_decoder is not None
    assert to_decoder.abs().sum() > 0

    part, decoder, images = adversary(adaptive=False, **settings)
    _, discriminator_alone, _ = said(part, decoder, images, progress=0.2)  # the generator's weight is still 0
    assert gradient_of(discriminator_alone, decoder.weight).abs().sum() == 0
    for alone, beside in zip(part.parameters(), to_discriminator, strict=True):
        torch.testing.assert_close(gradient_of(discriminator_alone, alone), beside)


def test_the_generators_gradient_is_that_of_fooling_the_discriminator() -> None:
    part, decoder, images = adversary(adaptive=False)
    part.eval()  # spectral norm stands still
    _, added, logged = said(part, decoder, images)
    fooling = -part.discriminator(decoder(images)).mean()
    assert float(logged["adversarial"]) == pytest.approx(float(fooling), rel=1e-5)
    torch.testing.assert_close(gradient_of(added, decoder.weight), 0.5 * gradient_of(fooling, decoder.weight))


def test_the_adaptive_weight_is_the_ratio_of_gradients_and_is_limited() -> None:
    part, decoder, images = adversary()
    part.eval()
    others, _, logged = said(part, decoder, images)
    assert logged["adversarial_weight"] == 0  # nothing is known at the first step
    part.end_step(lambda tensor: tensor)
    fooling = -part.discriminator(decoder(images)).mean()
    ratio = gradient_of(others, decoder.weight).norm() / gradient_of(fooling, decoder.weight).norm()
    assert float(part.ratio) == pytest.approx(float(ratio), rel=1e-4)
    limited, decoder, images = adversary(max_ratio=0.01)
    said(limited, decoder, images)
    limited.end_step(lambda tensor: tensor)
    assert float(limited.ratio) == pytest.approx(0.01)


def test_it_starts_at_a_share_of_the_run_and_then_grows_evenly() -> None:
    part, decoder, images = adversary(adaptive=False)
    weights = [float(said(part, decoder, images, p)[2]["adversarial_weight"]) for p in (0.2, 0.3, 0.4, 0.6, 0.9)]
    assert weights == pytest.approx([0, 0.125, 0.25, 0.5, 0.5])
    task = autoencoder_task(*ADVERSARIAL, "autoencoder.adversarial.start=0.5")
    batch = task.draw(torch.arange(4).numpy(), torch.Generator())
    assert "discriminator" not in task(batch, 0.49)
    assert "discriminator" in task(batch, 0.5)


def test_both_sides_see_the_same_batch() -> None:
    task = autoencoder_task(*ADVERSARIAL)
    seen = []
    assert task.adversary is not None
    task.adversary.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    batch = task.draw(torch.arange(4).numpy(), torch.Generator())
    task(batch, 0.9)
    reals, fakes = seen
    assert torch.equal(reals, batch["images"])
    latents = task.autoencoder.encode(reals).latent_dist
    assert reals.shape == fakes.shape
    assert (task.autoencoder.decode(latents.mean).sample - fakes).abs().mean() < 0.2 * fakes.abs().mean()


def test_a_step_of_the_whole_task_is_balanced_at_the_last_layer() -> None:
    """The weight that the second step uses makes both gradients of the first step equal, times `weight`."""
    machine = engine(autoencoder_task(*ADVERSARIAL))
    first = machine.step(0, 0.9, 0.0)
    second = machine.step(1, 0.9, 0.0)
    assert first.values["adversarial_weight"] == 0
    assert second.values["adversarial_weight"] == pytest.approx(0.1 * float(machine.task.adversary.ratio), rel=0.5)
    assert 0 < second.values["adversarial_weight"] < 1e4


def test_the_perceptual_loss_reaches_the_encoder() -> None:
    task = autoencoder_task("autoencoder.perceptual=effnet-lite0", "autoencoder.perceptual_weight=1")
    task.perceptual = EffNetLiteFeatures()
    batch = task.draw(torch.arange(4).numpy(), torch.Generator())
    losses = task(batch, 0.0)
    (reached,) = torch.autograd.grad(losses["perceptual"], task.autoencoder.encoder_in.weight, retain_graph=True)
    assert reached.abs().sum() > 0
    (last,) = torch.autograd.grad(losses["perceptual"], last_layer(task.autoencoder))
    assert last.abs().sum() > 0
