"""Checkpoints that are whole or not there: a temporary folder, sha256 of every file last, a rename, then pruning."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from mdgen.errors import MachineError, MdgenError

MANIFEST = "manifest.json"
logger = logging.getLogger(__name__)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any], keep: int) -> None:
    """Write `folder/step-<step>` atomically, then remove all but the newest `keep`.

    `state` is a tree of tensors, numbers, text, lists and dictionaries: what `torch.load(weights_only=True)` reads.
    """
    final = folder / f"step-{step:08d}"
    temporary = folder / f".step-{step:08d}.partial"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        torch.save(state, temporary / "state.pt")
        manifest = {"step": step, "files": {"state.pt": _sha256(temporary / "state.pt")}}
        (temporary / MANIFEST).write_text(json.dumps(manifest))
        for file in (temporary / "state.pt", temporary / MANIFEST):
            _fsync(file)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        _fsync(folder)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        shutil.rmtree(temporary, ignore_errors=True)
        raise MachineError(
            f"{final}: checkpoint not written ({error}); earlier ones are intact, free disk space"
        ) from error
    for old in _checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def load_newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The state of the newest checkpoint whose hashes hold, or `None` where there was never one.

    A torn or altered one is skipped with a warning. Only unusable ones: an error, never a silent fresh start.
    """
    found = _checkpoints(folder)
    for checkpoint in reversed(found):
        try:
            manifest = json.loads((checkpoint / MANIFEST).read_text())
            if any(_sha256(checkpoint / name) != digest for name, digest in manifest["files"].items()):
                raise ValueError("its content does not match its sha256")
            return torch.load(checkpoint / "state.pt", map_location="cpu", weights_only=True)
        except (OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
            logger.warning("%s: skipped, %s", checkpoint, error)
    if found:
        raise MdgenError(
            f"{folder}: none of {len(found)} checkpoints is usable; restore one, or train in a new run folder"
        )
    return None


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return (
            hashlib.file_digest(stream, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _digest(stream.read())
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
