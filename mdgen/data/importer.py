"""Real data in: folders of pictures become a data set with recordings, roles and values in [-1, 1].

Pictures of plots are turned back into numbers (`colormaps`), overlapping windows into recordings (`recordings`), and
roles are given so that nothing leaks (`splits`). Gray pictures keep their scale. Arrays outside [-1, 1] are dB: each is
scaled to its own peak over a fixed dynamic range, because a common peak would tell people apart by range and level.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.colormaps import Rendering, find_rendering, resize_area, undo_rendering
from mdgen.data.dataset import ROLES, START_COLUMN, SpectrogramSet, make_table, user_folder_files
from mdgen.data.images import PICTURE_SUFFIXES, read_pixels
from mdgen.data.recordings import NATIVE_COLUMNS, block_names, find_recordings
from mdgen.data.splits import GUARD, UNUSED, assign_roles, leak_share, random_roles
from mdgen.errors import MdgenError

Progress = Callable[[int, int], None]
#: Pictures looked at to find out how all of them were drawn.
_SAMPLE = 48


@dataclass(frozen=True)
class ImportReport:
    """What was found and done, one fact a line."""

    lines: list[str]


@dataclass(frozen=True)
class _Source:
    """A file and what its place and name say."""

    file: Path
    user: str
    session: str = ""
    recording: str = ""
    number: int = -1


def import_folder(
    source: Path,
    *,
    size: int | None = 64,
    user_pattern: str | None = None,
    fractions: dict[str, float] | None = None,
    seed: int = 0,
    session_length: int | None = None,
    recording_length: int | None = None,
    progress: Progress | None = None,
    dynamic_range_db: float = 40.0,
) -> tuple[SpectrogramSet, ImportReport]:
    """Read a folder per user of PNG, JPEG or `.npy` files (gray or colour-mapped) as a data set with roles.

    size: rows and columns of the result (None keeps the pictures' own, which must be equal). user_pattern: regular
    expression with a group `user` (or one plain group) and optionally `session`, `recording`, searched in file names,
    instead of folders. session_length, recording_length: so many consecutive numbers are one session or recording;
    otherwise recordings are found from numbers and overlap. dynamic_range_db: what [-1, 1] spans for arrays in dB.
    Raises `MdgenError` for unreadable, mixed, empty or single-user sources.
    """
    sources = _sources(Path(source), user_pattern)
    users = natsorted({s.user for s in sources})
    if len(users) < 2:
        raise MdgenError(f"{source}: holds only one user, {users[0]!r}; telling people apart needs at least two")
    images, columns, lines = _read_all([s.file for s in sources], size, dynamic_range_db, progress)
    table = make_table(file=[str(s.file.relative_to(source)) for s in sources], user=[s.user for s in sources])
    table = pd.concat([table, columns], axis=1)
    found = _name_groups(table, sources, images, session_length, recording_length)
    table["split"] = assign_roles(table, fractions, seed, guard=max(GUARD, _overlap_guard(table, images.shape[-1])))
    lines = [f"{len(users)} users, {len(table)} windows ({_spread(table['user'])} each)", *lines, *found]
    lines += _split_lines(table, fractions, seed, images.shape[-1])
    lines += _name_cut_parts(table)
    return SpectrogramSet(images, table, str(source)), ImportReport(lines)


def _sources(root: Path, pattern: str | None) -> list[_Source]:
    if not root.is_dir():
        raise MdgenError(f"{root}: no such folder; give a folder that holds one folder of pictures per user")
    if pattern is None:
        return [_Source(file, user, number=_number(file)) for user, file in user_folder_files(root)]
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise MdgenError(f"user pattern {pattern!r}: is not a regular expression ({error}); mend it") from error
    if not regex.groups:
        raise MdgenError(f"user pattern {pattern!r}: has no group; put brackets around the user, as in 'P(\\d+)'")
    suffixes = (*PICTURE_SUFFIXES, ".npy")
    files = natsorted((f for f in root.rglob("*") if f.suffix.lower() in suffixes and f.is_file()), key=str)
    if not files:
        raise MdgenError(f"{root}: holds no PNG, JPEG or .npy file; give the folder of the spectrograms")
    return [_from_name(file, regex) for file in files]


def _from_name(file: Path, regex: re.Pattern[str]) -> _Source:
    match = regex.search(file.name)
    if match is None:
        raise MdgenError(f"{file}: does not match the user pattern {regex.pattern!r}; mend it or move the file")
    named = {key: value or "" for key, value in match.groupdict().items()}
    user = named.get("user") or match.group(1) or ""
    if not user:
        raise MdgenError(f"{file}: the user pattern {regex.pattern!r} finds an empty user; mend it or move the file")
    return _Source(file, user, named.get("session", ""), named.get("recording", ""), _number(file))


def _number(file: Path) -> int:
    """The last number in a file name, -1 where there is none."""
    digits = re.findall(r"\d+", file.stem)
    return int(digits[-1]) if digits else -1


def _read_all(
    files: list[Path], size: int | None, dynamic_range_db: float, progress: Progress | None
) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    """float32 [N, 1, H, W], columns of facts per picture, and lines of the report."""
    kinds = {file.suffix.lower() == ".npy" for file in files}
    if len(kinds) > 1:
        raise MdgenError(f"{files[0].parent.parent}: mixes pictures and .npy arrays; import them one kind at a time")
    if kinds == {True}:
        return _read_arrays(files, size, dynamic_range_db, progress)
    return _read_pictures(files, size, progress)


def _read_arrays(
    files: list[Path], size: int | None, dynamic_range_db: float, progress: Progress | None
) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    arrays = [_read_array(file) for file in _counted(files, progress)]
    _same_size([a.shape for a in arrays], files, size)
    native = f"native size {arrays[0].shape[1]}x{arrays[0].shape[0]}"
    if all(a.min() >= -1.001 and a.max() <= 1.001 for a in arrays):
        return _stack(arrays, size), pd.DataFrame(index=range(len(files))), [f"arrays in [-1, 1], kept; {native}"]
    peaks = np.array([a.max() for a in arrays])
    scaled = [np.clip(1 + 2 * (a - a.max()) / dynamic_range_db, -1, 1) for a in arrays]
    columns = pd.DataFrame({"db_min": peaks - dynamic_range_db, "db_max": peaks})
    line = (
        f"arrays in dB, each scaled to its own peak over {dynamic_range_db:g} dB (db_min, db_max say which); {native}"
    )
    return _stack(scaled, size), columns, [line]


def _read_array(file: Path) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise MdgenError(f"{file}: cannot be read as a numeric .npy array; write it anew without objects") from error
    array = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating) or 0 in array.shape:
        raise MdgenError(f"{file}: has shape {array.shape} of {array.dtype}; need floats [H, W], one value per cell")
    if not np.isfinite(array).all():
        raise MdgenError(f"{file}: holds NaN or infinite values; repair or remove it")
    return array.astype(np.float32)


def _read_pictures(
    files: list[Path], size: int | None, progress: Progress | None
) -> tuple[np.ndarray, pd.DataFrame, list[str]]:
    sample = [read_pixels(file) for file in files[:: max(1, len(files) // _SAMPLE)]]
    shape, coloured = sample[0].shape, sample[0].ndim == 3
    if coloured != all(p.ndim == 3 for p in sample):
        raise _mixed_colours(files, [read_pixels(f).ndim for f in files])
    enlarged = size is not None and min(shape[:2]) > size
    uniform = [p for p in sample if p.shape == shape]
    rendering = find_rendering(uniform, with_cells=enlarged)
    if rendering is None:
        raise MdgenError(f"{files[0]}: its colours lie on no known colour map; export gray pictures, or jet or viridis")
    images, residuals, cells, sizes = [], [], [], []
    for file in _counted(files, progress):
        pixels = read_pixels(file)
        if (pixels.ndim == 3) != coloured:
            raise _mixed_colours(files, [read_pixels(f).ndim for f in files])
        own = rendering if pixels.shape == shape else Rendering(rendering.colormap)
        image, residual, columns = undo_rendering(pixels, own, size)
        images.append(image * 2 - 1)
        residuals.append(residual)
        cells.append(columns)
        sizes.append(pixels.shape[:2])
    _same_size(sizes, files, size)
    columns_known = pd.DataFrame({NATIVE_COLUMNS: cells} if rendering.own_columns else None, index=range(len(files)))
    return np.stack(images)[:, None], columns_known, _picture_lines(rendering, sizes, residuals, cells)


def _mixed_colours(files: list[Path], dimensions: list[int]) -> MdgenError:
    odd = files[dimensions.index(3 if dimensions.count(3) <= len(files) / 2 else 2)]
    kind, others = ("coloured", "gray") if dimensions.count(3) <= len(files) / 2 else ("gray", "coloured")
    return MdgenError(f"{odd}: is {kind} but most other pictures are {others}; import the two kinds separately")


def _picture_lines(
    rendering: Rendering, sizes: list[tuple[int, ...]], residuals: list[float], cells: list[float]
) -> list[str]:
    height, width = sizes[0]
    size = f"{width}x{height} pixels" + (" (sizes differ)" if len(set(sizes)) > 1 else "")
    if rendering.rows is not None:
        size += f"; natively about {rendering.rows.count:.0f} rows"
    if rendering.columns is not None:
        size += f"; natively {rendering.columns.count:.0f} columns"
    if rendering.own_columns:
        known = np.array(cells)[~np.isnan(cells)]
        span = f"{known.min():.0f}-{known.max():.0f}"
        size += f"; natively {span} columns, so pictures span different times (column {NATIVE_COLUMNS})"
    if rendering.colormap is None:
        return [f"gray pictures, scale kept; {size}"]
    mean = float(np.mean(residuals))
    return [f"colour map {rendering.colormap}, inverted; mean colour residual {mean:.1f} of 255; {size}"]


def _same_size(sizes: list[tuple[int, ...]], files: list[Path], size: int | None) -> None:
    for shape, file in zip(sizes, files, strict=True):
        if size is None and shape != sizes[0]:
            raise MdgenError(
                f"{file}: is {shape[1]}x{shape[0]} but {files[0].name} is {sizes[0][1]}x{sizes[0][0]}; give a size"
            )


def _counted(files: list[Path], progress: Progress | None) -> Iterator[Path]:
    for done, file in enumerate(files, 1):
        yield file
        if progress is not None:
            progress(done, len(files))


def _stack(arrays: list[np.ndarray], size: int | None) -> np.ndarray:
    return np.stack([a if size is None else resize_area(a, size) for a in arrays])[:, None].astype(np.float32)


def _name_groups(
    table: pd.DataFrame,
    sources: list[_Source],
    images: np.ndarray,
    session_length: int | None,
    recording_length: int | None,
) -> list[str]:
    """Fill the table's session, recording and start column; returns lines of the report."""
    numbers = [s.number for s in sources]
    table["session"] = [s.session for s in sources]
    if session_length:
        table["session"] = block_names(numbers, session_length, "s")
    if recording_length:
        table["recording"] = block_names(numbers, recording_length, "r")
    elif any(s.recording for s in sources):
        table["recording"] = [s.recording for s in sources]
    else:
        spans = table[NATIVE_COLUMNS].tolist() if NATIVE_COLUMNS in table else None
        plan = find_recordings(images, table["user"].tolist(), numbers, spans)
        for column in plan.table:
            table[column] = plan.table[column].to_numpy()
        return plan.lines
    count = len(table[["user", "session", "recording"]].drop_duplicates())
    return [f"sessions and recordings as named or numbered: {count} recordings of all users"]


def _overlap_guard(table: pd.DataFrame, width: int) -> int:
    """Windows to leave out so that those around share under 5 %, from the smallest usual shift of any user."""
    if START_COLUMN not in table:
        return GUARD
    steps = table.groupby(["user", "recording"])[START_COLUMN].diff()
    shift = steps[steps > 0].groupby(table["user"]).median().min()
    return GUARD if np.isnan(shift) else int(np.ceil(0.95 * width / shift)) - 1


def _split_lines(table: pd.DataFrame, fractions: dict[str, float] | None, seed: int, width: int) -> list[str]:
    counts = table["split"].value_counts()
    roles = ", ".join(f"{role} {counts[role]}" for role in (*ROLES, UNUSED) if role in counts)
    drawn = table.assign(split=random_roles(table, fractions, seed))
    ours, random = leak_share(table, width=width), leak_share(drawn, width=width)
    return [f"roles: {roles}", f"leak share: {ours:.1%} of held-out windows; a random split would leak {random:.1%}"]


def _name_cut_parts(table: pd.DataFrame) -> list[str]:
    """Name the parts of recordings that were cut between roles, so that no group lies in two roles."""
    groups = table.groupby(["user", "session", "recording"])
    cut = groups["split"].transform("nunique") > 1
    number = len(table.loc[cut, ["user", "session", "recording"]].drop_duplicates())
    table.loc[cut, "recording"] = (table["recording"] + "-" + table["split"])[cut]
    return [f"{number} recording(s) cut between roles, with a guard: parts are named by role"] if number else []


def _spread(users: pd.Series) -> str:
    counts = users.value_counts()
    return f"{counts.min()}-{counts.max()}"
