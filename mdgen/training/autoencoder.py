"""Stage 1: the autoencoder, trained, saved with the statistics of its latents, and checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from torch.optim.swa_utils import update_bn

from mdgen.config import AutoencoderConfig, Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.errors import MdgenError
from mdgen.models.autoencoder import AUTOENCODERS, build_autoencoder
from mdgen.models.patch_autoencoder import find_floor
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process, row_names, training_data
from mdgen.training.autoencoder_check import (
    AutoencoderCheck,
    IdentityRetention,
    check_autoencoder,
    latent_scales,
    measure_latents,
)
from mdgen.training.autoencoder_task import AutoencoderTask
from mdgen.training.checkpoint import replacing_folder, verify
from mdgen.training.schedule import Budget
from mdgen.training.stage import Stage

#: Held-out spectrograms that a validation loss looks at.
VALIDATED = 128


def train_autoencoder(
    data: SpectrogramSet,
    run: Run,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
    identity_retention: IdentityRetention | None = None,
) -> AutoencoderCheck:
    """Train stage 1 on role `train`, save it to the run with its latent statistics, and check it on the other roles."""
    stage = Stage(run, recipe, device, progress, budget)
    train_data = training_data(data)
    with PartialState().main_process_first():
        run.claim(recipe, train_data)
    with run.locked():
        config = recipe.autoencoder
        torch.manual_seed(recipe.seed)
        windows = WindowCutter.of(train_data, recipe.data.augment)
        held_out = validation_images(data)
        task = AutoencoderTask(
            build_autoencoder(config, picture_shape(data), find_floor(train_data.images)),
            windows,
            config,
            row_names(train_data, windows.rows),
            None if held_out is None else held_out.images,
        )
        if config.kind == "none":
            (progress or Progress(quiet=True)).say("autoencoder: kind none has nothing to train; stage 2 learns pixels")
        else:
            settings = {
                "autoencoder": config.model_dump(mode="json", exclude={"training"}),
                "augment": recipe.data.augment.model_dump(mode="json"),
                "data": train_data.fingerprint(),
            }
            stage.train(task, config.training, "autoencoder", settings)

        def save_and_check() -> AutoencoderCheck:
            _settle_statistics(task.autoencoder, config, train_data.images)
            save_autoencoder(task.autoencoder, run)
            run.record(recipe)
            return check_autoencoder(task.autoencoder, data, run, identity_retention)

        return on_main_process(save_and_check)


def picture_shape(data: SpectrogramSet) -> tuple[int, int, int]:
    """(C, H, W) of the pictures of a data set."""
    _, channels, height, width = data.images.shape
    return channels, height, width


def save_autoencoder(autoencoder: nn.Module, run: Run) -> None:
    """Put an autoencoder in its place in the run folder, whole or not at all."""
    with replacing_folder(run.path / "autoencoder") as folder:
        autoencoder.save_pretrained(folder)  # type: ignore[operator]


def _settle_statistics(autoencoder: nn.Module, config: AutoencoderConfig, images: np.ndarray) -> None:
    """What depends on the final weights: statistics of BatchNorm, then of the latents (pixels stay as they are)."""
    if any(isinstance(module, nn.BatchNorm2d) for module in autoencoder.modules()):
        batches = (torch.from_numpy(images[i : i + 64]) for i in range(0, len(images), 64))
        update_bn(batches, autoencoder, autoencoder.device)  # type: ignore[arg-type]
    if config.kind != "none":
        mean, std = measure_latents(autoencoder, images)
        autoencoder.register_to_config(latents_mean=mean, latents_std=latent_scales(std, config.whitening))  # type: ignore[operator]


def validation_images(data: SpectrogramSet) -> SpectrogramSet | None:
    """Rows of role `val`, thinned out evenly to `VALIDATED`; `None` where there are none."""
    rows = np.flatnonzero(data.table["split"] == "val")
    if len(rows) == 0:
        return None
    return data.select(rows[np.unique(np.linspace(0, len(rows) - 1, VALIDATED).round().astype(int))])


def autoencoder_hash(run: Run) -> str:
    """sha256 of the weights and latent scaling of the run's autoencoder: which one a denoiser belongs to."""
    folder = run.path / "autoencoder"
    config = json.loads((folder / "config.json").read_text())
    scaling = json.dumps([config["latents_mean"], config["latents_std"]])
    weights = next(folder.glob("*.safetensors")).read_bytes()
    return hashlib.sha256(weights + scaling.encode()).hexdigest()


def load_autoencoder(folder: Path) -> nn.Module:
    """The autoencoder saved in `folder`, of whichever kind it is; raises `MdgenError` where its files were changed."""
    try:
        verify(folder)
        kind = json.loads((folder / "config.json").read_text())["_class_name"]
        cls = next(cls for cls in AUTOENCODERS if cls.__name__ == kind)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise MdgenError(f"{folder}: not as it was saved ({error}); run `mdgen train-vae` again") from error
    return cls.from_pretrained(folder).eval()
