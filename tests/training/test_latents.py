"""The latent cache: what it holds, when it is made anew, and that memory does not grow with it."""

from pathlib import Path

import numpy as np
import psutil
import torch

from mdgen.data.windows import WindowCutter
from mdgen.models.autoencoder import build_autoencoder
from mdgen.training.latents import LatentCache, MappedRows, cached_latents, encode
from tests.conftest import ridges, tiny_recipe


def made(folder: Path, fingerprint: str = "a", seed: int = 0) -> tuple[LatentCache, WindowCutter, torch.nn.Module]:
    recipe, data = tiny_recipe(), ridges().role("train")
    torch.manual_seed(seed)
    autoencoder = build_autoencoder(recipe.autoencoder, (1, 16, 16))
    autoencoder.register_to_config(latents_mean=[0.5] * 4, latents_std=[2.0] * 4)
    windows = WindowCutter.of(data, recipe.data.augment)
    return cached_latents(autoencoder, windows, folder / "latents", fingerprint), windows, autoencoder


def test_the_cache_holds_the_normalised_posterior_of_every_view(tmp_path) -> None:
    cache, windows, autoencoder = made(tmp_path)
    views = np.array([5, 0, 17])
    images = np.stack([windows.cut(windows.views[v]) for v in views])
    mean, std = encode(autoencoder, images)
    np.testing.assert_allclose(cache.mean[views], mean.numpy(), atol=2e-3)
    np.testing.assert_allclose(cache.std[views], std.numpy(), rtol=2e-3)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cache.sample(views, generator), mean + std * noise, atol=5e-3, rtol=5e-3)
    assert cache.latent_shape == (4, 4, 4)


def test_the_cache_is_kept_while_it_fits_and_made_anew_when_data_weights_or_bytes_change(tmp_path) -> None:
    made(tmp_path)
    file = tmp_path / "latents" / "mean.npy"
    first, stamp = file.read_bytes(), file.stat().st_mtime_ns
    made(tmp_path)
    assert file.stat().st_mtime_ns == stamp
    made(tmp_path, fingerprint="b")
    assert file.stat().st_mtime_ns != stamp
    file.write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    made(tmp_path, fingerprint="b")
    assert file.read_bytes() == first


def test_reading_every_row_of_a_large_file_takes_no_memory(tmp_path) -> None:
    rows = 10000
    blocks = (np.arange(rows) // 1000 * 1000).astype(np.float16)
    np.save(tmp_path / "x.npy", np.repeat(blocks[:, None], 4096, axis=1))  # 82 MB
    mapped = MappedRows(tmp_path / "x.npy")
    order = np.random.default_rng(0).permutation(rows).reshape(-1, 50)
    mapped[order[0]]
    before = psutil.Process().memory_info().rss
    for batch in order:
        assert np.array_equal(mapped[batch][:, 7], blocks[batch])
    assert psutil.Process().memory_info().rss - before < 16e6
