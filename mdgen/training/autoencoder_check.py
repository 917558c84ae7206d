"""What an autoencoder keeps: its latents measured, its reconstructions compared with held-out originals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from mdgen.data.dataset import SpectrogramSet
from mdgen.models.latents import kl_per_dimension
from mdgen.models.vq_autoencoder import VQAutoencoder, perplexity
from mdgen.run import Run

#: A judge's opinion of reconstructions: (originals, reconstructions) -> share of identity kept.
IdentityRetention = Callable[[SpectrogramSet, SpectrogramSet], float]

#: A latent dimension that carries less than this many nats on average is called inactive.
ACTIVE_NATS = 0.05
#: So is a channel of latents without a posterior that varies less than this share of the one that varies most.
ACTIVE_SHARE = 0.01


@dataclass(frozen=True)
class AutoencoderCheck:
    """What an autoencoder keeps, measured on data it was not trained on.

    psnr_db, ssim: of reconstructions (range 2). active_dimensions: share of latent dimensions above `ACTIVE_NATS`, or
    of channels above `ACTIVE_SHARE`. kl_nats: mean per dimension; None without a posterior. perplexity: how many codes
    an even use would take; None without codes. latent_mean, latent_std: after normalisation (aim: 0 and 1).
    texture_time, texture_doppler: energy in the upper half of the spatial frequencies, reconstruction over original.
    identity_retention: judge's accuracy on reconstructions over that on originals; None without a judge.
    """

    psnr_db: float
    ssim: float
    active_dimensions: float
    kl_nats: float | None
    perplexity: float | None
    latent_mean: float
    latent_std: float
    texture_time: float
    texture_doppler: float
    identity_retention: float | None
    images: int

    def lines(self) -> list[str]:
        """The same for people."""
        kept = self.identity_retention
        nats = "" if self.kl_nats is None else f", {self.kl_nats:.2f} nats"
        codes = "" if self.perplexity is None else f", perplexity of codes {self.perplexity:.0f}"
        return [
            f"PSNR {self.psnr_db:.1f} dB, SSIM {self.ssim:.3f}",
            f"texture kept: {self.texture_time:.2f} along time, {self.texture_doppler:.2f} along Doppler (1 = all)",
            f"latents: {self.active_dimensions:.0%} active{nats}{codes}, deviation {self.latent_std:.2f}",
            f"identity kept: {'not measured' if kept is None else f'{kept:.3f} (aim: 0.95 or more)'}",
        ]


@torch.no_grad()
def measure_latents(autoencoder: nn.Module, images: np.ndarray) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation of sampled latents over all images, in float64."""
    moments = [_posterior(autoencoder, images[i : i + 64]) for i in range(0, len(images), 64)]
    means = torch.cat([p.mean.double() for p in moments])
    variances = torch.cat([p.var.double() for p in moments])
    mean = means.mean(dim=(0, 2, 3))
    alone = means[:, 0].numel() == 1  # one vector deviates from nothing
    std = (means.var(dim=(0, 2, 3), correction=int(not alone)) + variances.mean(dim=(0, 2, 3))).sqrt()
    return mean.tolist(), std.tolist()


def latent_scales(std: list[float], whitening: float) -> list[float]:
    """What each latent channel is divided by for stage 2; mean variance over channels is 1 afterwards.

    The geometric mean of the channel's own deviation (weight `whitening`) and the common one. Fully whitened, fine
    channels weigh as much as coarse ones and the denoiser spends itself on speckle; untouched, the fine ones are so
    small that a sampler of few steps never settles them.
    """
    own = np.asarray(std)
    common = np.sqrt(np.square(own).mean())
    scales = own**whitening * common ** (1 - whitening)
    return (scales * np.sqrt(np.square(own / scales).mean())).tolist()


@torch.no_grad()
def reconstruct(autoencoder: nn.Module, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Images through encoder, latent noise and decoder: what stage 2 could at best give back."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for i in range(0, len(images), 64):
        latents = _sample(_posterior(autoencoder, images[i : i + 64]), generator)
        parts.append(autoencoder.decode(latents).sample.clamp(-1, 1).cpu().numpy())  # type: ignore[operator]
    return np.concatenate(parts)


def check_autoencoder(
    autoencoder: nn.Module, data: SpectrogramSet, run: Run, identity_retention: IdentityRetention | None = None
) -> AutoencoderCheck:
    """Measure an autoencoder on held-out rows, write `logs/autoencoder_check.json` and a picture of reconstructions."""
    from skimage.metrics import structural_similarity

    from mdgen.data.texture import texture_ratio
    from mdgen.figures import comparison_sheet

    held_out = data.role("val", "test") if data.table["split"].isin(["val", "test"]).any() else data
    images = held_out.images
    reconstructions = reconstruct(autoencoder, images)
    with torch.no_grad():
        posteriors = [_posterior(autoencoder, images[i : i + 64]) for i in range(0, len(images), 64)]
    mean, std = measure_latents(autoencoder, images)
    if posteriors[0].deterministic:
        nats, active = None, float((np.array(std) > ACTIVE_SHARE * max(std)).mean())
    else:
        nats = torch.cat([kl_per_dimension(p) for p in posteriors]).mean(0)
        active = float((nats > ACTIVE_NATS).float().mean())
    center, scale = np.array(autoencoder.config.latents_mean), np.array(autoencoder.config.latents_std)  # type: ignore[union-attr]
    texture = texture_ratio(images, reconstructions)
    check = AutoencoderCheck(
        psnr_db=float(10 * math.log10(4 / max(1e-12, float(np.square(images - reconstructions).mean())))),
        ssim=float(
            np.mean(
                [
                    structural_similarity(a, b, data_range=2, channel_axis=0, win_size=7)
                    for a, b in zip(images, reconstructions, strict=True)
                ]
            )
        ),
        active_dimensions=active,
        kl_nats=None if nats is None else float(nats.mean()),
        perplexity=_perplexity(autoencoder, [p.mean for p in posteriors]),
        latent_mean=float(((np.array(mean) - center) / scale).mean()),
        latent_std=float(np.sqrt(np.square(np.array(std) / scale).mean())),
        texture_time=texture["time"],
        texture_doppler=texture["doppler"],
        identity_retention=None
        if identity_retention is None
        else identity_retention(held_out, held_out.with_images(reconstructions)),
        images=len(images),
    )
    logs = run.path / "logs"
    logs.mkdir(exist_ok=True)
    (logs / "autoencoder_check.json").write_text(json.dumps(asdict(check), indent=1))
    comparison_sheet(
        {"real": held_out, "reconstructed": held_out.with_images(reconstructions)},
        run.path / "figures" / "reconstructions.png",
    )
    return check


@torch.no_grad()
def _perplexity(autoencoder: nn.Module, latents: list[Tensor]) -> float | None:
    if not isinstance(autoencoder, VQAutoencoder):
        return None
    codebook = autoencoder.codebook
    codes = torch.cat([codebook(some).codes.flatten() for some in latents])
    return float(perplexity(torch.bincount(codes, minlength=len(codebook.codes))))


def _posterior(autoencoder: nn.Module, images: np.ndarray) -> DiagonalGaussianDistribution:
    return autoencoder.encode(torch.from_numpy(images).to(autoencoder.device)).latent_dist  # type: ignore[operator, arg-type]


def _sample(posterior: DiagonalGaussianDistribution, generator: torch.Generator) -> Tensor:
    noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
    return posterior.mean + posterior.std * noise
