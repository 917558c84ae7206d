"""Who is on a noisy latent? A classifier that knows how noisy it is, for classifier guidance."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.nn import functional as F


class LatentClassifier(ModelMixin, ConfigMixin):
    """Noisy latents [N, channels, h, w] and timesteps [N] -> logits [N, num_users]."""

    @register_to_config
    def __init__(self, num_users: int, channels: int, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.time = nn.Sequential(Timesteps(width, True, 0.0), TimestepEmbedding(width, width))
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.head = nn.Linear(2 * width, num_users)

    def forward(self, sample: Tensor, timestep: Tensor) -> Tensor:
        hidden, time = self.stem(sample), self.time(timestep.float())
        for number, block in enumerate(self.blocks):
            hidden = block(hidden, time)
            if number < len(self.blocks) - 1 and min(hidden.shape[-2:]) > 2:
                hidden = F.avg_pool2d(hidden, 2)
        return self.head(torch.cat([hidden.mean((2, 3)), hidden.amax((2, 3))], dim=1))

    @torch.enable_grad()
    def gradient(self, sample: Tensor, timestep: Tensor, users: Tensor) -> Tensor:
        """Gradient [N, C, h, w] of the log probability of `users` [N] with respect to the noisy sample."""
        given = sample.detach().float().requires_grad_()
        times = torch.as_tensor(timestep, device=given.device).expand(len(given))
        chosen = self(given, times).log_softmax(dim=1).gather(1, users[:, None]).sum()
        return torch.autograd.grad(chosen, given)[0]


class _Block(nn.Module):
    """Residual convolutions that are told the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.time = nn.Linear(width, width)

    def forward(self, hidden: Tensor, time: Tensor) -> Tensor:
        return hidden + self.second(self.first(hidden) + self.time(time)[:, :, None, None])
