"""Joint fine-tuning: autoencoder and denoiser of a trained run learn on together, end to end.

What either alone cannot learn: the decoder meets latents as the denoiser makes them, the denoiser is told what its
errors look like as pictures, and the encoder may move where both find it easier. Left to the diffusion loss alone, an
encoder would make latents that say nothing; so it feels only a share of it (see Leng et al. 2025, "REPA-E", section 3),
must still reconstruct, and the scale of the latents stays what it was.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn

from mdgen.config import Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.windows import WindowCutter
from mdgen.diffusion.objective import Objective
from mdgen.errors import MdgenError
from mdgen.generate import checkpoint_hash
from mdgen.models.autoencoder import PixelAutoencoder, VQAutoencoder
from mdgen.models.latents import denormalise_latents, kl_per_dimension, normalise_latents
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process, row_names, training_data, write_model_card
from mdgen.training.autoencoder import save_autoencoder, validation_images
from mdgen.training.autoencoder_check import AutoencoderCheck, IdentityRetention, check_autoencoder
from mdgen.training.autoencoder_task import latent_shape
from mdgen.training.denoiser import condition_ids, publish
from mdgen.training.fine_tuning import claim_from
from mdgen.training.latents import require_size
from mdgen.training.schedule import Budget
from mdgen.training.stage import Stage
from mdgen.training.task import Batch, Task


class JointTask(Task):
    """Losses of both stages on the same pictures, and of what is decoded from latents that the denoiser foretold.

    held_out: pictures [N, C, H, W] and their condition ids.
    """

    def __init__(
        self, pipeline: MicroDopplerPipeline, windows: WindowCutter, ids: Tensor, recipe: Recipe, *,
        names: list[str] | None = None, held_out: tuple[Tensor, Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.autoencoder, self.denoiser = pipeline.autoencoder, pipeline.denoiser
        self.conditioning = pipeline.conditioning
        self.windows, self.ids, self.config = windows, ids, recipe.joint
        self.reconstruction, self.kl_weight = recipe.autoencoder.reconstruction, recipe.autoencoder.kl_weight
        self.objective = Objective(recipe.diffusion)
        self.names, self.held_out = names, held_out
        self.latent_shape = latent_shape(self.autoencoder, windows.draw(np.array([0]), torch.Generator()))

    def __len__(self) -> int:
        return len(self.windows)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        second = [*self.denoiser.parameters(), *self.conditioning.parameters()]
        return {
            "autoencoder": (list(self.autoencoder.parameters()), self.config.autoencoder_learning_rate),
            "denoiser": (second, self.config.training.learning_rate),
        }

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        images = self.windows.draw(indices, generator)
        return {"images": images, **self._chances(self.conditioning.drop(self.ids[indices], generator), generator)}

    def forward(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        config, images = self.config, batch["images"]
        posterior = self.autoencoder.encode(images).latent_dist  # type: ignore[operator]
        latents = posterior.mean + posterior.std * batch["posterior_noise"]
        normal = normalise_latents(self.autoencoder, latents)
        felt = normal.detach() + config.encoder_share * (normal - normal.detach())
        pair = self.objective.at(felt, batch["noise"], batch["timestep"])
        condition = self.conditioning(batch["users"])
        prediction = self.denoiser(pair.noisy, pair.timestep, class_labels=condition).sample.float()
        error = (prediction - pair.target).square().flatten(1).mean(1)
        losses = {
            "diffusion": (pair.weight * error).mean(),
            "reconstruction": self._distance(images, self.autoencoder.decode(latents).sample).mean(),  # type: ignore[operator]
            "kl": kl_per_dimension(posterior).mean(),
            "end_to_end": self._end_to_end(images, pair.noisy, prediction, batch["timestep"]),
        }
        first = losses["reconstruction"] + self.kl_weight * losses["kl"]
        total = losses["diffusion"] + config.autoencoder_weight * first + config.image_weight * losses["end_to_end"]
        return {"total": total, **losses, "latent_std": normal.detach().square().mean().sqrt()}

    @torch.no_grad()
    def validation_loss(self) -> float | None:
        if self.held_out is None:
            return None
        images, ids = self.held_out
        batch = {"images": images, **self._chances(ids, torch.Generator().manual_seed(0))}
        device = self.conditioning.embedding.weight.device
        return float(self({key: value.to(device) for key, value in batch.items()}, 0.0)["total"])

    def _chances(self, users: Tensor, generator: torch.Generator) -> Batch:
        shape = (len(users), *self.latent_shape)
        return {
            "users": users,
            "posterior_noise": torch.randn(shape, generator=generator),
            "noise": torch.randn(shape, generator=generator),
            "timestep": self.objective.times(len(users), generator),
        }

    def _end_to_end(self, images: Tensor, noisy: Tensor, prediction: Tensor, timestep: Tensor) -> Tensor:
        """Distance of pictures decoded from foretold latents, where there is more signal than noise; 0 elsewhere.

        Beyond that, what is foretold is a mean of many pictures, and a decoder that fits it learns to blur.
        """
        alpha, sigma = self.objective.scales(timestep)
        near = alpha > sigma
        if not near.any():
            return prediction.new_zeros(())
        clean = self.objective.clean(noisy[near], prediction[near], timestep[near]).to(noisy)
        decoded = self.autoencoder.decode(denormalise_latents(self.autoencoder, clean)).sample  # type: ignore[operator]
        return self._distance(images[near], decoded).sum() / len(images)

    def _distance(self, images: Tensor, decoded: Tensor) -> Tensor:
        """[N]: of the recipe's kind, as in stage 1."""
        difference = (decoded.clamp(min=-1) - images).flatten(1)
        return difference.abs().mean(1) if self.reconstruction == "l1" else difference.square().mean(1)


def train_joint(
    data: SpectrogramSet,
    source: Path,
    run: Run,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
    identity_retention: IdentityRetention | None = None,
) -> AutoencoderCheck:
    """Fine-tune both stages of `source` on role `train`; `run` gets the result, with its autoencoder checked anew.

    Raises `MdgenError` for models without a Gaussian autoencoder (kinds vq and none), for another objective or
    noise schedule than that of `source`, whose denoiser learns on, and for pictures of another size.
    """
    run.require_other_than(source)
    stage = Stage(run, recipe, device, progress, budget)
    train_data = training_data(data)
    pipeline = MicroDopplerPipeline.load(source)
    if isinstance(pipeline.autoencoder, PixelAutoencoder | VQAutoencoder):
        raise MdgenError(f"{source}: autoencoder.kind={recipe.autoencoder.kind} has no smooth latents to tune jointly")
    pipeline.require_targets(recipe.diffusion)
    require_size(pipeline, train_data)
    users = list(pipeline.config.users)
    Run(source).require_users(train_data.users)
    with PartialState().main_process_first():
        claim_from(run, source, users, recipe)
    with run.locked():
        windows, labels = WindowCutter.of(train_data, recipe.data.augment), pipeline.conditioning.labels
        held_out = validation_images(data)
        task = JointTask(
            pipeline,
            windows,
            condition_ids(train_data, users, labels)[windows.rows],
            recipe,
            names=row_names(train_data, windows.rows),
            held_out=None
            if held_out is None
            else (torch.from_numpy(held_out.images), condition_ids(held_out, users, labels)),
        )
        settings = {
            "joint": recipe.joint.model_dump(mode="json", exclude={"training"}),
            "autoencoder": recipe.autoencoder.model_dump(mode="json", include={"reconstruction", "kl_weight"}),
            "diffusion": recipe.diffusion.model_dump(mode="json"),
            "augment": recipe.data.augment.model_dump(mode="json"),
            "source": checkpoint_hash(source),
            "data": train_data.fingerprint(),
        }
        stage.train(task, recipe.joint.training, "joint", settings)

        def save_and_check() -> AutoencoderCheck:
            save_autoencoder(task.autoencoder, run)
            publish(pipeline, run)
            run.record(recipe)
            check = check_autoencoder(task.autoencoder, data, run, identity_retention)
            write_model_card(run, recipe, train_data)
            return check

        return on_main_process(save_and_check)
