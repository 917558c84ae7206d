"""Going on from a trained run with other data: a new person from few recordings, or everything at a smaller rate.

The autoencoder stays as it is, and so do the ids of users and labels; new ones are added behind them.
"""

from __future__ import annotations

import json
import shutil
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from natsort import natsorted
from torch import Tensor, nn

from mdgen.config import FineTuningConfig, Recipe, dump_recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.folders import atomic_folder
from mdgen.errors import MdgenError
from mdgen.generate import checkpoint_hash
from mdgen.models.conditioning import UserConditioning
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process, row_names, write_model_card
from mdgen.training.denoiser import Corpus, DenoiserTask, condition_ids, held_out_latents, preview, publish
from mdgen.training.latents import require_size
from mdgen.training.low_rank import add_adapters, merge_adapters
from mdgen.training.schedule import Budget
from mdgen.training.stage import Stage


class FineTuningTask(DenoiserTask):
    """Stage 2's loss over those parameters that may learn; users and labels at a rate of their own."""

    embedding_learning_rate = 0.0

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        rates = {"conditioning": self.embedding_learning_rate, "denoiser": self.learning_rate}
        parts = {name: [p for p in getattr(self, name).parameters() if p.requires_grad] for name in rates}
        return {name: (parameters, rates[name]) for name, parameters in parts.items() if parameters}


def fine_tune(
    data: SpectrogramSet,
    source: Path,
    run: Run,
    recipe: Recipe,
    *,
    replay: SpectrogramSet | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
) -> None:
    """Teach the model in `source` the rows of role `train` (all rows where there are no roles); `run` gets the result.

    It knows the users and labels of both. With `fine_tuning.learn: users` and rank 0, users that `source` knew are
    sampled exactly as before; where more learns, `replay`, a data set of theirs, keeps them from being forgotten.
    Raises `MdgenError` where there is nothing new to learn, and for pictures of another size, another objective or
    noise schedule than those of `source`.
    """
    run.require_other_than(source)
    stage = Stage(run, recipe, device, progress, budget)
    trained, rows = MicroDopplerPipeline.load(source), data.training()
    trained.require_targets(recipe.diffusion)
    require_size(trained, data)
    if replay is not None:
        require_size(trained, replay)
        rows = replayed(replay.training(), rows)
    known = list(trained.config.users)
    users = [*known, *natsorted(set(rows.users) - set(known))]
    with PartialState().main_process_first():
        claim_from(run, source, users, recipe)
    with run.locked():
        corpus = Corpus.of(rows, run, recipe)
        labels = trained.conditioning.labels.extended(rows.table, users)
        torch.manual_seed(recipe.seed)
        conditioning = trained.conditioning.extended(len(users), labels)
        select_parameters(trained.denoiser, conditioning, trained.conditioning, recipe.fine_tuning)
        pipeline = partial(
            MicroDopplerPipeline.assemble, corpus.autoencoder, trained.denoiser, conditioning, recipe, users
        )
        task = FineTuningTask(
            trained.denoiser,
            conditioning,
            corpus.windows,
            corpus.cache,
            condition_ids(rows, users, labels)[corpus.windows.rows],
            recipe.diffusion,
            recipe.fine_tuning.training.learning_rate,
            names=row_names(rows, corpus.windows.rows),
            held_out=held_out_latents(corpus.autoencoder, data, users, labels),
            preview=lambda: preview(pipeline(), recipe),
        )
        task.embedding_learning_rate = recipe.fine_tuning.embedding_learning_rate
        if not task.parts():
            raise MdgenError(f"{rows.name}: nothing is left to learn; it has no new user, or freeze covers everything")
        settings = {
            "fine_tuning": recipe.fine_tuning.model_dump(mode="json", exclude={"training"}),
            "diffusion": recipe.diffusion.model_dump(mode="json"),
            "augment": recipe.data.augment.model_dump(mode="json"),
            "source": checkpoint_hash(source),
            "users": users,
            **corpus.fingerprints,
        }
        stage.train(task, recipe.fine_tuning.training, "fine-tuning", settings)

        def finish() -> None:
            merge_adapters(trained.denoiser)
            publish(pipeline(), run)
            run.record(recipe)
            write_model_card(run, recipe, rows)

        on_main_process(finish)


def replayed(known: SpectrogramSet, few: SpectrogramSet) -> SpectrogramSet:
    """`few`, and as many windows of every other person of `known` as anybody has in `few`, evenly over theirs."""
    count, users = int(few.table["user"].value_counts().max()), known.table["user"].to_numpy()
    own = [np.flatnonzero(users == user) for user in known.users if user not in few.users]
    rows = [part[np.linspace(0, len(part) - 1, min(count, len(part))).astype(int)] for part in own]
    kept = known.select(np.concatenate([*rows, np.zeros(0, int)]))
    table = pd.concat([kept.table, few.table], ignore_index=True)
    return SpectrogramSet(np.concatenate([kept.images, few.images]), table, few.name)


def select_parameters(
    denoiser: nn.Module, conditioning: UserConditioning, before: UserConditioning, config: FineTuningConfig
) -> None:
    """Let learn what the settings say. before: the conditioning without what is new."""
    if config.learn == "users":
        denoiser.requires_grad_(False)
        conditioning.requires_grad_(False)
        for old, new in zip(_embeddings(before), _embeddings(conditioning), strict=True):
            if len(new.weight) > len(old.weight):
                new.weight.requires_grad_(True)
                new.weight.register_hook(partial(_keep_rows, slice(len(old.weight) - 1, len(new.weight) - 1)))
        if config.rank:
            add_adapters(denoiser, config.rank)
    frozen = [
        parameter
        for part, network in (("denoiser", denoiser), ("conditioning", conditioning))
        for name, parameter in network.named_parameters()
        if any(fnmatch(f"{part}.{name}", pattern) for pattern in config.freeze)
    ]
    if config.freeze and not frozen:
        raise MdgenError(f"fine_tuning.freeze: no parameter is named like {', '.join(config.freeze)}")
    for parameter in frozen:
        parameter.requires_grad_(False)


def claim_from(run: Run, source: Path, users: list[str], recipe: Recipe) -> None:
    """A new run folder with the autoencoder of `source`; one that is there already must be for the same users."""
    if (run.path / "users.json").exists():
        return run.require_users(users)
    with atomic_folder(run.path) as folder:
        shutil.copytree(source / "autoencoder", folder / "autoencoder")
        shutil.copyfile(source / "axes.json", folder / "axes.json")
        (folder / "users.json").write_text(json.dumps(users, ensure_ascii=False), encoding="utf-8")
        (folder / "config.yaml").write_text(dump_recipe(recipe), encoding="utf-8")


def _embeddings(conditioning: UserConditioning) -> list[nn.Embedding]:
    return [module for module in conditioning.modules() if isinstance(module, nn.Embedding)]


def _keep_rows(rows: slice, gradient: Tensor) -> Tensor:
    """The gradient of these rows alone."""
    kept = torch.zeros_like(gradient)
    kept[rows] = gradient[rows]
    return kept
