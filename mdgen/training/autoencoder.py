"""Stage 1: training the autoencoder, measuring its latents, and the check that says whether stage 2 can work on it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from mdgen.config import AutoencoderConfig, Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.models.autoencoder import build_autoencoder, kl_per_dimension
from mdgen.models.losses import PatchDiscriminator, build_perceptual, hinge_discriminator
from mdgen.progress import Progress
from mdgen.run import Run, training_data
from mdgen.training.loop import train

#: A judge's opinion of reconstructions: (originals, reconstructions) -> share of identity kept.
IdentityRetention = Callable[[SpectrogramSet, SpectrogramSet], float]

#: A latent dimension that carries less than this many nats on average is called inactive.
ACTIVE_NATS = 0.05


class AutoencoderTask(nn.Module):
    """Reconstruction + perceptual + KL + (optional) adversarial loss of an autoencoder on cut windows."""

    def __init__(
        self, autoencoder: nn.Module, windows: WindowCutter, config: AutoencoderConfig, batch_size: int
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.windows, self.config, self.batch_size = windows, config, batch_size
        self.perceptual = build_perceptual(config)
        self.discriminator = (
            PatchDiscriminator(windows.recordings[0].image.shape[0], config.adversarial.channels)
            if config.adversarial.weight
            else None
        )

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        parts = {"autoencoder": (list(self.autoencoder.parameters()), self.config.training.learning_rate)}
        if self.discriminator is not None:
            parts["discriminator"] = (list(self.discriminator.parameters()), self.config.adversarial.learning_rate)
        return parts

    def active_parts(self, progress: float) -> list[str]:
        return ["autoencoder", "discriminator"] if self._adversarial(progress) else ["autoencoder"]

    def forward(self, part: str, indices: np.ndarray, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        device = next(self.autoencoder.parameters()).device
        images = self.windows.draw(indices, generator).to(device)
        if part == "discriminator":
            return self._discriminator_losses(images, generator)
        posterior = self.autoencoder.encode(images).latent_dist
        reconstructions = self.autoencoder.decode(self._perturbed(posterior, generator)).sample
        losses = {
            "reconstruction": self._reconstruction(images, reconstructions),
            "kl": kl_per_dimension(posterior).mean(),
        }
        total = losses["reconstruction"] + self.config.kl_weight * losses["kl"]
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(images, reconstructions)
            total = total + self.config.perceptual_weight * losses["perceptual"]
        if self._adversarial(progress):
            assert self.discriminator is not None
            losses["adversarial"] = -self.discriminator(reconstructions).mean()
            total = total + self.config.adversarial.weight * losses["adversarial"]
        return {"total": total, **losses}

    def _discriminator_losses(self, images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        assert self.discriminator is not None
        with torch.no_grad():
            posterior = self.autoencoder.encode(images).latent_dist
            fakes = self.autoencoder.decode(self._perturbed(posterior, generator)).sample
        return {"total": hinge_discriminator(self.discriminator(images), self.discriminator(fakes))}

    def _perturbed(self, posterior: DiagonalGaussianDistribution, generator: torch.Generator) -> Tensor:
        """Latents as imperfect as stage 2 will give them, so that the decoder learns to bring them back.

        Noise of a random strength up to `latent_noise`, a share of each channel's deviation in the batch.
        """
        latents = _sample(posterior, generator)
        if not self.config.latent_noise:
            return latents
        spread = posterior.mean.detach().std(dim=(0, 2, 3), keepdim=True)
        strength = self.config.latent_noise * torch.rand(len(latents), 1, 1, 1, generator=generator).to(latents)
        return latents + strength * spread * torch.randn(latents.shape, generator=generator).to(latents)

    def _reconstruction(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        difference = reconstructions.clamp(min=-1) - images  # below the floor is the floor
        return difference.abs().mean() if self.config.reconstruction == "l1" else difference.square().mean()

    def _adversarial(self, progress: float) -> bool:
        return self.discriminator is not None and progress >= self.config.adversarial.start


@dataclass(frozen=True)
class AutoencoderCheck:
    """What an autoencoder keeps, measured on data it was not trained on.

    psnr_db, ssim: of reconstructions (range 2). active_dimensions: share of latent dimensions above `ACTIVE_NATS`.
    kl_nats: mean per dimension. latent_mean, latent_std: over all dimensions after normalisation (aim: 0 and 1).
    texture_time, texture_doppler: energy in the upper half of the spatial frequencies, reconstruction over original.
    identity_retention: judge's accuracy on reconstructions over that on originals; None without a judge.
    """

    psnr_db: float
    ssim: float
    active_dimensions: float
    kl_nats: float
    latent_mean: float
    latent_std: float
    texture_time: float
    texture_doppler: float
    identity_retention: float | None
    images: int

    def lines(self) -> list[str]:
        """The same for people."""
        kept = self.identity_retention
        return [
            f"PSNR {self.psnr_db:.1f} dB, SSIM {self.ssim:.3f}",
            f"texture kept: {self.texture_time:.2f} along time, {self.texture_doppler:.2f} along Doppler (1 = all)",
            f"latents: {self.active_dimensions:.0%} active, {self.kl_nats:.2f} nats, deviation {self.latent_std:.2f}",
            f"identity kept: {'not measured' if kept is None else f'{kept:.3f} (aim: 0.95 or more)'}",
        ]


def train_autoencoder(
    data: SpectrogramSet,
    run: Run,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    identity_retention: IdentityRetention | None = None,
) -> AutoencoderCheck:
    """Train stage 1 on role `train`, save it to the run with its latent statistics, and check it on the other roles."""
    progress = progress or Progress(quiet=True)
    train_data = training_data(data)
    run.claim(recipe, train_data)
    config = recipe.autoencoder
    torch.manual_seed(recipe.seed)
    autoencoder = build_autoencoder(config, data.images.shape[1])
    task = AutoencoderTask(
        autoencoder, WindowCutter.of(train_data, recipe.data.augment), config, config.training.batch_size
    )
    train(
        task,
        config.training,
        name="autoencoder",
        seed=recipe.seed,
        run=run.path,
        settings={"autoencoder": config.model_dump_json(), "seed": recipe.seed, "data": train_data.fingerprint()},
        device=device,
        progress=progress,
    )
    autoencoder = task.autoencoder.eval()
    mean, std = measure_latents(autoencoder, train_data.images)
    autoencoder.register_to_config(latents_mean=mean, latents_std=latent_scales(std, config.whitening))
    autoencoder.save_pretrained(run.path / "autoencoder")
    run.record(recipe)
    return check_autoencoder(autoencoder, data, run, identity_retention)


@torch.no_grad()
def measure_latents(autoencoder: nn.Module, images: np.ndarray) -> tuple[list[float], list[float]]:
    """Per-channel mean and standard deviation of sampled latents over all images, in float64."""
    moments = [_posterior(autoencoder, images[i : i + 64]) for i in range(0, len(images), 64)]
    means = torch.cat([p.mean.double() for p in moments])
    variances = torch.cat([p.var.double() for p in moments])
    mean = means.mean(dim=(0, 2, 3))
    std = (means.var(dim=(0, 2, 3)) + variances.mean(dim=(0, 2, 3))).sqrt()
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
    nats = torch.cat([kl_per_dimension(p) for p in posteriors]).mean(0)
    mean, std = measure_latents(autoencoder, images)
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
        active_dimensions=float((nats > ACTIVE_NATS).float().mean()),
        kl_nats=float(nats.mean()),
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


def load_autoencoder(folder: Path) -> nn.Module:
    """The autoencoder saved in `folder`, of whichever kind it is."""
    from diffusers import AutoencoderKL

    from mdgen.models.autoencoder import PatchAutoencoder

    kind = json.loads((folder / "config.json").read_text())["_class_name"]
    return {"AutoencoderKL": AutoencoderKL, "PatchAutoencoder": PatchAutoencoder}[kind].from_pretrained(folder).eval()


def _posterior(autoencoder: nn.Module, images: np.ndarray) -> DiagonalGaussianDistribution:
    device = next(autoencoder.parameters()).device
    return autoencoder.encode(torch.from_numpy(images).to(device)).latent_dist  # type: ignore[operator]


def _sample(posterior: DiagonalGaussianDistribution, generator: torch.Generator) -> Tensor:
    noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
    return posterior.mean + posterior.std * noise
