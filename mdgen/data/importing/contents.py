"""What lies inside files: which of their arrays are spectrograms, and which label them."""

from __future__ import annotations

import fnmatch
import re

import numpy as np
import pandas as pd

from mdgen.data.importing.formats import ArrayInfo, Source
from mdgen.data.importing.formats.base import LAST_AXIS
from mdgen.data.importing.manifest import ALIASES, ROLE_WORDS
from mdgen.data.importing.problems import Problems
from mdgen.data.importing.settings import ImportSettings
from mdgen.errors import MdgenError

#: Names under which people keep their one spectrogram, where a file holds other matrices too.
_USUAL_NAMES = ("tfmap", "spectrogram", "spec", "images", "image", "data", "x", "s", "sx")
_LABEL_NAMES = {"user": ("users", "labels", "label", "y", "ids", "targets", "target", *ALIASES["user"])}
_LABEL_NAMES |= {name: (*ALIASES[name], f"{name}s") for name in ("session", "recording", "split")}
_LABEL_NAMES |= {name: (name,) for name in ("activity", "view")}
_MIN_SIDE = 4
#: Files opened to see whether all hold one array of the same name, so that the rest need not be opened twice.
_PEEKS = 3
_COLUMNS = ("file", "member", "entry", "user")


def list_contents(
    source: Source, files: list[str], settings: ImportSettings, problems: Problems, family: str = ""
) -> pd.DataFrame:
    """One row per spectrogram in `files` (one family): file, member, entry, user ("" unknown), and label columns."""
    if family in ("pictures", "text"):
        return _rows([(file, "", -1, "") for file in files])
    if family == "idx" or (family == "npy" and _is_folder_of_arrays(source, files)):
        files = sorted({f"{file.rpartition('/')[0]}" for file in files})
    seen = {file: _listed(source, file, settings, problems) for file in files[:: max(1, len(files) // _PEEKS)]}
    alike = {tuple(map(tuple, rows[["member", "entry"]].to_numpy().tolist())) for rows in seen.values() if len(rows)}
    only = next(iter(alike)) if len(alike) == 1 else ()
    if len(only) == 1 and only[0][1] < 0:
        return _rows([(file, only[0][0], -1, "") for file in files])
    tables = [seen[file] if file in seen else _listed(source, file, settings, problems) for file in files]
    return pd.concat(tables, ignore_index=True).fillna("")


def _listed(source: Source, file: str, settings: ImportSettings, problems: Problems) -> pd.DataFrame:
    try:
        return _spectrograms(source, file, settings)
    except MdgenError as error:
        problems.meet(file, error)
        return _rows([])


def _rows(rows: list[tuple[str, str, int, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _is_folder_of_arrays(source: Source, files: list[str]) -> bool:
    """Whether `.npy` files of one folder are one stack and its labels: one array of three or more axes, one of one."""
    if len(files) > 40 or len({f.rpartition("/")[0] for f in files}) != 1:
        return False
    axes = [len(source.arrays(file)[""].shape) for file in files]
    return max(axes) >= 3 and min(axes) == 1


def _spectrograms(source: Source, file: str, settings: ImportSettings) -> pd.DataFrame:
    arrays = source.arrays(file)
    pattern = settings.array
    wanted = {name: info for name, info in arrays.items() if pattern is None or fnmatch.fnmatch(name, pattern)}
    shaped = {name: info for name, info in wanted.items() if info.is_numeric and _sides(info) >= _MIN_SIDE}
    stacks = {name: info for name, info in shaped.items() if len(info.shape) in (3, 4) and not _is_colour(info)}
    if stacks:
        tables = [_stack_rows(source, file, name, info, arrays, settings) for name, info in stacks.items()]
        return pd.concat(tables, ignore_index=True).fillna("")
    singles = {name: info for name, info in shaped.items() if len(info.shape) == 2 or _is_colour(info)}
    return _rows([(file, name, -1, "") for name in _chosen(source, file, singles, arrays, settings)])


def _sides(info: ArrayInfo) -> int:
    """The shorter side of a spectrogram in an array of this shape, 0 where there is none."""
    if len(info.shape) == 2 or _is_colour(info):
        return min(info.shape[:2])
    return sorted(info.shape)[-2] if len(info.shape) in (3, 4) and 0 not in info.shape else 0


def _is_colour(info: ArrayInfo) -> bool:
    return len(info.shape) == 3 and info.shape[-1] in (3, 4) and min(info.shape[:2]) > 4 and info.kind in "uf"


def _chosen(
    source: Source, file: str, singles: dict[str, ArrayInfo], arrays: dict[str, ArrayInfo], settings: ImportSettings
) -> list[str]:
    """Which of several matrices are spectrograms: all chosen by pattern, or of one kind, or the one of a usual name."""
    if not singles:
        found = ", ".join(f"{name or 'array'} {info.shape}" for name, info in list(arrays.items())[:6]) or "nothing"
        raise MdgenError(f"{source.root / file}: holds no spectrogram ({found}); choose an array with --array")
    leaves = {name.rsplit("/", 1)[-1].lower() for name in singles}
    sizes = {info.shape[0] for info in singles.values()}
    if settings.array is not None or len(singles) == 1 or (len(sizes) == 1 and (len(leaves) == 1 or len(singles) > 3)):
        return list(singles)
    for usual in _USUAL_NAMES:
        fitting = [name for name in singles if name.rsplit("/", 1)[-1].lower() == usual]
        if fitting:
            return fitting
    names = ", ".join(f"{name} {info.shape}" for name, info in list(singles.items())[:6])
    raise MdgenError(f"{source.root / file}: holds several matrices ({names}); choose with --array NAME or 'PATTERN*'")


def _stack_rows(
    source: Source, file: str, name: str, info: ArrayInfo, arrays: dict[str, ArrayInfo], settings: ImportSettings
) -> pd.DataFrame:
    """A row per entry of a stack, with the labels that lie beside it."""
    count, member = info.shape[0], name
    columns = _labels(source, file, name, count, arrays, settings)
    if file.lower().endswith((".mat", ".npy")) and len(info.shape) == 3 and "user" not in columns:
        last = _labels(source, file, name, info.shape[-1], arrays, settings)
        if "user" in last or file.lower().endswith(".mat"):  # MATLAB keeps pages along the last axis
            count, member, columns = info.shape[-1], name + LAST_AXIS, last
    table = pd.DataFrame({"file": file, "member": member, "entry": np.arange(count), "user": ""})
    for column, values in columns.items():
        table[column] = values
    role = next((ROLE_WORDS[t] for t in _tokens(name) if t in ROLE_WORDS), "")
    return table.assign(split=role) if role and "split" not in columns else table


def _labels(
    source: Source, file: str, stack: str, count: int, arrays: dict[str, ArrayInfo], settings: ImportSettings
) -> dict[str, list[str]]:
    """Columns of `count` labels each, from arrays of that length whose names share most with the stack's."""
    fitting = {n: i for n, i in arrays.items() if n != stack and _length(i) == count}
    found = {}
    for column, names in _LABEL_NAMES.items():
        if column == "user" and settings.labels is not None:
            if settings.labels not in fitting:
                raise MdgenError(
                    f"{source.root / file}: has no array {settings.labels!r} of {count} labels; mend --labels"
                )
            named = [settings.labels]
        else:
            named = [n for n in fitting if set(_tokens(n)) & set(names)]
        if named:
            best = max(named, key=lambda n: len(set(_tokens(n)) & set(_tokens(stack))))
            found[column] = _as_text(source.read(file, best), count)
    return found


def _length(info: ArrayInfo) -> int:
    """How many labels an array may be: its length if it is a column, a row or lines of text, else -1."""
    shape = [n for n in info.shape if n != 1] or [1]
    return shape[0] if len(shape) == 1 or info.kind == "U" else -1


def _tokens(name: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", name.lower())


def _as_text(values: np.ndarray, count: int) -> list[str]:
    """Labels as text: 3.0 is "3", bytes and padded text are stripped."""
    flat = values.ravel()
    if flat.dtype.kind == "f" and (flat == np.round(flat)).all():
        flat = flat.astype(np.int64)
    texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in flat.tolist()]
    return [text.strip() for text in texts][:count]
