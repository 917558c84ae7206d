"""The loop: exact resume, signals, time budgets, settings that may not change, and what it does about bad numbers."""

import json
import os
import shutil
import signal
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from mdgen.config import TrainingConfig
from mdgen.errors import MachineError, MdgenError
from mdgen.training.checkpoint import checkpoints, load_newest_checkpoint, save_checkpoint
from mdgen.training.journal import read_metrics
from mdgen.training.loop import PROBE_STEPS
from mdgen.training.schedule import Budget, batch_indices, learning_rate_factor
from mdgen.training.signals import Interrupted
from tests.training.toys import CONFIG, PROCESSES, Line, fit, fit_averages, fit_slowly, same


def changed(**values: object) -> TrainingConfig:
    return TrainingConfig.model_validate({**CONFIG.model_dump(), **values})


def log(run: Path) -> str:
    return (run / "logs" / "line" / "metrics.jsonl").read_text()


def test_a_process_killed_at_random_moments_ends_as_one_that_was_not(tmp_path) -> None:
    """kill -9, the same command again, six times over: weights, optimizer, averages and log, bit for bit."""
    run, started = tmp_path / "killed", PROCESSES.Event()
    for moment in np.random.default_rng(0).uniform(0, 0.6, 6):
        started.clear()
        process = PROCESSES.Process(target=fit_slowly, args=(run, 0.05, started))
        process.start()
        started.wait()
        time.sleep(moment)
        process.kill()
        process.join()
    process = PROCESSES.Process(target=fit_slowly, args=(run, 0, started))
    process.start()
    process.join()
    assert process.exitcode == 0
    whole = tmp_path / "whole"
    fit(whole)
    states = [load_newest_checkpoint(r / "checkpoints" / "line") for r in (run, whole)]
    assert states[0] is not None
    assert json.dumps(states[0], default=lambda t: t.tolist()) == json.dumps(states[1], default=lambda t: t.tolist())
    assert log(run) == log(whole)


def test_an_interrupted_run_says_how_to_go_on_and_ends_as_a_whole_one(tmp_path) -> None:
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        run = tmp_path / str(code)

        def told_to_stop(progress: float, number: int = number) -> bool:
            if progress == 4 / 12:
                os.kill(os.getpid(), number)
            return False

        with pytest.raises(Interrupted, match="at step 6 of 12, checkpoint saved; give the same command") as stopped:
            fit(run, Line(poison=told_to_stop))
        assert stopped.value.exit_code == code
        resumed = fit(run)
        assert len(resumed.seen) < CONFIG.steps
        assert same(resumed, fit(tmp_path / "whole"))
        assert log(run) == log(tmp_path / "whole")


def test_a_second_signal_stops_at_once() -> None:
    from mdgen.training.signals import StopSignal

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in jobs of the background
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


class FakeClock:
    """A clock that only moves when it is told to, in the place of the one that budgets are kept by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        for module in ("loop", "schedule"):
            monkeypatch.setattr(f"mdgen.training.{module}.time", self)

    def monotonic(self) -> float:
        return self.now


class Timed(Line):
    """A step takes a second by the clock, and `later_s` of them from visit `slower_from` on."""

    def __init__(self, clock: FakeClock, slower_from: int = 10**9, later_s: float = 1.0) -> None:
        super().__init__()
        self.clock, self.slower_from, self.later_s = clock, slower_from, later_s

    def forward(self, batch, progress):
        self.clock.now += 1.0 if len(self.seen) < self.slower_from else self.later_s
        return super().forward(batch, progress)


LONG = changed(steps=10000, checkpoint_every=100, ema_profiles=())


def fitted_steps(run: Path) -> int:
    state = load_newest_checkpoint(run / "checkpoints" / "line")
    assert state is not None
    assert state["position"]["done"] == state["position"]["steps"]
    return state["position"]["steps"]


def test_a_schedule_shortened_to_the_time_there_is_equals_one_of_that_length(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        planned = fit(tmp_path / "planned", Timed(FakeClock(patch)), LONG, Budget(1, 0.0))
    steps = fitted_steps(tmp_path / "planned")
    assert steps == 60 - 3 - PROBE_STEPS
    assert same(planned, fit(tmp_path / "plain", config=changed(steps=steps, ema_profiles=())))


def test_a_schedule_whose_steps_turn_out_slower_is_cut_again_and_ends_in_time_annealed(tmp_path, monkeypatch) -> None:
    for later_s, least in ((1.2, 42), (1.8, 28), (40.0, 5)):
        with monkeypatch.context() as patch:
            clock = FakeClock(patch)
            fit(tmp_path / str(later_s), Timed(clock, slower_from=10, later_s=later_s), LONG, Budget(1, 0.0))
        assert clock.now < (60 if later_s < 2 else 60 + 2 * later_s)
        steps = fitted_steps(tmp_path / str(later_s))
        assert least < steps < 53
        if later_s < 2:
            lines = map(json.loads, log(tmp_path / str(later_s)).splitlines())
            rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
            assert rates[-1] < 0.4 * max(rates)


def test_a_run_cut_on_its_way_goes_on_after_a_kill_as_if_nothing_had_happened(tmp_path, monkeypatch) -> None:
    config = changed(steps=10000, checkpoint_every=1, ema_profiles=())
    with monkeypatch.context() as patch:
        whole = fit(tmp_path, Timed(FakeClock(patch), slower_from=10, later_s=1.5), config, Budget(1, 0.0))
    shutil.rmtree(checkpoints(tmp_path / "checkpoints" / "line")[-1])
    assert same(fit(tmp_path, config=config), whole)


def test_a_schedule_is_fitted_to_its_time_also_by_the_command_after_one_killed_before_it_was(
    tmp_path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mdgen.training.loop.Loop._step_s", Mock(side_effect=ConnectionError))
        with pytest.raises(ConnectionError):
            fit(tmp_path, config=LONG, budget=Budget(1, 0.0))
    with monkeypatch.context() as patch:
        fit(tmp_path, Timed(FakeClock(patch)), LONG, Budget(1, 0.0))
    assert fitted_steps(tmp_path) < 60


def test_when_time_is_up_a_run_that_goes_on_stops_with_a_checkpoint(tmp_path) -> None:
    def power_cut(progress: float) -> bool:
        if progress > 0.4:
            raise ConnectionError
        return False

    with pytest.raises(ConnectionError):
        fit(tmp_path / "late", Line(poison=power_cut))
    for step in (4, 5):
        with pytest.raises(Interrupted, match=f"time is up at step {step} of 12") as stopped:
            fit(tmp_path / "late", budget=Budget(1, time.monotonic() - 100))
        assert stopped.value.exit_code == 143
    assert same(fit(tmp_path / "late"), fit(tmp_path / "whole"))


def test_data_order_depends_on_seed_and_step_alone_and_every_epoch_shows_all() -> None:
    straight = np.concatenate([batch_indices(7, 3, 5, step) for step in range(14)])
    for epoch in straight.reshape(6, 7):
        assert sorted(epoch) == list(range(7))
    assert not np.array_equal(straight[:7], straight[7:14])
    assert np.array_equal(batch_indices(7, 3, 5, 9), straight[27:30])


def test_a_changed_setting_is_shown_and_refused_unless_it_changes_nothing(tmp_path) -> None:
    fit(tmp_path, network={"width": 8})
    with pytest.raises(MdgenError, match=r"network\.width was 8, is 9"):
        fit(tmp_path, network={"width": 9})
    with pytest.raises(MdgenError, match=r"training\.steps was 12, is 13"):
        fit(tmp_path, config=changed(steps=13), network={"width": 8})
    fit(tmp_path, config=changed(checkpoint_every=5, keep_checkpoints=1, micro_batch_size=1), network={"width": 8})


def test_the_learning_rate_warms_up_and_anneals() -> None:
    config = TrainingConfig(steps=100, warmup=0.1, final_learning_rate=0.02)
    factors = [learning_rate_factor(config, step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == pytest.approx(1)
    assert factors[-1] == pytest.approx(0.02, abs=0.002)
    assert factors[9:] == sorted(factors[9:], reverse=True)


def test_a_step_with_bad_numbers_is_skipped_and_its_samples_are_named(tmp_path, capsys) -> None:
    task = fit(tmp_path, Line(poison=lambda progress: progress == 7 / 12))
    assert all(torch.isfinite(p).all() for p in task.parameters())
    events = [json.loads(line) for line in log(tmp_path).splitlines() if "event" in line]
    samples = ", ".join(map(str, batch_indices(7, 4, 1, 7)))
    message = f"total, gradient_norm/line not finite, step skipped; its samples: {samples}"
    assert events == [{"step": 7, "event": message}]
    assert "step skipped" in capsys.readouterr().err
    state = load_newest_checkpoint(tmp_path / "checkpoints" / "line")
    assert state is not None
    assert state["averages"]["updates"] == 11


def test_samples_are_called_by_their_names_or_else_their_numbers() -> None:
    task = Line()
    assert task.sample_names(np.array([2, 0])) == ["2", "0"]
    task.names = list("abcdefg")
    assert task.sample_names(np.array([2, 0])) == ["c", "a"]


def test_lasting_bad_numbers_lead_back_to_the_last_checkpoint_at_lower_rates_and_then_to_an_end(tmp_path) -> None:
    config = changed(steps=24, checkpoint_every=12)
    with pytest.raises(MachineError, match="not finite at step 20, also after 3 returns") as failed:
        fit(tmp_path / "lost", Line(poison=lambda progress: progress >= 15 / 24), config)
    assert failed.value.exit_code == 4
    text = log(tmp_path / "lost")
    assert [json.loads(line)["event"] for line in text.splitlines() if "back to" in line] == [
        "back to step 12, learning rate times 0.125"  # earlier returns were on lines that the next one took back
    ]
    state = load_newest_checkpoint(tmp_path / "lost" / "checkpoints" / "line")
    assert state is not None
    assert state["position"]["done"] == 12
    assert all(torch.isfinite(value).all() for value in state["task"].values())


def test_a_lower_rate_saves_a_run_that_a_high_one_would_lose(tmp_path) -> None:
    class Fragile(Line):
        def forward(self, batch, progress):
            losses = super().forward(batch, progress)
            rate = self.engine_rate()
            return {"total": losses["total"] * (float("nan") if progress >= 0.5 and rate > 0.003 else 1)}

    task = Fragile()
    config = changed(steps=24, checkpoint_every=6, final_learning_rate=1.0, warmup=0.0)
    import mdgen.training.loop as loop

    made: list[loop.Loop] = []

    class Spied(loop.Loop):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    task.engine_rate = lambda: 0.01 * 0.5 ** made[0].position.rollbacks
    original, loop.Loop = loop.Loop, Spied
    try:
        fit(tmp_path, task, config)
    finally:
        loop.Loop = original
    assert made[0].position.rollbacks == 2
    assert {
        row["learning_rate"]
        for row in read_metrics(tmp_path / "logs" / "line" / "metrics.jsonl")[1:]
        if "learning_rate" in row and row["step"] >= 20
    } == {0.0025}


def test_weights_that_are_not_finite_are_never_saved(tmp_path) -> None:
    task = Line()
    task.layer[0].weight.data.fill_(float("nan"))
    with pytest.raises(MachineError, match="non-finite"):
        fit(tmp_path / "bad", task)
    assert not checkpoints(tmp_path / "bad" / "checkpoints" / "line")


def test_the_best_checkpoint_is_kept_and_used_where_asked(tmp_path) -> None:
    class Worsening(Line):
        calls = 0

        def validation_loss(self) -> float:
            self.calls += 1
            return [9.0, 1.0, 2.0, 3.0, 4.0][min(self.calls - 1, 4)]

    best = fit(tmp_path / "best", Worsening(), changed(final="best", keep_checkpoints=1))
    names = [c.name for c in checkpoints(tmp_path / "best" / "checkpoints" / "line")]
    assert names == ["step-00000003", "step-00000012"]
    state = load_newest_checkpoint(tmp_path / "best" / "checkpoints" / "line")
    assert state is not None
    saved = load_newest_checkpoint(tmp_path / "best" / "checkpoints" / "line")
    assert saved is not None
    from mdgen.training.checkpoint import load_best_checkpoint

    chosen = load_best_checkpoint(tmp_path / "best" / "checkpoints" / "line")
    assert chosen is not None
    for parameter, value in zip(best.parameters(), chosen["averages"]["shadows"][0], strict=True):
        assert torch.equal(parameter.data, value)


def test_a_run_writes_curves_and_tensorboard(tmp_path) -> None:
    fit(tmp_path)
    assert (tmp_path / "figures" / "line_curves.png").stat().st_size > 5000
    events = list((tmp_path / "logs" / "line").glob("events.out.tfevents*"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(events[0]))
    board.Reload()
    assert {"total", "gradient_norm/line", "learning_rate", "images/s", "GB", "validation_loss"} <= set(
        board.Tags()["scalars"]
    )


def test_a_run_that_cannot_write_fails_at_its_first_step_with_one_line(tmp_path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    task = Line()
    with pytest.raises(MachineError, match="not written") as failed:
        fit(tmp_path, task)
    assert failed.value.exit_code == 4
    assert not task.seen


def test_averages_of_other_lengths_come_out_of_the_run(tmp_path) -> None:
    averages = fit_averages(tmp_path, Line())
    assert len(averages.shadows) == 2
    assert [c.name for c in checkpoints(tmp_path / "averages" / "line")][-1] == "step-00000012"


def test_only_unusable_checkpoints_are_an_error_never_a_fresh_start(tmp_path) -> None:
    fit(tmp_path)
    for checkpoint in checkpoints(tmp_path / "checkpoints" / "line"):
        (checkpoint / "task.safetensors").write_bytes(b"torn")
    with pytest.raises(MdgenError, match="none of 2 checkpoints is usable"):
        fit(tmp_path)
    save_checkpoint(tmp_path / "x", 0, {"a": 1})
