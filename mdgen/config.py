"""Every setting of a recipe, typed and checked: one YAML file covers all stages, dotted `--set` options override it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mdgen.errors import MdgenError


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors; values never change after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SectionType = TypeVar("SectionType", bound=BaseModel)


class AugmentConfig(Section):
    """Changes of a training window that keep the walk physical; never a flip."""

    time_shift: bool = Field(True, description="cut the window anew inside its recording, where one is known")
    gain: float = Field(0.0, ge=0, le=0.5, description="stage 1: level moved by up to this much of the [-1, 1] scale")
    noise: float = Field(0.0, ge=0, le=0.5, description="stage 1: deviation of added noise, on the [-1, 1] scale")


class DataConfig(Section):
    """How training reads a data set."""

    augment: AugmentConfig = AugmentConfig()


class TrainingConfig(Section):
    """How one part is trained. `learning_rate` is the peak after warm-up; it then falls along a cosine."""

    steps: int = Field(2000, ge=1)
    batch_size: int = Field(32, ge=1, description="samples an optimizer step, over all processes and micro-batches")
    micro_batch_size: int | Literal["auto"] = Field(
        "auto", description="samples at a time on one device; auto: all of them, halved whenever memory runs out"
    )
    learning_rate: float = Field(1e-3, gt=0)
    final_learning_rate: float = Field(0.02, ge=0, le=1, description="share of the peak that the last step still has")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps")
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float = Field(1.0, gt=0)
    ema_half_life: float = Field(0.05, ge=0, le=0.5, description="share of the run; 0 switches the average off")
    ema_profiles: tuple[float, ...] = Field(
        (), description="relative deviations of power-function averages, e.g. [0.05, 0.1]: any length after training"
    )
    final: Literal["last", "best"] = Field("last", description="best: the checkpoint of the lowest validation loss")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = Field(False, description="less memory for a third more time")
    compile: bool = Field(False, description="torch.compile; pays off on GPUs and long runs")
    memory_saver: bool = Field(
        False, description="preset: gradient checkpointing, micro-batches of 8, averages kept in main memory"
    )
    average_on_cpu: bool = False
    checkpoint_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    pictures_every: int = Field(1000, ge=0, description="steps between samples in TensorBoard; 0: none")

    @model_validator(mode="before")
    @classmethod
    def _expand_memory_saver(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("memory_saver") is True:
            micro = min(8, given.get("batch_size", cls.model_fields["batch_size"].default))
            return {"gradient_checkpointing": True, "micro_batch_size": micro, "average_on_cpu": True, **given}
        return given

    @field_validator("micro_batch_size")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be 1 or more, or auto")
        return value

    @field_validator("ema_profiles")
    @classmethod
    def _profile_widths(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < width <= 0.28 for width in value):
            raise ValueError("relative deviations lie above 0 and up to 0.28")
        return value


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
        return {"latent_channels": _LATENT_CHANNELS.get(given.get("kind"), 8), **given}

    @field_validator("channels")
    @classmethod
    def _groups_divide(cls, value: int) -> int:
        if value % 8:
            raise ValueError("must be a multiple of 8")
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
    levels: tuple[int, ...] = Field((1, 2, 2), description="U-Net channel multipliers")
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
    guidance_interval: tuple[float, float] = Field(
        (0.0, 1.0), description="noise levels (1 = pure noise) that are guided"
    )
    guidance_rescale: float = Field(0.0, ge=0, le=1, description="bring contrast back to the unguided one's; 0: off")
    classifier_scale: float = Field(
        0.0,
        ge=0,
        description="guidance by the gradient of the run's latent classifier (`train-classifier`); 0: off",
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
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    training: TrainingConfig = TrainingConfig(steps=300, batch_size=16, learning_rate=3e-4, checkpoint_every=50)

    @model_validator(mode="after")
    def _points_on_the_way(self) -> DistillConfig:
        if self.teacher_steps % self.evaluations:
            raise ValueError(f"teacher_steps must be a multiple of evaluations, {self.evaluations}")
        return self


class Recipe(Section):
    """One recipe: everything that decides what a run computes."""

    name: str = "default"
    description: str = ""
    seed: int = Field(0, ge=0)
    data: DataConfig = DataConfig()
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    denoiser: DenoiserConfig = DenoiserConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    conditioning: ConditioningConfig = ConditioningConfig()
    fine_tuning: FineTuningConfig = FineTuningConfig()
    joint: JointConfig = JointConfig()
    prior: PriorConfig = PriorConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    generate: GenerateConfig = GenerateConfig()
    distill: DistillConfig = DistillConfig()
    validate_: dict[str, Any] = Field(
        default_factory=dict, alias="validate", description="settings of the judge; checked by validation.settings"
    )


def load_recipe(name_or_file: str | Path | None, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a YAML file, or of the name of one shipped in `configs/`, with `key.path=value` overrides.

    `None` is the recipe of all defaults. Raises `MdgenError` naming the unknown key or the wrong value.
    """
    source, text = _recipe_text(name_or_file)
    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise MdgenError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise MdgenError(f"{source}: a recipe is a mapping of sections, this is a {type(content).__name__}")
    for override in overrides:
        _apply_override(content, override)
    return checked(Recipe, content, source)


def checked(section: type[SectionType], content: dict[str, Any], source: str) -> SectionType:
    """`content` as a checked section; raises `MdgenError` that names `source`, the key and what is wrong with it."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise MdgenError(f"{source}: {_explain(error, section)}") from error


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML that `load_recipe` reads back to an equal one."""
    return yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False)


def shipped_recipes() -> list[str]:
    """Names of the recipes in `configs/`."""
    files = resources.files("configs").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def _recipe_text(name_or_file: str | Path | None) -> tuple[str, str]:
    if name_or_file is None:
        return "default recipe", ""
    path = Path(name_or_file)
    if path.suffix in (".yaml", ".yml"):
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MdgenError(
                f"{path}: cannot be read as a recipe ({error}); shipped ones: {shipped_recipes()}"
            ) from error
    if str(name_or_file) not in shipped_recipes():
        raise MdgenError(f"{name_or_file}: no such recipe; shipped ones: {', '.join(shipped_recipes())}")
    return str(name_or_file), (resources.files("configs") / f"{name_or_file}.yaml").read_text(encoding="utf-8")


def _apply_override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise MdgenError(f"--set {override}: needs the form section.key=value")
    *path, last = key.split(".")
    for part in path:
        content = content.setdefault(part, {})
        if not isinstance(content, dict):
            raise MdgenError(f"--set {override}: {part!r} is a value, not a section")
    # YAML 1.1 reads 1e-4 as text; pydantic turns such text into a number where one is due.
    content[last] = yaml.safe_load(value)


def _explain(error: ValidationError, section: type[BaseModel]) -> str:
    """One line for the first problem, with the nearest known key for an unknown one."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, _known_keys(section), n=1, cutoff=0.5)
        return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    message = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else problem["msg"].lower()
    return f"{where}: {message}" + ("" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})")


def _known_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        key = prefix + (field.alias or name)
        keys.append(key)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, key + ".")
    return keys
