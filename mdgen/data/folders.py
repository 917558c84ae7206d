"""Folders and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mdgen.errors import MachineError, MdgenError


def require_free(out: Path) -> None:
    """Raise `MdgenError` where writing a folder `out` would overwrite something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MdgenError(f"{out}: already exists and is not empty; choose another folder, nothing is overwritten")


def write_whole(file: Path, text: str) -> None:
    """Make `text` the content of `file`, which an end of any kind leaves as it was. Raises `OSError`."""
    temporary = file.with_name(f".{file.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)


def read_json(file: Path) -> Any:
    """What a JSON file holds; raises `MdgenError` where it is missing or torn."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MdgenError(f"{file}: cannot be read ({error}); restore it, or make anew what wrote it") from error


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends well and vanishes when it does not."""
    require_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as error:
        raise MachineError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield temporary
        temporary.chmod(0o755)
        if out.exists():
            out.rmdir()
        os.replace(temporary, out)
    except OSError as error:
        raise MachineError(f"{out}: writing failed ({error.strerror or error}); free disk space or move it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
