"""A trained run: is it whole, is its autoencoder healthy, do its parts fit each other, does it sample?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgen.check.remarks import Remark, failed, graded, passed, warned
from mdgen.data.dataset import SpectrogramSet
from mdgen.diffusion.samplers import build_sampler, is_flow
from mdgen.errors import MdgenError
from mdgen.models.autoencoder import works_on_pixels
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run, training_data
from mdgen.token_pipeline import TokenPipeline, load_pipeline
from mdgen.training.autoencoder import autoencoder_hash, load_autoencoder
from mdgen.training.autoencoder_check import IdentityRetention, check_autoencoder
from mdgen.training.checkpoint import MANIFEST, verify

_AGAIN = "run `mdgen train-ldm` again"


def check_run(
    run: Run, data: SpectrogramSet | None = None, identity_retention: IdentityRetention | None = None
) -> list[Remark]:
    """All remarks about a run. data: measure its autoencoder anew on held-out rows, and compare users.

    Raises `MdgenError` where `run` is no run folder.
    """
    recipe = run.recipe()
    remarks = [passed(f"recipe {recipe.name!r} is readable"), *_whole(run)]
    if any(remark.level == "fail" for remark in remarks):
        return remarks
    remarks += _users(run, data)
    remarks += _health(run, data, identity_retention)
    if not (run.path / "model_index.json").exists():
        return [*remarks, warned("no model to sample yet", "run `mdgen train-ldm`")]
    try:
        pipeline = load_pipeline(run.path)
    except MdgenError as error:
        return [*remarks, failed(f"the model cannot be loaded ({error})", _AGAIN)]
    if isinstance(pipeline, TokenPipeline):
        return [*remarks, *_same_autoencoder(run, "prior"), *_codes(pipeline), *_samples(pipeline)]
    remarks += _compatibility(run, pipeline)
    remarks += _same_autoencoder(run, "denoiser")
    remarks += _scheduler(pipeline, recipe.generate.sampler, recipe.generate.steps)
    return [*remarks, *_samples(pipeline)]


def _whole(run: Run) -> Iterator[Remark]:
    if not (run.path / "autoencoder").is_dir():
        yield failed("no trained autoencoder", "run `mdgen train-vae`")
        return
    for part in ("autoencoder", "denoiser", "prior", "conditioning", "scheduler"):
        folder = run.path / part
        if not folder.is_dir():
            continue
        stage = {"autoencoder": "train-vae", "prior": "baseline"}.get(part, "train-ldm")
        try:
            verify(folder)
            yield passed(f"{part}: files are as they were written")
        except (OSError, ValueError, KeyError) as error:
            yield failed(f"{part}: not as it was written ({error})", f"run `mdgen {stage}` again")


def _users(run: Run, data: SpectrogramSet | None) -> Iterator[Remark]:
    users = run.users()
    if data is not None and training_data(data).users != users:
        yield failed(f"{data.name} has other users than the run", "use the data set the run was made for")
        return
    yield passed(f"{len(users)} users")


def _health(run: Run, data: SpectrogramSet | None, identity_retention: IdentityRetention | None) -> Iterator[Remark]:
    """What the autoencoder keeps: measured on `data`, or as stage 1 wrote it down."""
    autoencoder = load_autoencoder(run.path / "autoencoder")
    config: Any = autoencoder.config
    scaling = [*(config.latents_mean or [np.nan]), *(config.latents_std or [np.nan])]
    if not np.isfinite(scaling).all() or min(config.latents_std) <= 0:
        yield failed("latents have no usable scaling", "run `mdgen train-vae` again")
        return
    if data is not None:
        try:
            run.require_pictures(data)
        except MdgenError as error:
            yield failed(f"{data.name} has other pictures than the run", str(error))
            return
        check = check_autoencoder(autoencoder, data, run, identity_retention)
        measured: dict[str, Any] = vars(check)
    else:
        file = run.path / "logs" / "autoencoder_check.json"
        if not file.exists():
            yield warned("the autoencoder was never checked", "give --data to check it")
            return
        measured = json.loads(file.read_text())
    yield graded(
        f"reconstruction: PSNR {measured['psnr_db']:.1f} dB, SSIM {measured['ssim']:.3f}",
        "train longer, or with more latent_channels or less downsample",
        measured["psnr_db"], good=20, bad=14,
    )  # fmt: skip
    texture = min(measured["texture_time"], measured["texture_doppler"])
    yield graded(
        f"texture kept: {texture:.2f} of the fine structure (1 = all)",
        "more latent_channels, or an adversarial loss (adversarial.weight=0.5)",
        texture, good=0.7, bad=0.2,
    )  # fmt: skip
    yield graded(
        f"latents in use: {measured['active_dimensions']:.0%}", "collapse: lower kl_weight, or fewer latent_channels",
        measured["active_dimensions"], good=0.3, bad=0.05,
    )  # fmt: skip
    if measured["perplexity"] is not None:
        size = config.codebook_size
        yield graded(
            f"codes: as if {measured['perplexity']:.0f} of {size} were used evenly",
            "fewer codes, or codebook.restart=0.1, or codebook.update=ema",
            measured["perplexity"], good=0.05 * size, bad=2,
        )  # fmt: skip
    if not works_on_pixels(autoencoder):
        off = max(abs(measured["latent_mean"]), abs(np.log(max(measured["latent_std"], 1e-9))))
        yield graded(
            f"latents as stage 2 sees them: mean {measured['latent_mean']:.2f}, deviation {measured['latent_std']:.2f}",
            "they should be 0 and 1: the training data changed, or its roles differ; run `mdgen train-vae` anew",
            float(off), good=0.25, bad=0.7,
        )  # fmt: skip
    kept = measured["identity_retention"]
    if kept is None:
        yield warned("identity kept by reconstructions: not measured", "give --data with role judge")
    else:
        yield graded(
            f"identity kept by reconstructions: {kept:.3f}", "more latent_channels, or a perceptual loss",
            kept, good=0.95, bad=0.8,
        )  # fmt: skip


def _compatibility(run: Run, pipeline: MicroDopplerPipeline) -> Iterator[Remark]:
    """Channels, sizes and users of the autoencoder against the denoiser's."""
    autoencoder, denoiser = pipeline.autoencoder, pipeline.denoiser
    given = len(autoencoder.config.latents_std)  # type: ignore[union-attr]
    wanted = denoiser.config.in_channels  # type: ignore[union-attr]
    if given != wanted:
        yield failed(f"the autoencoder has {given} latent channels, the denoiser takes {wanted}", _AGAIN)
        return
    shape = tuple(pipeline.config.latent_shape)
    try:
        with torch.no_grad():
            picture = pipeline.decode(torch.zeros(1, *shape))
            again = autoencoder.encode(picture).latent_dist.mean.shape[1:]  # type: ignore[operator]
    except RuntimeError as error:
        yield failed(f"the autoencoder cannot decode latents {shape} ({' '.join(str(error).split())[:120]})", _AGAIN)
        return
    if tuple(again) != shape:
        yield failed(f"latents {shape} decode to pictures that encode to {tuple(again)}", _AGAIN)
    else:
        yield passed(f"latents {shape} decode to pictures {tuple(picture.shape[1:])}")
    users, known = pipeline.conditioning.config.num_users, len(pipeline.config.users)
    if users != known:
        yield failed(f"the conditioning knows {users} users, the model names {known}", _AGAIN)


def _same_autoencoder(run: Run, part: str) -> Iterator[Remark]:
    """Whether stage 2 learned the latents of the autoencoder that is there now."""
    now = autoencoder_hash(run)
    if _fact(run.path / part, "autoencoder") == now:
        yield passed(f"the {part} learned the latents of this autoencoder, at this scaling")
    else:
        yield failed(f"the {part} learned the latents of another autoencoder, or at another scaling", _AGAIN)
    cached = _fact(run.path / "cache" / "latents", "fingerprint")
    if cached is not None and now not in cached:
        yield warned("the latent cache is of another autoencoder", "nothing: it is encoded anew at the next training")


def _codes(pipeline: TokenPipeline) -> Iterator[Remark]:
    """Codes of the autoencoder against those that the prior draws."""
    ours, theirs = pipeline.autoencoder.config.codebook_size, pipeline.prior.config.codebook_size
    if ours == theirs:
        yield passed(f"{ours} codes, {pipeline.prior.tokens} of them a picture")
    else:
        yield failed(f"the autoencoder has {ours} codes, the prior draws {theirs}", "run `mdgen baseline` again")


def _scheduler(pipeline: MicroDopplerPipeline, sampler: str, steps: int) -> Iterator[Remark]:
    """The saved scheduler against the one that the objective asks for."""
    scheduler, pixels = pipeline.scheduler, works_on_pixels(pipeline.autoencoder)
    expected = build_sampler(pipeline.config.process, sampler, clip=pixels)
    ours, theirs = ({k: v for k, v in s.config.items() if not k.startswith("_")} for s in (expected, scheduler))
    differing = [key for key in ours if ours[key] != theirs.get(key)]
    if type(scheduler) is not type(expected) or differing:
        what = f"{type(scheduler).__name__} was saved with other settings than {sampler} has ({', '.join(differing)})"
        yield warned(what, f"nothing for `mdgen generate`, which builds its own; else {_AGAIN}")
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps.float().numpy()
    if not np.isfinite(times).all() or (np.diff(times) > 0).any():
        yield failed(f"timesteps of {type(scheduler).__name__} do not fall", "choose another generate.sampler")
        return
    yield passed(f"{type(scheduler).__name__} for {pipeline.config.objective}: {steps} steps from {times[0]:.0f}")
    if not is_flow(scheduler):
        signal = float(scheduler.alphas_cumprod[-1]) ** 0.5
        yield graded(
            f"signal left at the noisiest step: {signal:.3f}", "samples will keep the training set's mean level: "
            "use a schedule that ends in noise", signal, good=0.07, bad=0.3,
        )  # fmt: skip


def _samples(pipeline: MicroDopplerPipeline | TokenPipeline) -> Iterator[Remark]:
    """Two pictures, in few steps or in those it was distilled for: finite, and not all the same."""
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    steps = (pipeline.config.get("distilled") or {"steps": 4})["steps"]
    pictures = pipeline([0, len(pipeline.config.users) - 1], generators, guidance_scale=1.0, num_inference_steps=steps)
    if not torch.isfinite(pictures).all():
        yield failed("samples are not finite", "train again at a lower learning_rate")
    elif pictures.std() < 1e-3 or torch.equal(pictures[0], pictures[1]):
        yield failed("samples are blank, or all the same", "train longer; look at figures/denoiser_curves.png")
    else:
        yield passed("it samples")


def _fact(folder: Path, name: str) -> str | None:
    try:
        return json.loads((folder / MANIFEST).read_text())[name]
    except (OSError, ValueError, KeyError):
        return None
