"""Training of the noise-aware user classifier that classifier guidance follows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mdgen.config import Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.diffusion.objective import Objective
from mdgen.errors import MdgenError
from mdgen.models.latent_classifier import LatentClassifier
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process
from mdgen.training.autoencoder import autoencoder_hash
from mdgen.training.checkpoint import replacing_folder
from mdgen.training.denoiser import Corpus
from mdgen.training.latents import Latents
from mdgen.training.schedule import Budget
from mdgen.training.stage import Stage
from mdgen.training.task import Batch, Task

#: Folder of a run that holds the classifier.
FOLDER = "classifier"


class LatentClassifierTask(Task):
    """Cross-entropy of users on latents as noisy as sampling meets them."""

    def __init__(
        self, classifier: LatentClassifier, windows: WindowCutter, cache: Latents, users: Tensor, recipe: Recipe
    ) -> None:
        """users: int64 [len(windows)]."""
        super().__init__()
        self.classifier, self.windows, self.cache, self.users = classifier, windows, cache, users
        self.objective = Objective(recipe.diffusion.model_copy(update={"times": "uniform"}))
        self.learning_rate = recipe.classifier.training.learning_rate

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        return {"classifier": (list(self.classifier.parameters()), self.learning_rate)}

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        latents = self.cache.sample(self.windows.draw_views(indices, generator), generator)
        pair = self.objective.pair(latents, torch.randn(latents.shape, generator=generator), generator)
        return {"noisy": pair.noisy, "timestep": pair.timestep, "users": self.users[indices]}

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = self.classifier(batch["noisy"], batch["timestep"]).float()
        right = (logits.argmax(1) == batch["users"]).float().mean()
        return {"total": F.cross_entropy(logits, batch["users"]), "accuracy": right}


def train_latent_classifier(
    data: SpectrogramSet,
    run: Run,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
) -> None:
    """Train on role `train` beside the denoiser of the run; leaves it in the run's folder `classifier`.

    Raises `MdgenError` for objective edm, and for another noise process than the run's denoiser has, if there is one.
    """
    if recipe.diffusion.objective == "edm":
        raise MdgenError("classifier guidance follows samples as flow has them; objective edm scales them otherwise")
    stage = Stage(run, recipe, device, progress, budget)
    train_data, config = stage.rows(data), recipe.classifier
    if (run.path / "model_index.json").exists():
        MicroDopplerPipeline.load(run.path).require_targets(recipe.diffusion)
    with run.locked():
        corpus = Corpus.of(train_data, run, recipe)
        torch.manual_seed(recipe.seed)
        classifier = LatentClassifier(len(train_data.users), corpus.cache.latent_shape[0], config.width, config.depth)
        labels = torch.from_numpy(train_data.labels(train_data.users)[corpus.windows.rows])
        task = LatentClassifierTask(classifier, corpus.windows, corpus.cache, labels, recipe)
        settings = {
            "classifier": config.model_dump(mode="json", exclude={"training"}),
            "diffusion": recipe.diffusion.model_dump(mode="json"),
            "augment": recipe.data.augment.model_dump(mode="json"),
            **corpus.fingerprints,
        }
        stage.train(task, config.training, "classifier", settings)

        def finish() -> None:
            with replacing_folder(run.path / FOLDER, {"autoencoder": autoencoder_hash(run)}) as folder:
                classifier.save_pretrained(folder)

        on_main_process(finish)
