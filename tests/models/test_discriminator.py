"""The patch discriminator: what it sees, and its losses in closed form."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.models.discriminator import PatchDiscriminator, gradient_penalty, hinge_discriminator, lecam


@pytest.mark.parametrize("field", [16, 34, 70])
def test_a_logit_sees_exactly_its_receptive_field(field: int) -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(1, 8, field).double()
    images = torch.randn(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = discriminator(images)
    row, column = logits.shape[2] // 2, logits.shape[3] // 2
    (seen,) = torch.autograd.grad(logits[0, 0, row, column], images)
    rows, columns = (seen[0, 0].abs().sum(dim=d).nonzero().flatten() for d in (1, 0))
    assert (len(rows), len(columns)) == (field, field)
    assert int(rows[-1] - rows[0]) == int(columns[-1] - columns[0]) == field - 1  # no holes


def test_the_judgement_of_a_picture_does_not_depend_on_its_batch() -> None:
    discriminator = PatchDiscriminator(1, 8, 34).eval()
    images = torch.randn(4, 1, 64, 64)
    torch.testing.assert_close(discriminator(images)[:1], discriminator(images[:1]))


def test_pictures_too_small_for_a_logit_are_refused_and_the_smallest_is_not() -> None:
    for field, smallest in ((16, 6), (34, 12), (70, 24)):
        discriminator = PatchDiscriminator(1, 8, field)
        discriminator.require_size(smallest, smallest)
        assert discriminator(torch.zeros(1, 1, smallest, smallest)).numel() >= 1
        with pytest.raises(MdgenError, match=f"receptive_field={field}"):
            discriminator.require_size(64, smallest - 1)


def test_the_losses_of_the_discriminator_in_closed_form() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert hinge_discriminator(real, fake) == pytest.approx(0.5 * (0.25 + 0.5))
    images = torch.randn(3, 1, 4, 4, requires_grad=True)
    weights = torch.randn(1, 4, 4)
    logits = (images * weights).sum(dim=(1, 2, 3))
    assert gradient_penalty(logits, images) == pytest.approx(0.5 * float(weights.square().sum()), rel=1e-5)
    assert lecam(real, fake, torch.tensor(1.0), torch.tensor(-1.0)) == pytest.approx((9 + 2.25) / 2 + (16 + 1) / 2)
