"""Codes: averaged, started anew, counted; over micro-batches as over one batch."""

import numpy as np
import pytest
import torch

from mdgen.config import CodebookConfig
from mdgen.models.vq_autoencoder import Codebook, perplexity
from mdgen.run import Run
from mdgen.training.autoencoder import load_autoencoder, train_autoencoder
from mdgen.training.codebook import SETTLED, CodebookKeeper
from mdgen.training.journal import read_metrics
from tests.conftest import ridges, tiny_recipe


def alone(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def shown(
    keeper: CodebookKeeper, latents: torch.Tensor, lots: torch.Tensor, progress: float = 0.0, parts: int = 1
) -> None:
    keeper.begin_step()
    for some, lot in zip(latents.chunk(parts), lots.chunk(parts), strict=True):
        keeper.note(some, keeper.codebook(some).codes, lot, progress)
    keeper.end_step(alone)


def clusters(count: int = 64) -> torch.Tensor:
    """Latents [count, 2, 1, 1] around four corners."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.tensor([[3.0, 3], [3, -3], [-3, 3], [-3, -3]])[torch.arange(count) % 4]
    return (corners + 0.1 * torch.randn(count, 2, generator=generator))[..., None, None]


def lots(count: int = 64) -> torch.Tensor:
    return torch.rand(count, 1, 1, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_micro_batches_move_codes_as_the_whole_batch_does(update) -> None:
    books = []
    for parts in (1, 4):
        torch.manual_seed(0)
        keeper = CodebookKeeper(Codebook(8, 2), CodebookConfig(size=8, update=update))
        for _ in range(3):
            shown(keeper, clusters(), lots(), parts=parts)
        books.append(keeper.codebook)
    torch.testing.assert_close(books[0].codes, books[1].codes)
    torch.testing.assert_close(books[0].usage, books[1].usage)


def test_averaged_codes_settle_in_the_middle_of_their_latents() -> None:
    torch.manual_seed(0)
    keeper = CodebookKeeper(Codebook(4, 2), CodebookConfig(size=4, update="ema", decay=0.8))
    latents = clusters()
    for _ in range(60):
        shown(keeper, latents, lots())
    codes = keeper.codebook.codes
    assert not codes.requires_grad
    middles = torch.stack([latents[torch.arange(64) % 4 == i].mean(0).flatten() for i in range(4)])
    assert torch.cdist(middles, codes).min(dim=1).values.max() < 0.02
    assert perplexity(keeper.codebook.usage) == pytest.approx(4, abs=0.05)


def test_idle_codes_start_anew_at_latents_and_those_in_use_stay() -> None:
    book = Codebook(8, 2)
    book.codes.data = torch.full((8, 2), 100.0)
    book.codes.data[0] = 0.0
    keeper = CodebookKeeper(book, CodebookConfig(size=8))
    shown(keeper, clusters(), lots())
    assert book.codes[0].tolist() == [0.0, 0.0]
    rows = clusters().flatten(1)
    assert torch.cdist(book.codes[1:], rows).min(dim=1).values.max() == 0  # each is one of the latents
    before = book.codes.clone()
    shown(keeper, clusters(), lots())
    assert torch.equal(before, book.codes)  # those started anew are given time


def test_late_in_the_run_no_code_starts_anew_and_0_switches_it_off() -> None:
    for config, progress in ((CodebookConfig(size=8), SETTLED), (CodebookConfig(size=8, restart=0), 0.0)):
        book = Codebook(8, 2)
        before = book.codes.clone()
        shown(CodebookKeeper(book, config), clusters(), lots(), progress)
        assert torch.equal(before, book.codes)


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_codes_are_used_after_training_and_their_use_is_logged(update, tmp_path) -> None:
    recipe = tiny_recipe(
        "autoencoder.kind=vq",
        "autoencoder.latent_channels=4",
        "autoencoder.codebook.size=32",
        "autoencoder.codebook.decay=0.9",
        f"autoencoder.codebook.update={update}",
        "autoencoder.training.steps=60",
        "autoencoder.training.batch_size=8",
        "autoencoder.training.checkpoint_every=60",
    )
    run, data = Run(tmp_path / "run"), ridges()
    check = train_autoencoder(data, run, recipe, device="cpu")
    codebook = load_autoencoder(run.path / "autoencoder").codebook
    assert perplexity(codebook.usage) > 4
    logged = [row for row in read_metrics(run.path / "logs" / "autoencoder" / "metrics.jsonl") if "perplexity" in row]
    assert logged[-1]["perplexity"] > 4
    assert 0 < logged[-1]["codes_used"] <= 1
    mean_picture = data.role("train").images.mean(axis=0)
    blind = 10 * np.log10(4 / np.square(data.role("val", "test").images - mean_picture).mean())
    assert check.psnr_db > blind
