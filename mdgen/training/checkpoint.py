"""Checkpoints that are whole or not there: a temporary folder, every file synced, sha256 of all last, a rename.

A state is a tree of tensors, numbers and text. Tensors become one safetensors file for each of its top-level keys, the
rest `state.json`: nothing that is loaded can execute anything.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mdgen.errors import MachineError, MdgenError

MANIFEST = "manifest.json"
#: Bytes handed to the system at a time.
CHUNK = 1 << 22
logger = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path, step: int, state: dict[str, Any], keep: int | None = None, score: float | None = None
) -> None:
    """Write `folder/step-<step>` atomically and verify it; then remove all but the newest `keep` and the best.

    score: lower is better; the checkpoint of the lowest score is never removed. keep: `None` keeps all.
    Raises `MachineError` where it cannot be written; what was there before is intact then.
    """
    final = folder / f"step-{step:08d}"
    try:
        with replacing_folder(final, {"step": step, "score": score}) as temporary:
            tree: dict[str, Any] = {}
            for key, value in state.items():
                tensors: dict[str, Tensor] = {}
                tree[key] = _split(value, "", tensors)
                if tensors:
                    _write(temporary / f"{key}.safetensors", save(tensors))
            _write(temporary / "state.json", json.dumps(tree).encode())
        verify(final)
        if keep is not None:
            _prune(folder, keep)
    except (OSError, ValueError, SafetensorError) as error:
        raise MachineError(
            f"{final}: checkpoint not written ({error}); earlier ones are intact: free disk space, then give the "
            "same command again"
        ) from error


def load_newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The state of the newest checkpoint whose hashes hold, or `None` where there was never one.

    A torn or altered one is skipped with a warning. Only unusable ones: an error, never a silent fresh start.
    """
    found = checkpoints(folder)
    for checkpoint in reversed(found):
        try:
            return load_checkpoint(checkpoint)
        except MdgenError as error:
            logger.warning("%s; skipped", error)
    if found:
        raise MdgenError(
            f"{folder}: none of {len(found)} checkpoints is usable; restore one, or train in a new run folder"
        )
    return None


def load_best_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The state of the checkpoint with the lowest score, or `None` where none has one."""
    best = _best(checkpoints(folder))
    return None if best is None else load_checkpoint(best)


def load_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """The state saved in one checkpoint folder; raises `MdgenError` where it is not as it was written."""
    try:
        verify(checkpoint)
        tree = json.loads((checkpoint / "state.json").read_text())
        state = {}
        for key, value in tree.items():
            file = checkpoint / f"{key}.safetensors"
            state[key] = _join(value, load(file.read_bytes()) if file.exists() else {})
        return state
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise MdgenError(f"{checkpoint}: not a usable checkpoint ({error})") from error


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first."""
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


@contextmanager
def replacing_folder(final: Path, facts: dict[str, Any] | None = None) -> Iterator[Path]:
    """A temporary folder beside `final` that takes its place when the block ends well, synced and with a manifest.

    The manifest holds the sha256 of every file, and `facts`.
    """
    temporary, old = (final.parent / f".{final.name}.{suffix}" for suffix in ("partial", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _restore(old, final)
        temporary.mkdir(parents=True)
        yield temporary
        files = sorted(f for f in temporary.rglob("*") if f.is_file())
        for file in files:
            _fsync(file)
        digests = {str(f.relative_to(temporary)): _sha256(f) for f in files}
        _write(temporary / MANIFEST, json.dumps({**(facts or {}), "files": digests}).encode())
        _fsync(temporary / MANIFEST)
        _fsync(temporary)
        if final.exists():
            os.replace(final, old)
        os.replace(temporary, final)
        _fsync(final.parent)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        _restore(old, final)
        raise


def _restore(old: Path, final: Path) -> None:
    """Undo a replacement that was cut off between its two renames; forget one that was not."""
    if old.exists() and not final.exists():
        os.replace(old, final)
    shutil.rmtree(old, ignore_errors=True)


def verify(folder: Path) -> None:
    """Raise `ValueError` or `OSError` where a file of a manifest is missing or not as it was written."""
    for name, digest in json.loads((folder / MANIFEST).read_text())["files"].items():
        if _sha256(folder / name) != digest:
            raise ValueError(f"{name} does not match its sha256")


def _prune(folder: Path, keep: int) -> None:
    found = checkpoints(folder)
    best = _best(found)
    for checkpoint in found[:-keep]:
        if checkpoint != best:
            os.replace(checkpoint, folder / f".{checkpoint.name}.old")  # a half-removed one is no checkpoint
    for leftover in folder.glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _best(found: list[Path]) -> Path | None:
    scores = {checkpoint: _score(checkpoint) for checkpoint in found}
    finite = {checkpoint: score for checkpoint, score in scores.items() if math.isfinite(score)}
    return min(finite, key=lambda checkpoint: finite[checkpoint]) if finite else None


def _score(checkpoint: Path) -> float:
    try:
        score = json.loads((checkpoint / MANIFEST).read_text())["score"]
        return math.inf if score is None else float(score)
    except (OSError, ValueError, KeyError, TypeError):
        return math.inf


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON: tensors move to `tensors` under their path, containers say what they are."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _split(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_split(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]}
    return value


def _join(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `_split`; tuples come back as lists."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _join(item, tensors) for key, item in content}
    return [_join(item, tensors) for item in content]


def _write(file: Path, content: bytes) -> None:
    view = memoryview(content)
    with open(file, "wb", buffering=0) as stream:
        while view:
            view = view[stream.write(view[:CHUNK]) :]


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows has no handle of a folder to sync
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
