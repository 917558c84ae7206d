"""Writing synthetic data sets: so many spectrograms of each user, every one reproducible from (seed, user, index)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from mdgen import __version__
from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.data.labels import CAPTION, WISHES, chosen_ids, known_users
from mdgen.data.shards import ShardedDataset
from mdgen.device import computing_on, resolve_device
from mdgen.errors import MachineError
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress, warn
from mdgen.run import Run, on_main_process
from mdgen.token_pipeline import TokenPipeline, drawing_settings, load_pipeline, settings_in_effect

#: Above this, guidance usually costs more variety and realism than it gains identity.
STRONG_GUIDANCE = 8.0
#: Settings that decide where and how samples are written, not what they are.
_NOT_THE_SAMPLE = {"per_user", "batch_size", "shard_size", "format", "manifest", "precision"}


def sample_generator(seed: int, user: str, index: int) -> torch.Generator:
    """The random numbers of sample `index` of `user`: a function of the three alone, whoever draws it."""
    digest = hashlib.sha256(f"{seed}\x1f{user}\x1f{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def label_draw(seed: int, user: str, index: int) -> np.random.Generator:
    """What chooses the labels of a sample; apart from its noise, so that one may change without the other."""
    return np.random.default_rng(sample_generator(seed, f"labels of {user}", index).initial_seed())


@dataclass
class Maker:
    """Makes any of the samples 0, 1, ... of a data set; number n is of user n % len(users), index n // len(users).

    So the numbers of the first samples stay as they are when more of each user are asked for.

    weights: sha256 of the model's. guides: what guides it besides, as `_guides` and `drawing_settings` say.
    """

    pipeline: MicroDopplerPipeline | TokenPipeline
    run: Run
    settings: GenerateConfig
    seed: int
    users: list[str]
    batch_size: int
    weights: str
    guides: dict[str, Any]

    @classmethod
    def of(
        cls, run: Path, settings: GenerateConfig, seed: int, users: Sequence[str] | None, device: torch.device | str
    ) -> Maker:
        """Load a run to sample as `settings` say; raises `MdgenError` for what it was not trained for."""
        pipeline = load_pipeline(run)
        settings = settings_in_effect(pipeline, settings)
        wanted = known_users(users, pipeline.config.users, str(run))
        pipeline.require_settings(settings.guidance_scale, settings.steps)
        pipeline.use_sampler(settings.sampler)
        pipeline.precision = settings.precision
        if settings.labels.get(CAPTION, "own") not in WISHES:
            pipeline.register_modules(conditioning=pipeline.conditioning.reading(settings.labels[CAPTION]))
        if settings.weak_run:
            pipeline.use_weak(Path(settings.weak_run), device)
        if settings.classifier_scale:
            pipeline.use_classifier(run / "classifier", settings.classifier_scale)
        pipeline.to(device)
        weights, guides = checkpoint_hash(run), {**_guides(run, settings), **drawing_settings(pipeline)}
        maker = cls(pipeline, Run(run), settings, seed, wanted, settings.batch_size, weights, guides)
        maker.ids(range(1))  # labels that are not there are told before anything is made
        return maker

    def __len__(self) -> int:
        return len(self.users) * self.settings.per_user

    def images(self, rows: range, advance: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """float32 [N, C, H, W] of the samples with these numbers; in smaller batches where memory runs out."""
        made: list[np.ndarray] = []
        start = rows.start
        while start < rows.stop:
            batch = range(start, min(start + self.batch_size, rows.stop))
            try:
                made.append(self._sample(batch))
            except RuntimeError as error:
                self._halve_or_raise(error)
                continue
            start = batch.stop
            advance(len(batch))
        return np.concatenate(made)

    def table(self, rows: range) -> pd.DataFrame:
        """What is known of these samples: whose they are, that they are synthetic, and all that made them."""
        table = make_table(
            user=[self._user(n) for n in rows], session="synthetic", recording=[str(self._index(n)) for n in rows]
        )
        names = self.pipeline.conditioning.labels.values
        told = {
            name: [[*names[name], ""][i] for i in ids] for name, ids in zip(names, self.ids(rows).T[1:], strict=True)
        }
        index = [self._index(n) for n in rows]
        return table.assign(synthetic="yes", index=index, **told, **self._origin(), **self.run.axes())

    def ids(self, rows: range) -> np.ndarray:
        """int64 [N, 1 + labels]: users of these samples, and the labels that the settings wish for them."""
        known = {user: i for i, user in enumerate(self.pipeline.config.users)}
        users = [known[self._user(n)] for n in rows]
        draws = [label_draw(self.seed, self._user(n), self._index(n)) for n in rows]
        labels = chosen_ids(self.pipeline.conditioning.labels, self.settings.labels, users, draws)
        return np.column_stack([np.array(users), labels])

    def request(self) -> dict[str, Any]:
        """Everything that decides the data set, as JSON."""
        settings = self.settings.model_dump(mode="json")
        kept = {key: settings[key] for key in settings if key not in _NOT_THE_SAMPLE or key in ("per_user", "format")}
        return {"seed": self.seed, "users": self.users, "checkpoint_sha256": self.weights, **kept, **self.guides}

    def _sample(self, rows: range) -> np.ndarray:
        return self.pipeline(**self._wishes(rows)).cpu().numpy()

    def _wishes(self, rows: range) -> dict[str, Any]:
        """What the pipeline is asked for these samples."""
        return {
            "user_ids": torch.from_numpy(self.ids(rows)),
            "generators": [sample_generator(self.seed, self._user(n), self._index(n)) for n in rows],
            "guidance_scale": self.settings.guidance_scale,
            "num_inference_steps": self.settings.steps,
            "guidance_interval": self.settings.guidance_interval,
            "guidance_rescale": self.settings.guidance_rescale,
        }

    def _halve_or_raise(self, error: RuntimeError) -> None:
        if not should_reduce_batch_size(error):
            raise error
        if self.batch_size == 1:
            raise MachineError("out of memory at one sample a time; use another device") from error
        clear_device_cache(garbage_collection=True)
        self.batch_size //= 2
        warn(f"out of memory; going on with {self.batch_size} samples at a time, which changes none of them")

    def _origin(self) -> dict[str, Any]:
        low, high = self.settings.guidance_interval
        return {
            "seed": self.seed,
            "model": self.run.path.name,
            "sampler": self.settings.sampler,
            "steps": self.settings.steps,
            "guidance_scale": self.settings.guidance_scale,
            "guidance_interval": f"{low:g}..{high:g}",
            "guidance_rescale": self.settings.guidance_rescale,
            "checkpoint_sha256": self.weights,
            **self.guides,
            "mdgen_version": __version__,
        }

    def _user(self, number: int) -> str:
        return self.users[number % len(self.users)]

    def _index(self, number: int) -> int:
        return number // len(self.users)


def generate(
    run: Path,
    settings: GenerateConfig,
    *,
    seed: int = 0,
    users: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> SpectrogramSet:
    """`settings.per_user` spectrograms of each of `users` (default: all the run knows), in memory."""
    maker = Maker.of(run, settings, seed, users, resolve_device(device))
    with (progress or Progress(quiet=True)).task("generate", len(maker)) as advance:
        images = maker.images(range(len(maker)), advance)
    return SpectrogramSet(images, maker.table(range(len(maker))), f"synthetic of {run.name}")


def write_synthetic(
    run: Path,
    settings: GenerateConfig,
    out: Path,
    *,
    seed: int = 0,
    users: Sequence[str] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> int:
    """The same as a data set in the folder `out`, shard by shard, by all processes launched; returns its length.

    Only what is missing is made: after an end of any kind the same command goes on, and one for more of each user
    leaves those that are there untouched.
    """
    state = computing_on(device)
    maker = Maker.of(run, settings, seed, users, state.device)
    store = ShardedDataset(out, settings.format, settings.manifest)
    if state.is_main_process:
        store.open(maker.request(), grows="per_user")
        with store.locked():
            _write_missing(maker, store, state, progress or Progress(quiet=True))
            store.finish()
            _contact_sheet(maker, store)
    else:
        _write_missing(maker, store, state, Progress(quiet=True))
    state.wait_for_everyone()
    return len(maker)


def _write_missing(maker: Maker, store: ShardedDataset, state: PartialState, progress: Progress) -> None:
    """This process's share of the missing shards; returns when every process has written its own."""
    missing = on_main_process(lambda: store.missing(len(maker), maker.settings.shard_size))
    mine = missing[state.process_index :: state.num_processes]
    total = sum(map(len, mine))
    name = "generate" if state.num_processes == 1 else f"generate (1 of {state.num_processes})"
    with progress.task(name, total) as advance:
        for rows in mine:
            store.write(rows, maker.images(rows, advance), maker.table(rows))
    state.wait_for_everyone()


def _contact_sheet(maker: Maker, store: ShardedDataset) -> None:
    """The first samples of every user; not beside pictures that are all taken for samples."""
    from mdgen.figures import contact_sheet

    if not store.hugging_face:
        contact_sheet(store.head(8 * len(maker.users)), store.root / "contact_sheet.png", axes=maker.run.axes())


def checkpoint_hash(run: Path, parts: Sequence[str] = ("autoencoder", "conditioning", "denoiser", "prior")) -> str:
    """sha256 over the weights of these parts of a run; those given are what it samples with."""
    digest = hashlib.sha256()
    for part in parts:
        for file in sorted((run / part).glob("*.safetensors")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _guides(run: Path, settings: GenerateConfig) -> dict[str, Any]:
    """The classifier and the weaker run that guide, where the settings name them, with the sha256 of their weights."""
    guides: dict[str, Any] = {}
    if settings.classifier_scale:
        guides["classifier_scale"] = settings.classifier_scale
        guides["classifier_sha256"] = checkpoint_hash(run, ["classifier"])
    if settings.weak_run:
        guides["weak_run"] = Path(settings.weak_run).name
        guides["weak_run_sha256"] = checkpoint_hash(Path(settings.weak_run))
    return guides
