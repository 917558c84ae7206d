"""Data, networks and what they learn: the sections that decide what a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mdgen.config.section import Section
from mdgen.config.training import TrainingConfig


class AugmentConfig(Section):
    """Changes of a training window. The first four keep a walk physical; flips and crops are for natural images."""

    time_shift: bool | Literal["auto"] = Field(
        "auto",
        description="cut the window anew inside its recording, where one is known; auto: not where windows of all "
        "recordings begin at the same phase of a step",
    )
    tempo: float = Field(
        0.0,
        ge=0,
        le=0.2,
        description="the movement played up to this share faster or slower: times and velocities change together",
    )
    flip: bool = Field(False, description="natural images: left and right exchanged in half of the views")
    crop: int = Field(0, ge=0, le=16, description="natural images: moved by up to so many pixels, edges mirrored")
    gain: float = Field(0.0, ge=0, le=0.5, description="stage 1: level moved by up to this much of the [-1, 1] scale")
    noise: float = Field(0.0, ge=0, le=0.5, description="stage 1: deviation of added noise, on the [-1, 1] scale")


class DataConfig(Section):
    """How training reads a data set."""

    augment: AugmentConfig = AugmentConfig()


class AdversarialConfig(Section):
    """A patch discriminator that joins autoencoder training after a share of the run."""

    weight: float = Field(0.0, ge=0, description="0 switches it off; with adaptive, a share of the other gradients")
    adaptive: bool = Field(True, description="weight times the ratio of reconstruction and adversarial gradients")
    max_ratio: float = Field(1e4, gt=0, description="limit of that ratio")
    start: float = Field(0.5, ge=0, lt=1, description="share of the steps before the discriminator starts to learn")
    ramp: float = Field(0.1, ge=0, lt=1, description="share of the steps over which the weight then grows from 0")
    receptive_field: Literal[16, 34, 70] = Field(70, description="pixels a side that a patch of the judgement sees")
    channels: int = Field(64, ge=8)
    learning_rate: float = Field(4e-4, gt=0)
    r1: float = Field(0.0, ge=0, description="weight of the gradient penalty on real pictures")
    lecam: float = Field(0.0, ge=0, description="weight of the pull of logits to their averages; for few pictures")


class CodebookConfig(Section):
    """The codes of a `vq` autoencoder; each has `latent_channels` numbers."""

    size: int = Field(8192, ge=2)
    commitment: float = Field(0.25, ge=0, description="how strongly latents are pulled to their codes")
    update: Literal["gradient", "ema"] = Field("gradient", description="ema: codes are running means of their latents")
    decay: float = Field(0.99, gt=0, lt=1, description="of the running counts and means, a step")
    restart: float = Field(
        0.05, ge=0, lt=1, description="codes used less than this share of an even use start anew; 0: never"
    )


#: Latent channels where a recipe does not say: numbers a code for vq, numbers a picture for vector.
_LATENT_CHANNELS = {"patch": 8, "kl": 8, "vq": 256, "vector": 128, "none": 1}


class AutoencoderConfig(Section):
    """Stage 1. Losses are means over pixels and over latent dimensions, so weights carry over between sizes."""

    kind: Literal["patch", "kl", "vq", "vector", "none"] = Field(
        "patch", description="vector: one vector a picture; none: latents are the pixels, and nothing is trained"
    )
    latent_channels: int = Field(8, ge=1, le=1024, description="where not given: vq 256, vector 128, else 8")
    downsample: Literal[2, 4, 8, 16] = Field(4, description="patch, kl, vq: pixels a side of a latent cell")
    channels: int = Field(64, ge=8, description="a multiple of 8")
    blocks: int = Field(2, ge=1, le=8)
    normalisation: Literal["group", "batch"] = Field("group", description="kind vq: between convolutions")
    codebook: CodebookConfig = CodebookConfig()
    reconstruction: Literal["l1", "l2"] = "l1"
    kl_weight: float = Field(1e-3, ge=0)
    floor_margin: float = Field(
        0.0,
        ge=0,
        le=1,
        description="kind patch: how far below the floor clipped pixels are encoded, to come back as floor",
    )
    latent_noise: float = Field(
        0.0, ge=0, le=1, description="noise on latents while the decoder learns, in deviations of their channel"
    )
    whitening: float = Field(
        0.5,
        ge=0,
        le=1,
        description="1: stage 2 sees every latent channel at one deviation; 0: at their own relative sizes",
    )
    perceptual: Literal["lpips", "effnet-lite0", "none"] = "none"
    perceptual_weight: float = Field(0.0, ge=0)
    lpips_trunk: Path | None = Field(None, description="state dict of torchvision's AlexNet for lpips; else downloaded")
    adversarial: AdversarialConfig = AdversarialConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="before")
    @classmethod
    def _latent_channels_of_kind(cls, given: Any) -> Any:
        kind = given.get("kind") if isinstance(given, dict) else None
        if kind in list(_LATENT_CHANNELS):  # a list: what stands there need not be hashable
            return {"latent_channels": _LATENT_CHANNELS[kind], **given}
        return given

    @field_validator("channels")
    @classmethod
    def _groups_divide(cls, value: int) -> int:
        if value % 8:
            raise ValueError("must be a multiple of 8")
        return value

    @field_validator("training")
    @classmethod
    def _not_sharded(cls, value: TrainingConfig) -> TrainingConfig:
        if value.sharded:
            raise ValueError("sharded is for the denoiser; the autoencoder is small")
        return value


class DenoiserConfig(Section):
    """Stage 2's network."""

    kind: Literal["dit", "unet", "unet-cross", "mlp"] = Field(
        "dit",
        description="dit: transformer on latent patches; unet: told the condition with the time; unet-cross: "
        "attends to its tokens; mlp: for vector latents",
    )
    patch: int = Field(2, ge=1, description="dit")
    width: int = Field(256, ge=32, description="of dit and mlp, or channels of the first U-Net level")
    depth: int = Field(6, ge=1, description="blocks, or residual blocks a U-Net level")
    heads: int = Field(4, ge=1)
    levels: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 2), min_length=1, description="U-Net channel multipliers"
    )
    attention: tuple[int, ...] = Field(
        (), description="U-Net: heights of the latent grid at which it attends, e.g. [16, 8]; the coarsest if empty"
    )
    dropout: float = Field(0.0, ge=0, lt=1)
    training: TrainingConfig = TrainingConfig(learning_rate=5e-4, batch_size=64)

    @model_validator(mode="after")
    def _what_combines(self) -> DenoiserConfig:
        if self.attention and not self.kind.startswith("unet"):
            raise ValueError(f"attention at chosen resolutions is for U-Nets; {self.kind} leaves it out")
        if self.kind == "dit" and self.width % (4 * self.heads):
            raise ValueError(f"dit needs a width that 4 x heads = {4 * self.heads} divides")
        if self.kind.startswith("unet") and any(self.width * level % 32 for level in self.levels):
            raise ValueError(f"{self.kind} needs widths, {self.width} times each of its levels, that 32 divides")
        if self.kind == "unet" and self.heads > self.width:
            raise ValueError(f"unet needs no more heads than width, {self.width}")
        return self


class DiffusionConfig(Section):
    """What the denoiser learns to predict, at which noise levels, and how often without knowing anything.

    `docs/objectives.md` says what combines; the rest is refused here, with the reason.
    """

    objective: Literal["flow", "v_prediction", "epsilon", "sample", "edm"] = "flow"
    condition_dropout: float = Field(0.1, ge=0, lt=1, description="share of samples of which nothing is told")
    schedule: Literal["linear", "scaled_linear", "cosine", "sigmoid"] | None = Field(
        None, description="of the noise, for v_prediction, epsilon and sample; cosine where not given"
    )
    zero_terminal_snr: bool = Field(False, description="the last step of the schedule is noise and nothing else")
    times: Literal["logit_normal", "uniform"] | None = Field(
        None, description="of training; where not given: logit_normal for flow and edm, else uniform"
    )
    time_mean: float = Field(0.0, description="of the logit of logit-normal times; for edm of ln(sigma)")
    time_std: float = Field(1.0, gt=0, description="of the same")
    weighting: Literal["uniform", "min_snr"] = Field("uniform", description="of the loss over noise levels")
    min_snr_gamma: float = Field(5.0, gt=0)

    @property
    def has_schedule(self) -> bool:
        """Whether noise levels are steps of a schedule; otherwise they are continuous."""
        return self.objective not in ("flow", "edm")

    @model_validator(mode="after")
    def _what_combines(self) -> DiffusionConfig:
        if self.schedule and not self.has_schedule:
            raise ValueError(f"{self.objective} has no schedule: its noise levels are continuous; leave schedule out")
        if self.zero_terminal_snr and not self.has_schedule:
            raise ValueError(f"{self.objective} reaches pure noise anyway; leave zero_terminal_snr out")
        if self.zero_terminal_snr and self.objective == "epsilon":
            raise ValueError(
                "epsilon with zero_terminal_snr: where nothing but noise is left, the noise says nothing of the "
                "data; use v_prediction or sample"
            )
        if self.objective == "edm" and self.times == "uniform":
            raise ValueError("edm with uniform times: its noise levels have no upper end; use logit_normal")
        return self


class ConditioningConfig(Section):
    """What the denoiser is told beside the user. Each label has a null of its own, for samples not told it."""

    style: bool = Field(False, description="the recording a window comes from, so that one can be lent to another user")
    style_width: int = Field(8, ge=1, description="numbers a recording's style is squeezed into")
    style_dropout: float = Field(0.3, ge=0, lt=1)
    labels: tuple[str, ...] = Field((), description="further columns of the manifest, e.g. [activity, view]")
    label_dropout: float = Field(0.1, ge=0, lt=1)

    def names(self) -> list[str]:
        """Labels in the order of their ids."""
        return sorted([*self.labels, *(["style"] if self.style else [])])

    def dropout(self) -> dict[str, float]:
        """Share of samples not told a label."""
        return {name: self.style_dropout if name == "style" else self.label_dropout for name in self.names()}

    @field_validator("labels")
    @classmethod
    def _further_labels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if {"user", "style", "split", "file"} & {*value} or len({*value}) < len(value):
            raise ValueError("each once, and not user, style, split or file: style has its own switch")
        return value
