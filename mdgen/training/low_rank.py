"""Low-rank adapters: a trained network bent a little, by few numbers, and merged into its weights afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """weight -> weight + up down, of rank `rank`; `up` starts at zero, so nothing changes before training (Hu 2022)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1], device=weight.device) * weight.shape[1] ** -0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_adapters(network: nn.Module, rank: int) -> None:
    """Freeze `network` and give each of its linear layers a trainable adapter."""
    network.requires_grad_(False)
    for layer in [module for module in network.modules() if isinstance(module, nn.Linear)]:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank))


def merge_adapters(network: nn.Module) -> None:
    """Work the adapters into the weights: the network is of its plain kind again and answers as before."""
    for layer in [module for module in network.modules() if isinstance(module, nn.Linear)]:
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
