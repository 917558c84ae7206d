"""Every setting of a validation, with the thresholds of its gates. Light: nothing is imported beyond pydantic."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

ENCODERS = ("judge", "efficientnet_lite0", "pixels_pca64", "gait_profile", "pca_residual", "pixel_levels")


class ValidationSettings(BaseModel):
    """How much is trained and measured, and where the gates stand. Frozen; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    users: tuple[str, ...] = Field(default=(), description="judge these alone; all by default")
    device: str = Field(default="auto", description="of pretrained encoders: auto, cpu or cuda")
    judge_seeds: int = Field(
        default=3, ge=1, description="judges trained from different seeds; all metrics use the same ones"
    )
    judge_steps: int = Field(default=200, ge=1, description="optimiser steps of each judge")
    verification_steps: int = Field(default=150, ge=1, description="optimiser steps of the verification embedding")
    batch_size: int = Field(default=32, ge=4)
    judge_size: int = Field(
        default=64, ge=8, description="larger images are averaged down to this side for the small networks"
    )

    gates: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="limits other than those of gates.yaml: {gate: {limit: number}}"
    )

    encoders: tuple[str, ...] = ENCODERS
    max_encoded_images: int = Field(default=512, ge=4, description="images per set for the ImageNet encoder")
    encoder_size: int = Field(
        default=128, ge=32, description="side to which images are resized for the ImageNet encoder"
    )
    max_pairs: int = Field(default=60_000, ge=100, description="verification pairs per score set")
    max_shift: int = Field(default=12, ge=0, description="columns by which a neighbour may be shifted in time")
    bootstrap_draws: int = Field(default=200, ge=20)
    null_draws: int = Field(default=50, ge=10, description="random halves for the real-versus-real distribution")
    learning_draws: int = Field(default=5, ge=2, description="random draws of few windows in the learning curves")
    learning_budgets: tuple[int, ...] = Field(
        default=(5, 10, 20, 50), description="real windows per user in the learning curves; all of them come last"
    )
    gallery_users: int = Field(default=6, ge=1)

    cache: Path | None = Field(default=None, description="folder for features and trained judges; none by default")
    inception_weights: Path | None = None
    allow_download: bool = False
    max_inception_images: int = Field(default=4096, ge=2)

    def quick(self) -> ValidationSettings:
        """The same gates with one judge, fewer draws and fewer encoded images: for a first look and for tests."""
        return self.model_copy(
            update={
                "judge_seeds": 1,
                "judge_steps": min(self.judge_steps, 150),
                "verification_steps": min(self.verification_steps, 150),
                "max_encoded_images": min(self.max_encoded_images, 128),
                "bootstrap_draws": min(self.bootstrap_draws, 100),
                "null_draws": min(self.null_draws, 20),
                "learning_draws": min(self.learning_draws, 3),
                "max_inception_images": min(self.max_inception_images, 256),
            }
        )
