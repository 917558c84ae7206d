"""Fully sharded data parallelism: each process keeps a share of weights, gradients, optimizer state and averages.

Zhao et al. 2023, "PyTorch FSDP", as torch's `fully_shard` does it. What is kept or shown is made whole again, so that
checkpoints do not depend on the number of shares, or on whether there are any.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from diffusers import ModelMixin
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map_only

from mdgen.training.task import Task


def sharded_twin(task: Task, device: torch.device, processes: int) -> Task:
    """A task of the same samples and losses whose networks are spread over all processes, block by block."""
    twin = copy.copy(task)
    for name, value in vars(task).items():
        if isinstance(value, dict):  # such as hooks, which are not to be shared
            setattr(twin, name, copy.copy(value))
    twin._modules = copy.deepcopy(task._modules)
    twin.to(device)
    mesh = init_device_mesh(device.type, (processes,))
    for block in blocks(twin):
        fully_shard(block, mesh=mesh)
    fully_shard(twin, mesh=mesh)
    return twin


def blocks(task: Task) -> list[nn.Module]:
    """The repeated parts of a task's networks: members of their models' `ModuleList`s and `Sequential`s."""
    lists = [
        module
        for model in task.children()
        if isinstance(model, ModelMixin)
        for module in model.children()
        if isinstance(module, nn.ModuleList | nn.Sequential)
    ]
    return [block for members in lists for block in members]


def whole(tree: Any) -> Any:
    """The tree with every sharded tensor put together from all processes, each of which has to call this."""
    return tree_map_only(DTensor, DTensor.full_tensor, tree)


def share_of(value: Tensor, example: Tensor) -> Tensor:
    """This process's share of a whole `value`, cut as `example` is; as it is where that is not sharded."""
    if not isinstance(example, DTensor) or value.shape != example.shape:
        return value
    return distribute_tensor(value.to(example.device), example.device_mesh, example.placements)
