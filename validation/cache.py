"""Features, judges and whole reports kept on disk by the hash of all they depend on, so that a second run is quick.

Files are safetensors with a checksum inside, written to a temporary name and moved into place. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from validation.processes import everywhere, is_main

#: Part of every key: raise it when code outside `networks` changes what an encoder gives for the same image.
VERSION = 1

Arrays = dict[str, np.ndarray]


class Cache:
    """A folder of arrays by key; with no folder, everything is made anew.

    warn: told, in words, about a damaged file or a folder that cannot be written; neither stops a run.
    """

    def __init__(self, folder: Path | None = None, warn: Callable[[str], None] = lambda _: None) -> None:
        self.folder, self.warn = folder, warn

    def arrays(self, key: str, make: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
        """What was kept under `key`, else what `make` gives, which is then kept."""
        if self.folder is None:
            return dict(make())
        path = self.folder / key[:2] / f"{key}.safetensors"
        kept = self._read(path)
        if everywhere(kept is not None) and kept is not None:
            return kept
        made = {name: np.ascontiguousarray(array) for name, array in make().items()}
        if is_main():
            self._write(path, made)
        return made

    def _read(self, path: Path) -> Arrays | None:
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                expected = (file.metadata() or {}).get("sha256")
        except (SafetensorError, OSError, ValueError) as error:
            self.warn(f"{path}: is damaged ({error}) and is made anew")
            return None
        if expected != _checksum(kept):
            self.warn(f"{path}: is damaged (wrong checksum) and is made anew")
            return None
        return kept

    def _write(self, path: Path, arrays: Arrays) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
            os.close(handle)
            try:
                save_file(arrays, temporary, metadata={"sha256": _checksum(arrays)})
                os.replace(temporary, path)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            self.warn(f"{path}: could not be kept ({error}); it will be made anew next time")


def cache_key(*parts: object) -> str:
    """sha256 of `parts` in order: arrays by type, shape and bytes, everything else as JSON, with `VERSION`."""
    digest = hashlib.sha256(f"{VERSION}\n".encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}\n".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part).encode() + b"\n")
    return digest.hexdigest()


def source_hash(folder: Path, without: Collection[str] = ()) -> str:
    """Twelve hexadecimal digits of all code and settings below `folder`, but for its folders named in `without`."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")]):
        if path.relative_to(folder).parts[0] not in without:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _checksum(arrays: Arrays) -> str:
    return cache_key(*(part for name in sorted(arrays) for part in (name, arrays[name])))
