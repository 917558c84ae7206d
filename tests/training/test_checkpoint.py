"""Checkpoints that are whole or skipped: a fault at every single operation of a save, altered files, pruning."""

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mdgen.errors import MachineError, MdgenError
from mdgen.training import checkpoint
from mdgen.training.checkpoint import checkpoints, load_best_checkpoint, load_newest_checkpoint, save_checkpoint

OLD = {"done": 1, "weights": {"a": torch.zeros(300)}, "optimizer": {0: torch.ones(200)}}
NEW = {"done": 2, "weights": {"a": torch.ones(300)}, "optimizer": {0: torch.zeros(200)}}


def in_child(action: Callable[[], object]) -> int:
    """The exit status of a forked process that does `action`."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except MachineError:
            os._exit(4)
        except BaseException:
            os._exit(99)
    return os.waitpid(child, 0)[1]


class Faults:
    """Counts the operations of a save that touch the disk, and at the `at`-th one calls `strike`."""

    def __init__(self, at: int, strike: Callable[[], None]) -> None:
        self.at, self.strike, self.count = at, strike, 0

    def install(self) -> None:
        for name in ("fsync", "replace", "mkdir", "open"):
            setattr(os, name, self.wrapped(getattr(os, name)))
        checkpoint.CHUNK = 512  # several writes a file, so that one can be torn
        checkpoint.open = self.opened  # type: ignore[attr-defined]

    def hit(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.strike()

    def wrapped(self, function: Callable) -> Callable:
        def call(*args, **kwargs):
            self.hit()
            return function(*args, **kwargs)

        return call

    def opened(self, file, mode, **kwargs):
        stream = open(file, mode, **kwargs)  # noqa: SIM115  the caller closes it
        return Torn(stream, self.hit) if "w" in mode else stream


class Torn:
    """A file whose writes go half way before they may be struck."""

    def __init__(self, stream, hit: Callable[[], None]) -> None:
        self.stream, self.hit = stream, hit

    def write(self, content) -> int:
        half = self.stream.write(content[: max(1, len(content) // 2)])
        self.hit()
        return half

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full() -> None:
    raise OSError(28, "No space left on device")


def operations(tmp_path: Path) -> int:
    """How many operations a save has; counted in a child so that nothing stays patched."""
    result = tmp_path / "count"

    def count() -> None:
        faults = Faults(-1, kill)
        written = result.open("w")
        save_checkpoint(tmp_path / "counted", 1, OLD, keep=1)
        faults.install()
        save_checkpoint(tmp_path / "counted", 2, NEW, keep=1)
        written.write(str(faults.count))
        written.close()

    assert in_child(count) == 0
    return int(result.read_text())


@pytest.mark.parametrize("strike", [kill, disk_full])
def test_a_fault_at_any_operation_of_a_save_leaves_a_checkpoint_that_loads(tmp_path, strike) -> None:
    total = operations(tmp_path)
    assert total > 25
    completed = 0
    for at in range(1, total + 1):
        folder = tmp_path / f"{strike.__name__}-{at}"
        save_checkpoint(folder, 1, OLD, keep=1)

        def struck(at: int = at, folder: Path = folder) -> None:
            Faults(at, strike).install()
            save_checkpoint(folder, 2, NEW, keep=1)

        status = in_child(struck)
        assert os.WTERMSIG(status) == signal.SIGKILL if strike is kill else os.WEXITSTATUS(status) in (0, 4), at
        newest = load_newest_checkpoint(folder)
        assert newest is not None
        expected = {1: OLD, 2: NEW}[newest["done"]]
        assert torch.equal(newest["weights"]["a"], expected["weights"]["a"])
        assert torch.equal(newest["optimizer"][0], expected["optimizer"][0])
        completed += newest["done"] == 2
        save_checkpoint(folder, 3, {**NEW, "done": 3}, keep=1)
        assert [p.name for p in folder.iterdir()] == ["step-00000003"], "leftovers stay behind"
    assert 0 < completed < total


def test_a_disk_that_is_really_full_is_one_clear_error_and_costs_nothing(tmp_path) -> None:
    save_checkpoint(tmp_path, 1, OLD, keep=1)

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        with pytest.raises(MachineError, match=r"File too large.*earlier ones are intact"):
            save_checkpoint(tmp_path, 2, NEW, keep=1)

    assert in_child(small_files_only) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_an_altered_checkpoint_is_skipped_with_a_warning_and_the_one_before_is_used(tmp_path, caplog, damage) -> None:
    for step, state in ((1, OLD), (2, NEW)):
        save_checkpoint(tmp_path, step, state, keep=2)
    file = tmp_path / "step-00000002" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        file.unlink()
    else:
        (tmp_path / "step-00000002" / "manifest.json").write_text("{")
    newest = load_newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest["done"] == 1
    assert "step-00000002: not a usable checkpoint" in caplog.text
    (tmp_path / "step-00000001" / "state.json").unlink()
    with pytest.raises(MdgenError, match="none of 2 checkpoints is usable"):
        load_newest_checkpoint(tmp_path)


def test_a_state_comes_back_as_it_was(tmp_path) -> None:
    state = {
        "tree": {"none": None, "flag": True, "list": [1, 2.5e-17, "text", {"x": torch.arange(3)}], 7: {}},
        "tensors": {"bf16": torch.randn(3).bfloat16(), "scalar": torch.tensor(1.0), "strided": torch.randn(4, 6).T},
    }
    save_checkpoint(tmp_path, 0, state)
    back = load_newest_checkpoint(tmp_path)
    assert back is not None
    assert back["tree"]["list"][:3] == [1, 2.5e-17, "text"]
    assert back["tree"][7] == {}
    assert back["tree"]["none"] is None
    assert torch.equal(back["tree"]["list"][3]["x"], torch.arange(3))
    for key, value in state["tensors"].items():
        assert torch.equal(back["tensors"][key], value)
        assert back["tensors"][key].dtype == value.dtype


def test_nothing_in_a_checkpoint_can_be_executed(tmp_path) -> None:
    save_checkpoint(tmp_path, 1, NEW)
    assert {f.suffix for f in tmp_path.rglob("*") if f.is_file()} == {".json", ".safetensors"}


def test_only_the_newest_and_the_best_checkpoints_are_kept(tmp_path) -> None:
    for step, score in enumerate([None, 5.0, 1.0, 2.0, float("nan"), 3.0]):
        save_checkpoint(tmp_path, step, {"done": step}, keep=2, score=score)
    assert [c.name[-1] for c in checkpoints(tmp_path)] == ["2", "4", "5"]
    best = load_best_checkpoint(tmp_path)
    assert best is not None
    assert best["done"] == 2
    assert json.loads((tmp_path / "step-00000002" / "manifest.json").read_text())["score"] == 1.0
