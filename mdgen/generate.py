"""Writing synthetic data sets: so many spectrograms of each user, every one reproducible from (seed, user, index)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mdgen import __version__
from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet, make_table, write_dataset
from mdgen.data.labels import chosen_ids
from mdgen.device import resolve_device
from mdgen.errors import MdgenError
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.token_pipeline import TokenPipeline, load_pipeline, settings_in_effect

#: Above this, guidance usually costs more variety and realism than it gains identity.
STRONG_GUIDANCE = 8.0


def sample_generator(seed: int, user: str, index: int) -> torch.Generator:
    """The random numbers of sample `index` of `user`: a function of the three alone, whoever draws it."""
    digest = hashlib.sha256(f"{seed}\x1f{user}\x1f{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def label_draw(seed: int, user: str, index: int) -> np.random.Generator:
    """What chooses the labels of a sample; apart from its noise, so that one may change without the other."""
    return np.random.default_rng(sample_generator(seed, f"labels of {user}", index).initial_seed())


def generate(
    run: Path,
    settings: GenerateConfig,
    *,
    seed: int = 0,
    users: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> SpectrogramSet:
    """`settings.per_user` spectrograms of each of `users` (default: all the run knows), with where they come from."""
    progress = progress or Progress(quiet=True)
    pipeline = load_pipeline(run)
    settings = settings_in_effect(pipeline, settings)
    known = list(pipeline.config.users)
    wanted = list(users) if users else known
    unknown = [user for user in wanted if user not in known]
    if unknown:
        raise MdgenError(f"{run}: was not trained on {unknown[:5]}; it knows {', '.join(known[:12])}")
    pipeline.conditioning.require_guidance(settings.guidance_scale)
    pipeline.use_sampler(settings.sampler)
    pipeline.precision = settings.precision
    pipeline.to(resolve_device(device))
    jobs = [(user, index) for user in wanted for index in range(settings.per_user)]
    ids = _condition_ids(pipeline, jobs, settings, seed)
    images = []
    with progress.task("generate", len(jobs)) as advance:
        for start in range(0, len(jobs), settings.batch_size):
            batch = jobs[start : start + settings.batch_size]
            sampled = pipeline(
                ids[start : start + settings.batch_size],
                [sample_generator(seed, user, index) for user, index in batch],
                guidance_scale=settings.guidance_scale,
                num_inference_steps=settings.steps,
                guidance_interval=settings.guidance_interval,
            )
            images.append(sampled.cpu().numpy())
            advance(len(batch))
    table = _table(jobs, run, settings, seed).assign(**_label_columns(pipeline, ids))
    return SpectrogramSet(np.concatenate(images), table, f"synthetic of {run.name}")


def write_synthetic(data: SpectrogramSet, out: Path) -> None:
    """The data set in the contract, with a contact sheet."""
    from mdgen.figures import contact_sheet

    write_dataset(data, out)
    contact_sheet(data, out / "contact_sheet.png")


def _table(jobs: list[tuple[str, int]], run: Path, settings: GenerateConfig, seed: int) -> pd.DataFrame:
    table = make_table(user=[user for user, _ in jobs], session="synthetic", recording=[str(i) for _, i in jobs])
    table = table.assign(
        synthetic="yes",
        seed=seed,
        index=[index for _, index in jobs],
        guidance_scale=settings.guidance_scale,
        steps=settings.steps,
        sampler=settings.sampler,
        checkpoint_sha256=checkpoint_hash(run),
        mdgen_version=__version__,
    )
    return table.assign(**Run(run).axes())


def _condition_ids(
    pipeline: MicroDopplerPipeline | TokenPipeline, jobs: list[tuple[str, int]], settings: GenerateConfig, seed: int
) -> torch.Tensor:
    """int64 [N, 1 + labels]: users, and the labels the settings wish for them."""
    known, labels = list(pipeline.config.users), pipeline.conditioning.labels
    users = [known.index(user) for user, _ in jobs]
    draws = [label_draw(seed, user, index) for user, index in jobs]
    chosen = chosen_ids(labels.values, labels.recorded, settings.labels, users, draws)
    return torch.from_numpy(np.column_stack([np.array(users), chosen]))


def _label_columns(pipeline: MicroDopplerPipeline | TokenPipeline, ids: torch.Tensor) -> dict[str, list[str]]:
    """The labels of each sample by name; "" where none was told."""
    values = pipeline.conditioning.labels.values
    return {name: [[*known, ""][i] for i in ids[:, 1 + n].tolist()] for n, (name, known) in enumerate(values.items())}


def checkpoint_hash(run: Path) -> str:
    """sha256 over the weights a run samples with."""
    digest = hashlib.sha256()
    for part in ("autoencoder", "conditioning", "denoiser", "prior"):
        for file in sorted((run / part).glob("*.safetensors")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
