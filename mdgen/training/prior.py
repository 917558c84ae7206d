"""The baseline: an autoregressive model of the codes of the run's vector-quantised autoencoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor
from torch.nn import functional as F

from mdgen.config import PriorConfig, Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.errors import MdgenError
from mdgen.models.conditioning import UserConditioning
from mdgen.models.prior import TokenPrior
from mdgen.models.vq_autoencoder import VQAutoencoder
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process, row_names, write_model_card
from mdgen.token_pipeline import TokenPipeline
from mdgen.training.autoencoder import autoencoder_hash, load_autoencoder, validation_images
from mdgen.training.denoiser import publish
from mdgen.training.schedule import Budget
from mdgen.training.stage import Stage
from mdgen.training.task import Batch, Task

#: Windows encoded at a time.
_ENCODED_AT_ONCE = 128


class PriorTask(Task):
    """Cross-entropy of codes, in nats a code; users dropped at the recipe's rate.

    codes: [views, h, w] of every view of every window. held_out: codes [N, h, w] and user ids [N].
    """

    def __init__(
        self, prior: TokenPrior, conditioning: UserConditioning, windows: WindowCutter, codes: Tensor,
        users: list[str], learning_rate: float, *, names: list[str] | None = None,
        held_out: tuple[Tensor, Tensor] | None = None, preview: Callable[[], Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.prior, self.conditioning = prior, conditioning
        self.windows, self.codes, self.learning_rate = windows, codes, learning_rate
        self.user_ids = torch.tensor([users.index(user) for user in windows.users])
        self.names, self.held_out, self.preview = names, held_out, preview

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[torch.nn.Parameter], float]]:
        return {"prior": (list(self.parameters()), self.learning_rate)}

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        codes = self.codes[self.windows.draw_views(indices, generator)].long().flatten(1)
        return {"codes": codes, "users": self.conditioning.drop(self.user_ids[indices], generator)}

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        logits = self.prior(batch["codes"], self.conditioning(batch["users"]))
        return {"total": F.cross_entropy(logits.float().flatten(0, 1), batch["codes"].flatten())}

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        if self.held_out is None:
            return None
        codes, users = (part.to(self.prior.positions.device) for part in self.held_out)
        return float(self({"codes": codes.long().flatten(1), "users": users}, 0.0)["total"])

    def pictures(self) -> dict[str, Tensor]:
        return {"samples": self.preview()} if self.preview else {}


def train_prior(
    data: SpectrogramSet,
    run: Run,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
) -> None:
    """Train the baseline's second stage on role `train`; leaves a complete pipeline in the run folder."""
    stage = Stage(run, recipe, device, progress, budget)
    train_data, config = stage.rows(data), recipe.prior
    if recipe.conditioning.names():
        raise MdgenError(
            f"the baseline knows users alone, not {', '.join(recipe.conditioning.names())}; unset conditioning"
        )
    users, autoencoder = train_data.users, _quantised(run)
    with run.locked():
        autoencoder.to(PartialState().device)
        windows = WindowCutter.of(train_data, recipe.data.augment)
        codes = encode_codes(autoencoder, lambda view: windows.cut(windows.views[view]), len(windows.views))
        torch.manual_seed(recipe.seed)
        prior = build_prior(config, autoencoder, (codes.shape[1], codes.shape[2]))
        conditioning = UserConditioning(len(users), prior.condition_dim, recipe.diffusion.condition_dropout)

        def pipeline() -> TokenPipeline:
            return TokenPipeline(
                autoencoder, prior.eval(), conditioning.eval(), users, config.temperature, config.top_k
            )

        def preview() -> Tensor:
            shown = [user for user in range(min(4, len(users))) for _ in range(2)]
            return pipeline()(shown, [torch.Generator().manual_seed(i) for i in range(len(shown))])

        task = PriorTask(
            prior,
            conditioning,
            windows,
            codes,
            users,
            config.training.learning_rate,
            names=row_names(train_data, windows.rows),
            held_out=_held_out(autoencoder, data, users),
            preview=preview,
        )
        settings = {
            "prior": config.model_dump(mode="json", exclude={"training", "temperature", "top_k"}),
            "condition_dropout": recipe.diffusion.condition_dropout,
            "augment": recipe.data.augment.model_dump(mode="json"),
            "data": train_data.fingerprint(),
            "autoencoder": autoencoder_hash(run),
        }
        stage.train(task, config.training, "prior", settings)

        def finish() -> None:
            publish(pipeline(), run)
            run.record(recipe)
            write_model_card(run, recipe, train_data, baseline=True)

        on_main_process(finish)


def build_prior(config: PriorConfig, autoencoder: VQAutoencoder, sample_size: tuple[int, int]) -> TokenPrior:
    """The untrained prior of a recipe for the codes of an autoencoder on a grid of `sample_size`."""
    return TokenPrior(
        codebook_size=autoencoder.config.codebook_size,
        sample_size=sample_size,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        dropout=config.dropout,
    )


@torch.no_grad()
def encode_codes(autoencoder: VQAutoencoder, picture: Callable[[int], np.ndarray], count: int) -> Tensor:
    """int32 [count, h, w] on the CPU: codes of pictures [C, H, W] number 0..count-1."""
    parts = []
    for start in range(0, count, _ENCODED_AT_ONCE):
        images = np.stack([picture(i) for i in range(start, min(start + _ENCODED_AT_ONCE, count))])
        latents = autoencoder.encode(torch.from_numpy(images).to(autoencoder.device)).latent_dist.mean
        parts.append(autoencoder.codebook(latents).codes.int().cpu())
    return torch.cat(parts)


def _quantised(run: Run) -> VQAutoencoder:
    if (run.path / "denoiser").exists():
        raise MdgenError(f"{run.path}: holds a diffusion model; train the baseline in another --run")
    autoencoder = load_autoencoder(run.path / "autoencoder")
    if not isinstance(autoencoder, VQAutoencoder):
        raise MdgenError(
            f"{run.path}: the baseline needs an autoencoder with codes; use --config baseline, or autoencoder.kind=vq"
        )
    return autoencoder


def _held_out(autoencoder: VQAutoencoder, data: SpectrogramSet, users: list[str]) -> tuple[Tensor, Tensor] | None:
    held_out = validation_images(data)
    if held_out is None:
        return None
    codes = encode_codes(autoencoder, lambda i: held_out.images[i], len(held_out))
    return codes, torch.tensor(held_out.labels(users))
