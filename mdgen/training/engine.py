"""One optimizer step: batch, micro-batches, precision, clipping, processes; nothing non-finite is applied."""

from __future__ import annotations

import math
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, broadcast_object_list
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from diffusers import ModelMixin
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mdgen.config import TrainingConfig
from mdgen.device import autocast, resolve_device, resolve_precision
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import warn
from mdgen.training.schedule import batch_indices, mix_seed
from mdgen.training.sharding import sharded_twin, share_of, whole
from mdgen.training.task import Batch, Task

#: Ways of launching that leave each process a whole network.
DATA_PARALLEL = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


@dataclass(frozen=True)
class StepResult:
    """Means over the global batch. applied: weights moved. stop: some process was told to stop.

    lost: losses or gradients were not finite, and not only because fp16 is still looking for its scale.
    """

    values: dict[str, float]
    applied: bool
    lost: bool
    stop: int


class Engine:
    """The networks of a task, their optimizer and the hardware they run on."""

    def __init__(self, task: Task, config: TrainingConfig, seed: int, device: str) -> None:
        self.config, self.seed = config, seed
        self.accelerator = Accelerator(
            cpu=resolve_device(device) == "cpu",
            mixed_precision="no",
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=len(task.parts()) > 1)],
        )
        if self.accelerator.distributed_type not in DATA_PARALLEL:
            raise MdgenError(
                f"{self.accelerator.distributed_type}: launch plain data parallelism, for example `accelerate launch "
                "--multi_gpu -m cli ...`; to shard the network over the processes add "
                "--set denoiser.training.sharded=true"
            )
        self.device, self.processes = self.accelerator.device, self.accelerator.num_processes
        if self.processes > config.batch_size:
            self.accelerator.wait_for_everyone()  # so that nobody loses the others before it has said why
            raise MdgenError(f"batch_size {config.batch_size} is too small for {self.processes} processes; raise it")
        if config.sharded and self.processes > 1 and self.device.type == "cpu" and torch.__version__ < "2.9":
            raise MdgenError(f"sharded on a CPU needs torch 2.9 or later, here is {torch.__version__}; leave it out")
        local = math.ceil(config.batch_size / self.processes)
        self.micro_batch_size = local if config.micro_batch_size == "auto" else min(config.micro_batch_size, local)
        if self.device.type == "cuda":
            task.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.whole_task, self.sharded = task, config.sharded and self.processes > 1
        self.task = sharded_twin(task, self.device, self.processes) if self.sharded else task
        self.parts = dict(self.task.parts())
        self.parameters = [p for params, _ in self.parts.values() for p in params]
        if config.gradient_checkpointing:
            checkpoint_activations(self.task)
        groups = [{"params": params, "lr": rate, "peak": rate} for params, rate in self.parts.values()]
        optimizer = torch.optim.AdamW(groups, betas=config.betas, weight_decay=config.weight_decay, fused=True)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.model = self.task if self.sharded else self.accelerator.prepare_model(self.task)
        if config.compile:
            self.model.compile()
        half = resolve_precision(config.precision, self.device) == torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=half)
        self.batches = Batches(task, config.batch_size, seed, ahead=self.device.type == "cuda")

    def step(self, step: int, progress: float, rate: float, stop: int = 0) -> StepResult:
        """One optimizer step at `rate` times the peak learning rates, if its losses and gradients are finite.

        stop: this process's wish, shared with all. Raises `MachineError` where memory runs out at one sample a time.
        """
        batch = self.batches(step)
        while True:
            try:
                losses = self._backward(batch, step, progress)
                break
            except RuntimeError as error:
                self.optimizer.zero_grad()
                self._halve_or_raise(error)
        self.scaler.unscale_(self.optimizer.optimizer)
        norms = {
            f"gradient_norm/{part}": whole(self.accelerator.clip_grad_norm_(params, self.config.clip_norm))
            for part, (params, _) in self.parts.items()
        }
        values, stop = self._shared({**losses, **norms}, stop)
        applied = all(math.isfinite(values[name]) for name in ("total", *norms))
        lost = not applied and not (math.isfinite(values["total"]) and self._scale_may_fall())
        if applied:
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak"] * rate
            self.scaler.step(self.optimizer.optimizer)
            self.task.end_step(self.accelerator.gather)
        self.scaler.update()
        self.optimizer.zero_grad()
        values["learning_rate"] = self.optimizer.param_groups[0]["peak"] * rate
        return StepResult(values, applied, lost, stop)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a checkpoint needs, whole; each process has to call this."""
        return {
            "task": whole(self.task.state_dict()),
            "optimizer": whole(self.optimizer.state_dict()),
            "scaler": self.scaler.state_dict(),
            "micro_batch_size": self.micro_batch_size,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        own = self.task.state_dict()
        self.task.load_state_dict({name: share_of(value, own[name]) for name, value in state["task"].items()})
        moments = {
            number: {name: _like(value, self.parameters[number]) for name, value in kept.items()}
            for number, kept in state["optimizer"]["state"].items()
        }
        self.optimizer.load_state_dict({**state["optimizer"], "state": moments})
        if state["scaler"]:  # none where it was trained without fp16, which `precision: auto` leaves to the device
            self.scaler.load_state_dict(state["scaler"])
        if self.config.micro_batch_size == "auto":
            self.micro_batch_size = min(self.micro_batch_size, state["micro_batch_size"])

    def gather(self) -> None:
        """Bring the task given up to date where a sharded twin is trained; each process has to call this."""
        if self.sharded:
            self.whole_task.to(self.device).load_state_dict(whole(self.task.state_dict()))

    def agreed(self, value: Any) -> Any:
        """What the first process has, in all of them: their clocks differ."""
        return broadcast_object_list([value])[0]

    def _scale_may_fall(self) -> bool:
        return self.scaler.is_enabled() and self.scaler.get_scale() > 1

    def _backward(self, batch: Batch, step: int, progress: float) -> dict[str, Tensor]:
        """Gradients of the mean over the global batch; returns this process's share of each loss, times processes."""
        rows = np.array_split(np.arange(self.config.batch_size), self.processes)[self.accelerator.process_index]
        pieces = [rows[i : i + self.micro_batch_size] for i in range(0, len(rows), self.micro_batch_size)]
        sums: dict[str, Tensor] = {}
        self.model.train()
        self.task.begin_step()
        for number, piece in enumerate(pieces):
            micro = {key: self._moved(value[piece[0] : piece[-1] + 1]) for key, value in batch.items()}
            share = len(piece) * self.processes / self.config.batch_size
            seed_dropout(mix_seed(self.seed, step, self.accelerator.process_index, number), self.device)
            with nullcontext() if number == len(pieces) - 1 else self.accelerator.no_sync(self.model):
                with autocast(self.config.precision, self.device):
                    losses = self.model(micro, progress)
                self.accelerator.backward(self.scaler.scale(losses["total"] * share))
            for key, value in losses.items():
                sums[key] = sums.get(key, 0) + value.detach().float() * share
        return sums

    def _moved(self, value: Tensor) -> Tensor:
        return value.to(self.device, non_blocking=True)

    def _shared(self, values: dict[str, Any], stop: int) -> tuple[dict[str, float], int]:
        """Means over processes, and the strongest wish to stop; one wait for the device."""
        numbers = [torch.as_tensor(v, device=self.device).float() for v in (*values.values(), stop)]
        table = self.accelerator.gather(torch.stack(numbers)[None])
        means, stops = table.mean(dim=0).tolist(), table[:, -1].max()
        return dict(zip(values, means, strict=False)), int(stops)

    def _halve_or_raise(self, error: RuntimeError) -> None:
        """After running out of memory: half as many samples at a time, with the same gradients."""
        if not should_reduce_batch_size(error):
            raise error
        half = self.micro_batch_size // 2
        if half == 0 or self.processes > 1 or self.config.micro_batch_size != "auto":
            raise MachineError(
                f"out of memory at {self.micro_batch_size} samples a time; the last checkpoint is intact: give the "
                f"same command with --set ...training.micro_batch_size={max(1, half)} or memory_saver=true"
            ) from error
        clear_device_cache(garbage_collection=True)
        warn(f"out of memory at {self.micro_batch_size} samples a time; going on with {half}, same batch in all")
        self.micro_batch_size = half


class Batches:
    """The global batch of a step. With `ahead`, for a GPU, the next one is drawn in a thread while this one computes;
    on a CPU that thread would take the cores from the computation, and the drawing is a hundredth of a step."""

    def __init__(self, task: Task, batch_size: int, seed: int, ahead: bool = False) -> None:
        self.task, self.batch_size, self.seed, self.ahead = task, batch_size, seed, ahead
        self._pool = ThreadPoolExecutor(1) if ahead else None
        self._coming: dict[int, Future[Batch]] = {}

    def __call__(self, step: int) -> Batch:
        if self._pool is None:
            return self._draw(step)
        coming = self._coming.get(step) or self._pool.submit(self._draw, step)
        self._coming = {step + 1: self._pool.submit(self._draw, step + 1)}
        return coming.result()

    def indices(self, step: int) -> np.ndarray:
        """int64 [batch_size]: the samples of a step."""
        return batch_indices(len(self.task), self.batch_size, self.seed, step)

    def _draw(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(mix_seed(self.seed + 1, step))
        batch = self.task.draw(self.indices(step), generator)
        return {key: value.pin_memory() for key, value in batch.items()} if self.ahead else batch


def _like(moment: Tensor, parameter: nn.Parameter) -> Tensor:
    """A moment as the fused optimizer needs it: cut as the parameter is, and in its order of dimensions in memory."""
    share = share_of(moment, parameter)
    return torch.empty_like(parameter).copy_(share) if share.shape == parameter.shape else share


def seed_dropout(seed: int, device: torch.device) -> None:
    """Seed the generator that dropout on `device` draws from.

    Not `torch.manual_seed`: where a GPU build sees no GPU, that notes every call for later, in time and memory.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def checkpoint_activations(task: Task) -> None:
    """Compute activations of the task's models again in the backward pass instead of keeping them (Chen et al. 2016).

    diffusers' own networks by their switch, others block by block: members of a `ModuleList` or `Sequential`.
    """
    for model in task.children():
        if getattr(model, "_supports_gradient_checkpointing", False):
            model.enable_gradient_checkpointing()
        elif isinstance(model, ModelMixin):
            for module in model.children():
                if isinstance(module, nn.ModuleList | nn.Sequential):
                    for block in module:
                        block.forward = _recomputed(block.forward)  # type: ignore[method-assign]


def _recomputed(forward: Any) -> Any:
    def run(*inputs: Tensor) -> Tensor:
        return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)

    return run
