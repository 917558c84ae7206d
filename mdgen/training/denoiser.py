"""Stage 2: the user-conditioned denoiser, trained on the latents of the run's autoencoder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from mdgen.config import DiffusionConfig, Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import CAPTION, LabelMap
from mdgen.data.windows import WindowCutter
from mdgen.diffusion.objective import Objective
from mdgen.errors import MdgenError
from mdgen.models.captions import vocabulary, words_of
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import Denoiser, build_denoiser
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process, row_names, write_model_card
from mdgen.training.autoencoder import autoencoder_hash, load_autoencoder, validation_images
from mdgen.training.averages import Averages, best_length
from mdgen.training.checkpoint import replacing_folder
from mdgen.training.latents import Latents, encode, latents_of
from mdgen.training.schedule import Budget
from mdgen.training.stage import Stage
from mdgen.training.task import Batch, Task

#: Relative deviations tried when the length of the average is chosen after training.
CANDIDATE_LENGTHS = (0.03, 0.05, 0.075, 0.1, 0.15, 0.2)


class DenoiserTask(Task):
    """Mean squared error of the objective's target on latents sampled afresh, users dropped at the recipe's rate."""

    def __init__(
        self, denoiser: nn.Module, conditioning: UserConditioning, windows: WindowCutter, cache: Latents,
        ids: Tensor, diffusion: DiffusionConfig, learning_rate: float, *, names: list[str] | None = None,
        held_out: tuple[Tensor, Tensor] | None = None, preview: Callable[[], Tensor] | None = None,
    ) -> None:  # fmt: skip
        """ids: int64 [len(windows), 1 + labels], see `condition_ids`."""
        super().__init__()
        self.denoiser, self.conditioning = denoiser, conditioning
        self.windows, self.cache, self.learning_rate = windows, cache, learning_rate
        self.ids = ids
        self.objective = Objective(diffusion)
        self.names, self.held_out, self.preview = names, held_out, preview

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        return {"denoiser": (list(self.parameters()), self.learning_rate)}

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        latents = self.cache.sample(self.windows.draw_views(indices, generator), generator)
        noise = torch.randn(latents.shape, generator=generator)
        pair = self.objective.pair(latents, noise, generator)
        return {**vars(pair), "users": self.conditioning.drop(self.ids[indices], generator)}

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        condition = self.conditioning(batch["users"])
        prediction = self.denoiser(batch["noisy"], batch["timestep"], class_labels=condition).sample
        error = (prediction.float() - batch["target"]).square().flatten(1).mean(1)
        return {"total": (batch["weight"] * error).mean()}

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        if self.held_out is None:
            return None
        latents, users = self.held_out
        generator = torch.Generator().manual_seed(0)
        pair = self.objective.pair(latents, torch.randn(latents.shape, generator=generator), generator)
        batch = {**vars(pair), "users": users}
        device = self.conditioning.embedding.weight.device
        return float(self({key: value.to(device) for key, value in batch.items()}, 0.0)["total"])

    def pictures(self) -> dict[str, Tensor]:
        return {"samples": self.preview()} if self.preview else {}


def train_denoiser(
    data: SpectrogramSet,
    run: Run,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
) -> None:
    """Train stage 2 on role `train` with the autoencoder of the run; leaves a complete pipeline in the run folder."""
    stage = Stage(run, recipe, device, progress, budget)
    train_data = stage.rows(data)
    if (run.path / "prior").exists():
        raise MdgenError(f"{run.path}: holds a baseline; train diffusion in another --run")
    with run.locked():
        task, pipeline, settings = _build(data, train_data, run, recipe)
        averages = stage.train(task, recipe.denoiser.training, "denoiser", settings)

        def finish() -> None:
            if recipe.denoiser.training.ema_profiles and task.held_out is not None:
                _choose_average(task, averages, run)
            publish(pipeline(), run)
            run.record(recipe)
            write_model_card(run, recipe, train_data)

        on_main_process(finish)


def _build(
    data: SpectrogramSet, train_data: SpectrogramSet, run: Run, recipe: Recipe
) -> tuple[DenoiserTask, Callable[[], MicroDopplerPipeline], dict[str, object]]:
    """The task, its networks as a pipeline, and the settings that decide what will be learned."""
    corpus = Corpus.of(train_data, run, recipe)
    labels = LabelMap.of(train_data.table, train_data.users, recipe.conditioning.names())
    channels, height, width = corpus.cache.latent_shape
    torch.manual_seed(recipe.seed)
    denoiser = build_denoiser(recipe.denoiser, channels, (height, width))
    conditioning = build_conditioning(recipe, len(train_data.users), labels, denoiser)
    pipeline = partial(
        MicroDopplerPipeline.assemble, corpus.autoencoder, denoiser, conditioning, recipe, train_data.users
    )
    task = DenoiserTask(
        denoiser,
        conditioning,
        corpus.windows,
        corpus.cache,
        condition_ids(train_data, train_data.users, labels)[corpus.windows.rows],
        recipe.diffusion,
        recipe.denoiser.training.learning_rate,
        names=row_names(train_data, corpus.windows.rows),
        held_out=held_out_latents(corpus.autoencoder, data, train_data.users, labels),
        preview=lambda: preview(pipeline(), recipe),
    )
    settings: dict[str, object] = {
        "denoiser": recipe.denoiser.model_dump(mode="json", exclude={"training"}),
        "diffusion": recipe.diffusion.model_dump(mode="json"),
        "conditioning": {**recipe.conditioning.model_dump(mode="json"), "values": labels.values},
        "augment": recipe.data.augment.model_dump(mode="json"),
        **corpus.fingerprints,
    }
    return task, pipeline, settings


@dataclass(frozen=True)
class Corpus:
    """Training windows and their latents by the autoencoder of a run."""

    autoencoder: nn.Module
    windows: WindowCutter
    cache: Latents
    fingerprints: dict[str, str]

    @classmethod
    def of(cls, train_data: SpectrogramSet, run: Run, recipe: Recipe) -> Corpus:
        state = PartialState()
        autoencoder = load_autoencoder(run.path / "autoencoder").to(state.device)
        weights = autoencoder_hash(run)
        windows, fingerprint = WindowCutter.of(train_data, recipe.data.augment), train_data.fingerprint()
        with state.main_process_first():
            cache = latents_of(
                autoencoder, windows, run.path / "cache" / "latents", f"{fingerprint}-{weights}-{windows.fingerprint()}"
            )
        return cls(autoencoder, windows, cache, {"data": fingerprint, "autoencoder": weights})


def build_conditioning(recipe: Recipe, num_users: int, labels: LabelMap, denoiser: Denoiser) -> UserConditioning:
    """The untrained conditioning of a recipe, as its denoiser takes it."""
    captions = labels.values.get(CAPTION, [])
    return UserConditioning(
        num_users,
        denoiser.condition_dim,
        recipe.diffusion.condition_dropout,
        labels.values,
        recipe.conditioning.dropout(),
        labels.recorded,
        recipe.conditioning.style_width,
        vocabulary(captions),
        max((len(words_of(caption)) for caption in captions), default=0),
        tokens=denoiser.takes_tokens,
    )


def condition_ids(data: SpectrogramSet, users: list[str], labels: LabelMap) -> Tensor:
    """int64 [N, 1 + labels]: the user and the labels of every row."""
    return torch.from_numpy(np.column_stack([data.labels(users), labels.ids(data.table)]))


def held_out_latents(
    autoencoder: nn.Module, data: SpectrogramSet, users: list[str], labels: LabelMap
) -> tuple[Tensor, Tensor] | None:
    """Normalised latents and condition ids of a fixed choice of rows of role `val`."""
    held_out = validation_images(data)
    if held_out is None:
        return None
    return encode(autoencoder, held_out.images)[0], condition_ids(held_out, users, labels)


def preview(pipeline: MicroDopplerPipeline, recipe: Recipe) -> Tensor:
    """Two samples of each of the first four users."""
    shown = [user for user in range(min(4, len(pipeline.config.users))) for _ in range(2)]
    generators = [torch.Generator().manual_seed(i) for i in range(len(shown))]
    scale = 1.0 if recipe.diffusion.condition_dropout == 0 else recipe.generate.guidance_scale
    return pipeline(shown, generators, guidance_scale=scale, num_inference_steps=min(10, recipe.generate.steps))


def _choose_average(task: DenoiserTask, averages: Averages, run: Run) -> None:
    """The length of the average with the lowest validation loss; all scores go to `logs/denoiser/averages.json`."""
    task.eval()
    folder = run.path / "averages" / "denoiser"
    scores = best_length(averages, folder, CANDIDATE_LENGTHS, lambda: task.validation_loss() or 0.0)
    (run.path / "logs" / "denoiser" / "averages.json").write_text(json.dumps(scores, indent=1))


def publish(pipeline: DiffusionPipeline, run: Run) -> None:
    """Save a pipeline into its run folder, part by part and each at once; `model_index.json` last makes it complete."""
    with tempfile.TemporaryDirectory(prefix=".pipeline-", dir=run.path) as name:
        pipeline.save_pretrained(name)
        for part in pipeline.components.keys() - {"autoencoder"}:
            with replacing_folder(run.path / part, {"autoencoder": autoencoder_hash(run)}) as folder:
                shutil.copytree(Path(name) / part, folder, dirs_exist_ok=True)
        os.replace(Path(name) / "model_index.json", run.path / "model_index.json")
