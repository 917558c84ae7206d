"""What comes beside and after the two stages: the baseline, generating, fine-tuning, guidance, distilling, warps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mdgen.config.section import Section
from mdgen.config.training import TrainingConfig


def _rising(levels: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= levels[0] <= levels[1] <= 1:
        raise ValueError("needs two noise levels from 0 (data) to 1 (noise), the lower first")
    return levels


NoiseLevels = Annotated[tuple[float, float], AfterValidator(_rising)]


class JointConfig(Section):
    """Fine-tuning of autoencoder and denoiser together, after both stages."""

    autoencoder_weight: float = Field(1.0, ge=0, description="of stage 1's losses beside the diffusion loss")
    image_weight: float = Field(0.5, ge=0, description="of pictures decoded from what the denoiser foretells")
    encoder_share: float = Field(0.1, ge=0, le=1, description="of the diffusion loss's gradient that the encoder feels")
    autoencoder_learning_rate: float = Field(3e-5, gt=0)
    training: TrainingConfig = TrainingConfig(steps=400, batch_size=16, learning_rate=1e-4)


class PriorConfig(Section):
    """The baseline's second stage: a transformer that draws the codes of a `vq` autoencoder one after the other."""

    width: int = Field(256, ge=32, description="a multiple of heads")
    depth: int = Field(6, ge=1)
    heads: int = Field(4, ge=1)
    dropout: float = Field(0.1, ge=0, lt=1)
    temperature: float = Field(1.0, gt=0, description="below 1: likelier codes, less variety")
    top_k: int = Field(0, ge=0, description="draw from so many likeliest codes; 0: from all")
    training: TrainingConfig = TrainingConfig(learning_rate=5e-4)

    @model_validator(mode="after")
    def _heads_divide(self) -> PriorConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}")
        return self


class GenerateConfig(Section):
    """Defaults of `mdgen generate`."""

    per_user: int = Field(50, ge=1)
    guidance_scale: float = Field(2.0, ge=0)
    guidance_interval: NoiseLevels = Field((0.0, 1.0), description="noise levels (1 = pure noise) that are guided")
    guidance_rescale: float = Field(0.0, ge=0, le=1, description="bring contrast back to the unguided one's; 0: off")
    classifier_scale: float = Field(
        0.0,
        ge=0,
        description="guidance by the gradient of the run's latent classifier (`train-classifier`); 0: off",
    )
    weak_run: str | None = Field(
        None, description="a weaker run of the same autoencoder: guide away from it, not from nobody (autoguidance)"
    )
    steps: int = Field(25, ge=1, le=1000)
    sampler: Literal["dpm++", "unipc", "ddim", "ddpm", "euler", "heun", "lcm"] = "dpm++"
    batch_size: int = Field(64, ge=1, description="samples at a time; halved whenever memory runs out")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="of a run with labels, e.g. {style: others, activity: running}: own (recorded with the user), "
        "others, random, none or a value; style is random unless said, the rest own",
    )
    format: Literal["png16", "png8", "npy", "npz", "hdf5", "webdataset", "imagefolder"] = "png16"
    manifest: Literal["csv", "parquet"] = "csv"
    shard_size: int = Field(250, ge=1, description="samples written at a time; a killed process loses at most these")


class WarpsConfig(Section):
    """`mdgen augment`: real windows changed as other people's recordings differ."""

    per_window: int = Field(20, ge=1, description="of each real window")
    strength: float = Field(1.0, gt=0, le=10, description="times the change; above 1 for more than recordings differ")


class FineTuningConfig(Section):
    """Going on from a trained model with other data: new users alone, or everything at a smaller rate."""

    learn: Literal["users", "all"] = Field(
        "users", description="users: rows of users and styles that are new, and low-rank adapters; all: all weights"
    )
    rank: int = Field(0, ge=0, le=64, description="learn users: rank of adapters of all linear layers; 0: none")
    freeze: tuple[str, ...] = Field((), description="parameters left as they are, e.g. [denoiser.down_blocks.*]")
    embedding_learning_rate: float = Field(1e-2, gt=0, description="of users and labels")
    training: TrainingConfig = TrainingConfig(steps=300, batch_size=16, learning_rate=3e-4)

    @model_validator(mode="after")
    def _what_goes_together(self) -> FineTuningConfig:
        if self.learn == "all" and self.rank:
            raise ValueError("low-rank adapters are for learn=users; with learn=all the weights themselves learn")
        if self.learn == "users" and self.training.weight_decay:
            raise ValueError("learn=users needs weight_decay 0: decay would change the users it must not touch")
        if self.learn == "users" and self.training.sharded:
            raise ValueError("sharded is for learn=all; what learn=users trains is small, and the rest must not move")
        return self


class ClassifierConfig(Section):
    """`mdgen train-classifier`: who is on a noisy latent, for classifier guidance."""

    width: int = Field(64, ge=8, multiple_of=8)
    depth: int = Field(3, ge=1)
    training: TrainingConfig = TrainingConfig(
        steps=400, batch_size=64, learning_rate=1e-3, weight_decay=0.05, ema_half_life=0, checkpoint_every=100
    )


class DistillConfig(Section):
    """`mdgen distill`: a few evaluations in the place of many, with guidance folded in."""

    evaluations: int = Field(4, ge=1, le=8)
    method: Literal["trajectory", "consistency"] = Field(
        "trajectory", description="a step leads to the next point of the teacher's way, or to its end"
    )
    teacher_steps: int = Field(12, ge=1, description="dpm++ steps of the teacher; a multiple of evaluations")
    guidance_scale: float = Field(2.0, ge=0)
    guidance_interval: NoiseLevels = (0.0, 1.0)
    training: TrainingConfig = TrainingConfig(steps=300, batch_size=16, learning_rate=3e-4, checkpoint_every=50)

    @model_validator(mode="after")
    def _points_on_the_way(self) -> DistillConfig:
        if self.teacher_steps % self.evaluations:
            raise ValueError(f"teacher_steps must be a multiple of evaluations, {self.evaluations}")
        return self
