"""The adversarial part of stage 1: a discriminator that learns beside the autoencoder, and how much it may say."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mdgen.config import AdversarialConfig
from mdgen.models.discriminator import PatchDiscriminator, gradient_penalty, hinge_discriminator, lecam
from mdgen.training.task import Gather

#: What the running means of logits keep of themselves a step.
_LOGIT_DECAY = 0.99


class Adversary(nn.Module):
    """Discriminator and generator losses of one batch, from one look at it.

    With `adaptive`, the generator's loss is weighed by the ratio of two gradients at the decoder's last layer, of the
    other losses and of this one (Esser et al. 2021, eq. 7): as measured over the whole batch of the step before, so
    that it depends neither on micro-batches nor on the number of processes (but for the discriminator's spectral norm,
    which is estimated a little better at every look).
    """

    ratio: Tensor
    logit_means: Tensor

    def __init__(self, config: AdversarialConfig, picture_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.discriminator = PatchDiscriminator(picture_shape[0], config.channels, config.receptive_field)
        self.discriminator.require_size(*picture_shape[1:])
        self.register_buffer("ratio", torch.tensor(0.0 if config.adaptive else 1.0))
        self.register_buffer("logit_means", torch.zeros(2))  # real, fake
        self.begin_step()

    def forward(
        self, images: Tensor, reconstructions: Tensor, others: Tensor, last_layer: nn.Parameter, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What to add to the total, and its parts. others: the losses that the generator's is weighed against.

        The discriminator sees reconstructions cut off from the autoencoder; the autoencoder gets the gradient of its
        loss by them as a constant. So neither reaches the other's weights.
        """
        config = self.config
        with torch.autocast(images.device.type, enabled=False):
            reals = images.detach().float().requires_grad_(config.r1 > 0)
            fakes = reconstructions.detach().float().requires_grad_()
            real_logits, fake_logits = self.discriminator(reals), self.discriminator(fakes)
            generator = -fake_logits.mean()
            (pull,) = torch.autograd.grad(generator, fakes, retain_graph=True)
            own = hinge_discriminator(real_logits, fake_logits)
            penalty = own.new_zeros(())
            if config.r1:
                penalty = penalty + config.r1 * gradient_penalty(real_logits, reals)
            if config.lecam:
                penalty = penalty + config.lecam * lecam(real_logits, fake_logits, *self.logit_means)
        if config.adaptive:
            self._note_gradients(len(images), others, reconstructions, pull, last_layer)
        self._note_logits(real_logits, fake_logits)
        weight = config.weight * self._ramp(progress) * self.ratio
        felt = (reconstructions.float() * pull).sum()
        generator = generator.detach() + felt - felt.detach()  # the loss in value, its gradient by `pull`
        logged = {
            "adversarial": generator.detach(),
            "adversarial_weight": weight,
            "discriminator": own.detach(),
            "logits_real": real_logits.detach().mean(),
            "logits_fake": fake_logits.detach().mean(),
        }
        return weight * generator + own + penalty, logged

    def begin_step(self) -> None:
        self._gradients: Tensor | None = None  # (2, *last layer): of the other losses and of the generator's
        self._logits: Tensor | None = None  # sum of real, sum of fake, number

    def end_step(self, gather: Gather) -> None:
        """Take in what the step's micro-batches showed, in all processes."""
        if self._gradients is not None:
            others, generator = gather(self._gradients[None]).sum(0).flatten(1).norm(dim=1)
            self.ratio.copy_((others / (generator + 1e-8)).clamp(max=self.config.max_ratio))
        if self._logits is not None:
            real, fake, count = gather(self._logits[None]).sum(0)
            self.logit_means.lerp_(torch.stack([real, fake]) / count, 1 - _LOGIT_DECAY)

    def _ramp(self, progress: float) -> float:
        since = progress - self.config.start
        return 1.0 if self.config.ramp == 0 else min(1.0, since / self.config.ramp)

    def _note_gradients(
        self, count: int, others: Tensor, reconstructions: Tensor, pull: Tensor, last_layer: nn.Parameter
    ) -> None:
        (by_others,) = torch.autograd.grad(others, last_layer, retain_graph=True)
        (by_pull,) = torch.autograd.grad(reconstructions, last_layer, pull.to(reconstructions.dtype), retain_graph=True)
        gradients = count * torch.stack([by_others, by_pull]).float()
        self._gradients = gradients if self._gradients is None else self._gradients + gradients

    def _note_logits(self, real: Tensor, fake: Tensor) -> None:
        sums = torch.stack([real.detach().sum(), fake.detach().sum(), real.new_tensor(real.numel())])
        self._logits = sums if self._logits is None else self._logits + sums
