"""Who is to be generated: the user embedding, with the one null user that classifier-free guidance compares against."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from mdgen.errors import MdgenError


class UserConditioning(ModelMixin, ConfigMixin):
    """User ids 0..num_users-1 -> vectors [N, dim]. The id `num_users`, and no other, means "nobody in particular".

    `condition_dropout` is the share of training samples whose user was replaced by the null user. It is saved with the
    weights: without it the null row was never trained, and guidance by it would be noise.
    """

    @register_to_config
    def __init__(self, num_users: int, dim: int, condition_dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_users + 1, dim)
        nn.init.normal_(self.embedding.weight, std=0.5)

    @property
    def null_id(self) -> int:
        return self.config.num_users

    def forward(self, users: Tensor) -> Tensor:
        return self.embedding(users)

    def drop(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """`users` with each one replaced by the null user with probability `condition_dropout`."""
        dropped = torch.rand(users.shape, generator=generator).to(users.device) < self.config.condition_dropout
        return users.masked_fill(dropped, self.null_id)

    def require_guidance(self, guidance_scale: float) -> None:
        """Raise `MdgenError` where a guidance scale other than 1 has no trained null user to work with."""
        if guidance_scale != 1 and self.config.condition_dropout == 0:
            raise MdgenError(
                f"guidance scale {guidance_scale:g} needs a model trained with condition dropout; this one had 0: "
                "use --guidance-scale 1, or train with diffusion.condition_dropout=0.1"
            )
