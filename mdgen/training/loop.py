"""The one training loop. It knows steps, optimizers, averages and checkpoints; what a loss is, the task knows.

Randomness is a function of (seed, step) and data order of (seed, epoch), so a run that was killed and started again
with the same command continues as if nothing had happened, bit for bit on a CPU.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from mdgen.config import TrainingConfig
from mdgen.device import autocast
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import Progress
from mdgen.training.checkpoint import load_newest_checkpoint, save_checkpoint


class Task(Protocol):
    """What is trained: an `nn.Module` that holds the networks and, called with sample indices, returns its losses.

    parts: the optimizers to step in turn, each with its parameters and learning rate. A part of `active_parts` at a
    step gets `losses = task(part, indices, progress, generator)` and its `losses["total"]` is minimised.
    `progress` is the share of the run done, in [0, 1).
    """

    def __len__(self) -> int: ...

    def parts(self) -> Mapping[str, tuple[list[nn.Parameter], float]]: ...

    def active_parts(self, progress: float) -> list[str]: ...


class Interrupted(MdgenError):
    """Training was told to stop; the checkpoint is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def train(
    task: Any,
    config: TrainingConfig,
    *,
    name: str,
    seed: int,
    run: Path,
    settings: dict[str, Any],
    device: str = "auto",
    progress: Progress,
) -> None:
    """Train `task` in place to the end of `config.steps`; at return it holds the averaged (EMA) weights.

    settings: whatever decides the result (config, data fingerprint); a resumed run must have equal ones.
    Writes checkpoints to `run/checkpoints/<name>` and one line per 10 steps to `run/logs/<name>.jsonl`.
    """
    loop = _Loop(task, config, name=name, seed=seed, run=run, settings=settings, device=device)
    start = loop.resume()
    with progress.task(name, config.steps, start) as advance, _StopSignal() as stop:
        for step in range(start, config.steps):
            losses = loop.step(step)
            advance(1, {k: v for k, v in losses.items() if k != "total"} if step % 10 == 0 else None)
            done = step + 1
            if done % config.checkpoint_every == 0 or done == config.steps or stop.number:
                loop.save(done)
            if stop.number and done < config.steps:
                raise Interrupted(f"{name} stopped at step {done}; give the same command to go on", stop.number)
    loop.finish()


def batch_indices(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """int64 [batch_size]: the samples of a step. An epoch is a permutation of (seed, epoch), walked through."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // count
    orders = {epoch: np.random.default_rng([seed, 1, int(epoch)]).permutation(count) for epoch in np.unique(epochs)}
    return np.array([orders[epoch][position % count] for epoch, position in zip(epochs, positions, strict=True)])


def learning_rate_factor(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine to `final_learning_rate` (Loshchilov & Hutter 2017, eq. 5)."""
    warmup = max(1, round(config.warmup * config.steps))
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, config.steps - warmup)
    return config.final_learning_rate + (1 - config.final_learning_rate) * 0.5 * (1 + math.cos(math.pi * share))


class _Loop:
    """The state of one training: task, optimizers, average, random numbers, logs."""

    def __init__(
        self,
        task: Any,
        config: TrainingConfig,
        *,
        name: str,
        seed: int,
        run: Path,
        settings: dict[str, Any],
        device: str,
    ) -> None:
        self.config, self.seed, self.settings = config, seed, settings
        self.folder = run / "checkpoints" / name
        self.log_file = run / "logs" / f"{name}.jsonl"
        self.accelerator = Accelerator(cpu=device == "cpu")
        self.task = task
        self.optimizers = {
            part: torch.optim.AdamW(params, lr=rate, betas=config.betas, weight_decay=config.weight_decay)
            for part, (params, rate) in task.parts().items()
        }
        self.rates = {part: rate for part, (_, rate) in task.parts().items()}
        self.model = self.accelerator.prepare(task)
        self.optimizers = {part: self.accelerator.prepare(o) for part, o in self.optimizers.items()}
        half_life = config.ema_half_life * config.steps
        self.ema = EMAModel(task.parameters(), decay=0.5 ** (1 / half_life)) if half_life >= 1 else None
        self.log_lines: list[str] = []
        self.started = time.monotonic()

    def step(self, step: int) -> dict[str, float]:
        """One optimizer step of every active part on one batch; returns the named losses."""
        indices = batch_indices(len(self.task), self.config.batch_size, self.seed, step)
        share = step / self.config.steps
        torch.manual_seed(_mix(self.seed, step))  # dropout
        generator = torch.Generator().manual_seed(_mix(self.seed + 1, step))
        values: dict[str, float] = {}
        self.model.train()
        for part in self.task.active_parts(share):
            optimizer = self.optimizers[part]
            for group in optimizer.param_groups:
                group["lr"] = self.rates[part] * learning_rate_factor(self.config, step)
            with autocast(self.config.precision, self.accelerator.device):
                losses: dict[str, Tensor] = self.model(part, indices, share, generator)
            self._check_finite(losses, step)
            self.accelerator.backward(losses["total"])
            self.accelerator.clip_grad_norm_(self.task.parts()[part][0], self.config.clip_norm)
            optimizer.step()
            for each in self.optimizers.values():
                each.zero_grad(set_to_none=True)
            values |= {k if k != "total" else f"{part}_total": v.item() for k, v in losses.items()}
        if self.ema is not None:
            self.ema.step(self.task.parameters())
        if step % 10 == 0:
            self.log_lines.append(json.dumps({"step": step, **{k: round(v, 6) for k, v in values.items()}}))
        return values

    def save(self, done: int) -> None:
        """A checkpoint after `done` steps, and the log up to there."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "done": done,
            "settings": self.settings,
            "task": self.task.state_dict(),
            "optimizers": {part: optimizer.state_dict() for part, optimizer in self.optimizers.items()},
            "ema": None if self.ema is None else self.ema.state_dict(),
            "log": self.log_lines,
        }
        save_checkpoint(self.folder, done, state, self.config.keep_checkpoints)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.log_file.write_text("\n".join(self.log_lines) + "\n")

    def resume(self) -> int:
        """Load the newest checkpoint, if any, and return the number of steps it had done."""
        state = load_newest_checkpoint(self.folder)
        if state is None:
            return 0
        _require_equal(state["settings"], self.settings, self.folder)
        self.task.load_state_dict(state["task"])
        for part, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][part])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
            self.ema.to(device=self.accelerator.device)
        self.log_lines = state["log"]
        return state["done"]

    def finish(self) -> None:
        if self.ema is not None:
            self.ema.copy_to(self.task.parameters())
        self.task.eval()

    def _check_finite(self, losses: dict[str, Tensor], step: int) -> None:
        bad = [name for name, value in losses.items() if not torch.isfinite(value)]
        if bad:
            raise MachineError(
                f"{self.folder}: {', '.join(bad)} became non-finite at step {step}; the last checkpoint is intact: "
                "start again with a lower learning_rate in a new run folder"
            )


def _mix(seed: int, step: int) -> int:
    """A 63-bit seed for (seed, step)."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _require_equal(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    differences = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    if differences:
        raise MdgenError(
            f"{folder}: was trained with other settings ({'; '.join(differences)[:400]}); "
            "use the same ones to go on, or a new --run"
        )


class _StopSignal:
    """Turns SIGINT and SIGTERM into a number that the loop reads between two steps."""

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _StopSignal:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._remember)
            except ValueError:  # only the main thread may: elsewhere signals keep their meaning
                break
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
