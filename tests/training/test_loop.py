"""The loop: exact resume, checkpoints that are whole or skipped, settings that may not change, averages."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mdgen.config import TrainingConfig
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import Progress
from mdgen.training.checkpoint import load_newest_checkpoint, save_checkpoint
from mdgen.training.loop import batch_indices, learning_rate_factor, train


class Line(nn.Module):
    """Fits noisy numbers; uses every kind of randomness the loop hands out."""

    def __init__(self, poison_at: float = 2.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.poison_at = poison_at
        self.seen: list[np.ndarray] = []

    def __len__(self) -> int:
        return 7

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        return {"line": (list(self.parameters()), 0.01)}

    def active_parts(self, progress: float) -> list[str]:
        return ["line"]

    def forward(self, part: str, indices: np.ndarray, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        self.seen.append(indices)
        x = torch.from_numpy(indices).float()[:, None] + torch.randn(len(indices), 1, generator=generator)
        loss = (self.layer(x) - x).square().mean()
        return {"total": loss * (float("nan") if progress >= self.poison_at else 1)}


CONFIG = TrainingConfig(steps=12, batch_size=3, learning_rate=0.01, checkpoint_every=3, ema_half_life=0.2)


def fit(run: Path, task: nn.Module | None = None, config: TrainingConfig = CONFIG, **settings: object) -> nn.Module:
    task = task or Line()
    train(task, config, name="line", seed=1, run=run, settings=settings, device="cpu", progress=Progress(quiet=True))
    return task


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path) -> None:
    whole = fit(tmp_path / "whole")
    with pytest.raises(MachineError, match="non-finite at step 8"):
        fit(tmp_path / "torn", Line(poison_at=8 / 12))
    torn = fit(tmp_path / "torn")
    assert len(torn.seen) == 6  # steps 6 to 11: the last checkpoint was after 6
    for a, b in zip(whole.state_dict().values(), torn.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    logs = [(tmp_path / name / "logs" / "line.jsonl").read_text() for name in ("whole", "torn")]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0].splitlines()] == [0, 10]


def test_data_order_depends_on_seed_and_step_alone_and_every_epoch_shows_all() -> None:
    straight = np.concatenate([batch_indices(7, 3, 5, step) for step in range(14)])
    for epoch in straight.reshape(6, 7):
        assert sorted(epoch) == list(range(7))
    assert not np.array_equal(straight[:7], straight[7:14])
    assert np.array_equal(batch_indices(7, 3, 5, 9), straight[27:30])


def test_a_changed_setting_is_shown_and_refused(tmp_path) -> None:
    fit(tmp_path, width=8)
    with pytest.raises(MdgenError, match="width was 8, is 9"):
        fit(tmp_path, width=9)


def test_a_torn_or_altered_checkpoint_is_skipped_and_only_torn_ones_are_an_error(tmp_path, caplog) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, step, {"done": step, "weights": torch.ones(3)}, keep=2)
    state = tmp_path / "step-00000002" / "state.pt"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    newest = load_newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest["done"] == 1
    assert "sha256" in caplog.text
    (tmp_path / "step-00000001" / "manifest.json").unlink()
    with pytest.raises(MdgenError, match="none of 2 checkpoints"):
        load_newest_checkpoint(tmp_path)


def test_a_failed_save_leaves_the_earlier_checkpoint_and_no_partial_one(tmp_path, monkeypatch) -> None:
    save_checkpoint(tmp_path, 1, {"done": 1}, keep=2)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(MachineError, match="No space left"):
        save_checkpoint(tmp_path, 2, {"done": 2}, keep=2)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_only_the_newest_checkpoints_are_kept(tmp_path) -> None:
    for step in range(5):
        save_checkpoint(tmp_path, step, {"done": step}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]


def test_the_learning_rate_warms_up_and_anneals() -> None:
    config = TrainingConfig(steps=100, warmup=0.1, final_learning_rate=0.02)
    factors = [learning_rate_factor(config, step) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == pytest.approx(1)
    assert factors[-1] == pytest.approx(0.02, abs=0.002)
    assert factors[9:] == sorted(factors[9:], reverse=True)


def test_a_killed_process_goes_on_to_the_same_weights(tmp_path) -> None:
    """kill -9 in the middle, the same command again: as one run."""
    script = tmp_path / "fit.py"
    script.write_text(
        "import sys, time, pathlib, torch\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_loop import Line, fit\n"
        "class Slow(Line):\n"
        "    def forward(self, *args):\n"
        "        time.sleep(0.15); print('step', flush=True)\n"
        "        return super().forward(*args)\n"
        "task = fit(pathlib.Path(sys.argv[1]), Slow())\n"
        "torch.save(task.state_dict(), sys.argv[1] + '/end.pt')\n"
    )
    command = [sys.executable, str(script), str(tmp_path / "run"), str(Path(__file__).parent)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert first.stdout is not None
    for _ in range(5):
        first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "run" / "end.pt").exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    end = torch.load(tmp_path / "run" / "end.pt", weights_only=True)
    for a, b in zip(end.values(), fit(tmp_path / "whole").state_dict().values(), strict=True):
        assert torch.equal(a, b)
