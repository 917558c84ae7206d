"""The one training loop. It knows steps, averages, checkpoints and troubles; what a loss is, the task knows.

Randomness is a function of (seed, step) and data order of (seed, epoch), so a run that was killed and started again
with the same command continues as if nothing had happened, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mdgen.config import TrainingConfig
from mdgen.device import autocast
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import Progress, warn
from mdgen.training.averages import Averages, HalfLife, PowerFunction, Profile
from mdgen.training.checkpoint import load_best_checkpoint, load_newest_checkpoint, save_checkpoint
from mdgen.training.engine import Engine, StepResult
from mdgen.training.journal import LOG_EVERY, Journal
from mdgen.training.schedule import Budget, Pace, learning_rate_factor
from mdgen.training.settings import binding_settings, require_equal
from mdgen.training.signals import TIME_UP, Interrupted, StopSignal
from mdgen.training.task import Task

#: Steps lost to non-finite numbers between two checkpoints before the run rolls back, and how often it may.
MAX_LOST, MAX_ROLLBACKS = 5, 3
#: Snapshots of the power-function averages over a run.
SNAPSHOTS = 8
#: Steps timed, at least, to fit a schedule to a time budget.
PROBE_STEPS = 4
#: Share of the run at which every loss that starts later has started.
LATE = 0.999


@dataclass
class Position:
    """Where a run is. steps: the schedule's length, less than configured where time was short.

    lost: steps not applied since the last checkpoint. rollbacks: each halved the learning rate.
    """

    done: int
    steps: int
    lost: int = 0
    rollbacks: int = 0


def train(
    task: Task,
    config: TrainingConfig,
    *,
    name: str,
    seed: int,
    run: Path,
    settings: dict[str, Any],
    device: str = "auto",
    progress: Progress,
    budget: Budget | None = None,
) -> Averages:
    """Train `task` in place to the end of its schedule; at return it holds the averaged (EMA) weights.

    settings: whatever else decides the result (networks, data fingerprint); a resumed run must have equal ones.
    Writes `run/checkpoints/<name>`, `run/logs/<name>` and `run/figures`; returns the averages, for other lengths.
    Raises `Interrupted` when told to stop or out of time, `MachineError` when the machine or the numbers give out; the
    same command goes on from the last checkpoint.
    """
    loop = Loop(task, config, name=name, seed=seed, run=run, settings=settings, device=device, progress=progress)
    try:
        if not loop.resume():
            loop.begin(budget)
        loop.run(budget)
        loop.finish()
    finally:
        loop.journal.close()
    return loop.averages


class Loop:
    """The state of one training, and the order in which things happen to it."""

    def __init__(
        self, task: Task, config: TrainingConfig, *, name: str, seed: int, run: Path,
        settings: dict[str, Any], device: str, progress: Progress,
    ) -> None:  # fmt: skip
        self.task, self.config, self.name, self.progress = task, config, name, progress
        self.settings = binding_settings(seed, config, settings)
        self.folder, self.snapshots = run / "checkpoints" / name, run / "averages" / name
        self.engine = Engine(task, config, seed, device)
        self.main = self.engine.accelerator.is_main_process
        self.journal = Journal(run, name, config.batch_size, self.main)
        self.pace: Pace | None = None
        self._plan(Position(0, config.steps))

    def resume(self) -> bool:
        """Load the newest checkpoint; whether there is a step behind it, so that nothing is left to begin."""
        state = load_newest_checkpoint(self.folder)
        if state is None:
            return False
        require_equal(state["settings"], self.settings, self.folder)
        self._load(state)
        return self.position.done > 0

    def begin(self, budget: Budget | None) -> None:
        """Fit the schedule to the time there is, and prove at once that checkpoints can be written."""
        if self.config.final == "best" and self.task.validation_loss() is None:
            raise MdgenError(f"{self.name}: final=best needs validation data; give some rows the role val")
        self.journal.start(0, 0)
        started = time.monotonic()
        self.save()
        if budget is None:
            return
        save_s = time.monotonic() - started
        steps = budget.affordable_steps(self._step_s(budget), save_s, self.config.checkpoint_every, self.config.steps)
        self._shorten(steps)
        self.pace = Pace(budget, self.position.steps)
        self.save()

    def run(self, budget: Budget | None) -> None:
        """Steps until the schedule is done."""
        with self.progress.task(self.name, self.position.steps, self.position.done) as advance, StopSignal() as stop:
            while (before := self.position.done) < self.position.steps:
                late = budget is not None and budget.left_s <= 0
                result = self.step(stop.number or (TIME_UP if late else 0))
                if result.lost:
                    self._lost(before, result)
                fitted = self._keep_pace(result.stop)
                advance(self.position.done - before, self._log(before, result), self.position.steps)
                scheduled = self._keep(before)
                if result.stop and not fitted and self.position.done < self.position.steps:
                    if not scheduled:
                        self.save()
                    reason = "time is up" if result.stop == TIME_UP else "stopped"
                    where = f"{reason} at step {self.position.done} of {self.position.steps}, checkpoint saved"
                    raise Interrupted(f"{self.name}: {where}; give the same command to go on", result.stop)

    def step(self, stop: int = 0) -> StepResult:
        """One optimizer step and its averages."""
        position = self.position
        factor = learning_rate_factor(self.config, position.done, position.steps) * 0.5**position.rollbacks
        result = self.engine.step(position.done, position.done / position.steps, factor, stop)
        if result.applied:
            self.averages.update()
        position.done += 1
        return result

    def save(self, score: float | None = None) -> None:
        """A checkpoint of everything, after the lines of the journal up to here."""
        state = {
            "position": asdict(self.position),
            "settings": self.settings,
            "averages": self.averages.state_dict(),
            **self.engine.state_dict(),
        }
        if not all(bool(torch.isfinite(weight).all()) for weight in state["task"].values()):
            raise MachineError(f"{self.folder}: weights became non-finite; the last checkpoint is intact")
        if self.main:
            state["journal"] = self.journal.sync()
            save_checkpoint(self.folder, self.position.done, state, self.config.keep_checkpoints, score)
        self.engine.accelerator.wait_for_everyone()

    def finish(self) -> None:
        """The averaged weights, of the last step or of the best checkpoint, in the place of the others."""
        if self.config.final == "best":
            best = load_best_checkpoint(self.folder)
            if best is not None:
                self.engine.load_state_dict(best)
                self.averages.load_state_dict(best["averages"])
        if self.averages.shadows:
            self.averages.copy_to_parameters(self.averages.shadows[0])
        self.engine.gather()
        self.averages.parameters = [p for parameters, _ in self.task.parts().values() for p in parameters]
        self.task.eval()

    def _plan(self, position: Position) -> None:
        """Take a position; the length of the average follows from the length of the schedule."""
        self.position = position
        on_cpu = self.config.average_on_cpu and not self.engine.sharded
        self.averages = Averages(self.engine.parameters, self._profiles(), on_cpu)

    def _profiles(self) -> list[Profile]:
        share = self.config.ema_half_life
        fixed: list[Profile] = [HalfLife(share * self.position.steps)] if share else []
        return [*fixed, *map(PowerFunction, self.config.ema_profiles)]

    def _keep_pace(self, stop: int) -> bool:
        """Shorten a schedule that was fitted to a budget where steps were slower; whether that answers `stop`."""
        if self.pace is None:
            return False
        done, steps = self.position.done, self.position.steps
        if stop == TIME_UP or self.pace.due(done, steps):
            self._shorten(self.pace.affordable_steps(done, steps))
        return stop == TIME_UP

    def _shorten(self, steps: int) -> None:
        """As many steps in all as the first process says; learning rate and average follow from their number."""
        steps = self.engine.agreed(steps)
        if steps == self.position.steps:
            return
        self.position.steps = steps
        self.averages.profiles = self._profiles()
        self.progress.say(f"{self.name}: {steps} of {self.config.steps} steps fit into the time there is")

    def _load(self, state: dict[str, Any]) -> None:
        self.engine.load_state_dict(state)
        self._plan(Position(**state["position"]))
        self.averages.load_state_dict(state["averages"])
        self.journal.start(self.position.done, state["journal"])

    def _keep(self, before: int) -> bool:
        """What is due after a step: pictures, a snapshot of the averages, a checkpoint; whether there was one."""
        done, steps = self.position.done, self.position.steps
        if done <= before:  # rolled back
            return True
        if self.config.pictures_every and done % self.config.pictures_every == 0:
            with self._averaged():
                if self.main:
                    self.journal.pictures(done, self.task.pictures())
        if self.config.ema_profiles and done * SNAPSHOTS // steps > before * SNAPSHOTS // steps:
            snapshot = self.averages.snapshot()
            if self.main:
                save_checkpoint(self.snapshots, done, snapshot)
        scheduled = done % self.config.checkpoint_every == 0 or done == steps
        if scheduled:
            self.position.lost = 0
            self.save(self._validation_loss())
        return scheduled

    def _validation_loss(self) -> float | None:
        """Of the averaged weights; only the first process works it out."""
        with self._averaged():
            loss = self.task.validation_loss() if self.main else None
        if loss is not None:
            self.journal.write(self.position.done, {"validation_loss": loss})
        return loss

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        self.task.eval()
        precision = autocast(self.config.precision, self.engine.device)
        with torch.no_grad(), precision, self.averages.applied():
            self.engine.gather()
            yield

    def _log(self, step: int, result: StepResult) -> dict[str, float] | None:
        """A line now and then; returns what to show beside the bar."""
        if step % LOG_EVERY or not result.applied:
            return None
        self.journal.write(step, result.values)
        return {"loss": result.values["total"], **self.journal.speed(step)}

    def _lost(self, step: int, result: StepResult) -> None:
        """A step that was not applied; too many, and the run goes back to the last checkpoint at half the rate."""
        bad = [name for name, value in result.values.items() if not math.isfinite(value)]
        samples = self.task.sample_names(self.engine.batches.indices(step))
        self._event(step, f"{', '.join(bad)} not finite, step skipped; its samples: {', '.join(samples)}")
        self.position.lost += 1
        if self.position.lost <= MAX_LOST:
            return
        rollbacks = self.position.rollbacks + 1
        if rollbacks > MAX_ROLLBACKS:
            raise MachineError(
                f"{self.folder}: {', '.join(bad)} not finite at step {step}, also after {MAX_ROLLBACKS} returns to the "
                f"last checkpoint at lower rates; that one is intact. {self.journal.file} names the samples: look at "
                "them, or lower learning_rate in a new --run"
            )
        state = load_newest_checkpoint(self.folder)
        assert state is not None
        self._load(state)
        self.position.rollbacks = rollbacks
        self._event(self.position.done, f"back to step {self.position.done}, learning rate times {0.5**rollbacks:g}")

    def _event(self, step: int, message: str) -> None:
        self.journal.event(step, message)
        if self.main:
            warn(f"{self.name} step {step}: {message[:300]}")

    def _step_s(self, budget: Budget) -> float:
        """Seconds that a step takes late in the run, with all its losses; of steps that leave no trace.

        The median of the later half, for the first ones are slower.
        """
        state = copy.deepcopy(self.engine.state_dict())
        clock, more = [time.monotonic()], True
        while more:
            self.engine.step(len(clock) - 1, LATE, 0.0)
            clock.append(time.monotonic())
            timed = len(clock) - 1
            enough = not budget.needs_timing(clock[-1] - clock[0], timed, self.config.steps)
            more = timed < PROBE_STEPS or not self.engine.agreed(enough)
        self.engine.load_state_dict(state)
        return float(np.median(np.diff(clock)[len(clock) // 2 :]))
