"""How one part is trained; the same for every part."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mdgen.config.section import Section

Decay = Annotated[float, Field(ge=0, lt=1)]


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
    betas: tuple[Decay, Decay] = (0.9, 0.99)
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
    sharded: bool = Field(
        False, description="several processes: each keeps a share of weights, optimizer state and averages (FSDP)"
    )
    checkpoint_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    pictures_every: int = Field(1000, ge=0, description="steps between samples in TensorBoard; 0: none")

    @model_validator(mode="before")
    @classmethod
    def _expand_memory_saver(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("memory_saver") is True:
            return {"gradient_checkpointing": True, "micro_batch_size": 8, "average_on_cpu": True, **given}
        return given

    @model_validator(mode="after")
    def _scaled_where_whole(self) -> TrainingConfig:
        if self.sharded and self.precision == "fp16":
            raise ValueError("sharded and fp16 do not combine: each process would find its own loss scale; use bf16")
        return self

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
