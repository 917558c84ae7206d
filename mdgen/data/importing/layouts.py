"""Which spectrograms a source holds, and what folders, names, manifests or labels say about each."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.formats import split_reference
from mdgen.data.importing.contents import list_contents
from mdgen.data.importing.formats import FAMILIES, Source, family_of
from mdgen.data.importing.manifest import ROLE_WORDS, find_manifest, is_manifest, read_manifest
from mdgen.data.importing.presets import PRESETS, Preset, find_preset
from mdgen.data.importing.problems import Problems
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.importing.walk import Walk, walk
from mdgen.errors import MdgenError

_PRESET_SAMPLE = 200
_DIGITS = re.compile(r"\d+")
_PERSON = re.compile(r"^(id|user|person|subject|subj|sub|participant|p|s|walker|volunteer)[_ -]?\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """table: one row per spectrogram, with `file` (below root), `member` and `entry` inside it (-1: none), `user`,
    `session`, `recording`, `split`, `number` (place in time, -1: unknown) and any further label. Text "" is unknown.
    lines: how this was found. preset: the set it was recognised as."""

    root: Path
    table: pd.DataFrame
    lines: list[str]
    preset: Preset | None = None


def list_source(source: Path, settings: ImportSettings, problems: Problems) -> Listing:
    """What `source` (a folder, a manifest, or one file of arrays) holds. Raises `MdgenError`."""
    if not source.exists():
        raise MdgenError(f"{source}: no such folder or file; give what holds the spectrograms")
    if source.is_dir():
        manifest = find_manifest(source)
    else:
        manifest = source if is_manifest(source) else None
    if manifest is not None and settings.only is None:
        listing = _from_manifest(manifest, settings, problems)
    else:
        listing = _from_files(source, settings, problems)
    if listing.table.empty:
        raise MdgenError(f"{source}: nothing can be read; the first: {next(iter(problems.found.values()))}")
    return Listing(listing.root, _with_defaults(listing.table), listing.lines + _check_users(listing), listing.preset)


def _from_manifest(manifest: Path, settings: ImportSettings, problems: Problems) -> Listing:
    table, lines = read_manifest(manifest, problems)
    root = manifest.parent
    single = {file: ("", -1) for file in table["file"] if family_of(file) in ("pictures", "npy", "text")}
    rows = {file: place for file in table["file"] if (place := _row_inside(file)) is not None}
    if rows:
        return Listing(root, _of_rows(table, rows), lines)
    others = [file for file in table["file"] if file not in single]
    if others:
        contents = list_contents(Source(root), others, settings, problems)
        if contents["file"].duplicated().any():
            raise MdgenError(f"{manifest}: a file it names holds several spectrograms; choose one with --array")
        single |= {file: (member, -1) for file, member in zip(contents["file"], contents["member"], strict=True)}
    table = table.take(np.flatnonzero(table["file"].isin(single))).reset_index(drop=True)
    table["member"] = [single[file][0] for file in table["file"]]
    table["entry"] = [single[file][1] for file in table["file"]]
    if "number" in table:
        table["number"] = pd.to_numeric(table["number"], errors="coerce").fillna(-1).astype(int)
    else:
        table["number"] = [_number(_stem(file)) for file in table["file"]]
    return Listing(root, table, lines)


def _row_inside(reference: str) -> tuple[str, int] | None:
    """(file, row) of `shards/0.npz#12`, as data sets name rows of files of many; None for anything else."""
    file, row = split_reference(reference)
    return (file, int(row)) if row.isascii() and row.isdigit() and len(row) < 16 else None


def _of_rows(table: pd.DataFrame, rows: dict[str, tuple[str, int]]) -> pd.DataFrame:
    """The listing of a manifest that names rows of files of many."""
    odd = [file for file in table["file"] if file not in rows]
    if odd:
        raise MdgenError(f"{odd[0]}: names a whole file where other rows of the manifest name rows of files")
    files, entries = zip(*(rows[file] for file in table["file"]), strict=True)
    members = ["" if family_of(file) == "npy" else "images" for file in files]
    return table.assign(file=files, member=members, entry=entries, number=entries)


def _from_files(source: Path, settings: ImportSettings, problems: Problems) -> Listing:
    root, walked = _walked(source, settings)
    family, files = _one_family(source, walked.files, settings.only)
    if settings.labels is not None and family == "pictures":
        raise MdgenError(f"{source}: --labels names an array beside arrays, and these are pictures; leave it out")
    contents = list_contents(Source(root), files, settings, problems, family)
    if contents.empty:
        raise MdgenError(f"{source}: nothing can be read; the first: {next(iter(problems.found.values()))}")
    lines = [f"{len(files)} {family} file(s), {len(contents)} spectrograms", *walked.lines]
    addresses = [_address(file, member) for file, member in zip(contents["file"], contents["member"], strict=True)]
    preset = None
    if settings.user_from_name is None and len(contents) and (contents["user"] != "").all():
        found = pd.DataFrame({"user": contents["user"]})
        lines.append("users from the labels inside the file")
    else:
        found, preset = _whose(addresses, source, settings, problems, lines)
    kept = contents.drop(columns=[c for c in found.columns if c in contents])
    table = pd.concat([kept, found], axis=1, join="inner").reset_index(drop=True)
    if "number" not in table:
        table["number"] = [
            entry if entry >= 0 else _number(member if member else _stem(file))
            for file, member, entry in zip(table["file"], table["member"], table["entry"], strict=True)
        ]
    return Listing(root, table, lines, preset)


def label_files(
    source: Path, settings: ImportSettings, problems: Problems, wanted: Callable[[str], bool]
) -> tuple[Path, pd.DataFrame, list[str]]:
    """(root, table of whole files with user, session, recording, split and further labels, lines of the report)."""
    if not source.exists():
        raise MdgenError(f"{source}: no such folder or file; give what holds the recordings")
    manifest = find_manifest(source) if source.is_dir() else source if is_manifest(source) else None
    if manifest is not None and settings.only is None:
        table, lines = read_manifest(manifest, problems)
        return manifest.parent, _with_defaults(table), lines
    root, walked = _walked(source, settings)
    files, lines = [file for file in walked.files if wanted(file)], walked.lines
    if not files:
        raise MdgenError(f"{source}: holds no recordings; give a folder of samples, or --only")
    found, _ = _whose(files, source, settings, problems, lines)
    table = pd.DataFrame({"file": files}).join(found, how="inner").reset_index(drop=True)
    table = _with_defaults(table)
    return root, table, lines + _check_users(Listing(root, table, []))


def _walked(source: Path, settings: ImportSettings) -> tuple[Path, Walk]:
    """(the folder that paths are below, the files of `source`, which may be one file)."""
    if source.is_dir():
        return source, walk(source, settings.only)
    return source.parent, Walk([source.name])


def _whose(
    addresses: list[str], source: Path, settings: ImportSettings, problems: Problems, lines: list[str]
) -> tuple[pd.DataFrame, Preset | None]:
    """(labels by row, the preset they fit): by the pattern given, else by a preset that fits, else by folders."""
    if settings.user_from_name is not None:
        preset = PRESETS.get(settings.user_from_name)
        lines.append(f"users from names by {settings.user_from_name!r}")
        return _from_names(addresses, preset.pattern if preset else settings.user_from_name, problems), preset
    name = find_preset(addresses[:: max(1, len(addresses) // _PRESET_SAMPLE)])
    if name is not None:
        lines.append(f"named as the set {name}: {PRESETS[name].note}")
        return _from_names(addresses, PRESETS[name].pattern, problems), PRESETS[name]
    return _from_folders(addresses, source, lines), None


def _one_family(source: Path, files: list[str], only: str | None) -> tuple[str, list[str]]:
    """The one family of formats among `files`. Text counts only where there is nothing else: READMEs, label lists."""
    members: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for file in files:
        family = family_of(file)
        if family is not None:
            members[family].append(file)
    present = [f for f in members if members[f] and f != "text"] or (["text"] if members["text"] else [])
    if not present and only is not None:
        raise MdgenError(f"{source}: no spectrogram's path fits --only {only!r}; quote a pattern such as '*.png'")
    if not present:
        raise MdgenError(f"{source}: holds no spectrograms; expected pictures, .npy, .npz, .mat, HDF5 or CSV matrices")
    if len(present) > 1:
        counts = ", ".join(f"{len(members[f])} {f}" for f in present)
        raise MdgenError(f"{source}: mixes {counts} files; import one kind at a time, as with --only '*.png'")
    return present[0], members[present[0]]


def _address(file: str, member: str) -> str:
    return f"{file}::{member}" if member else file


def _from_names(addresses: list[str], pattern: str, problems: Problems) -> pd.DataFrame:
    """The named groups of `pattern` by row, searched in the path where it holds a `/`, else in the name."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise MdgenError(
            f"user pattern {pattern!r}: is neither a regular expression ({error}) nor one of {', '.join(PRESETS)}"
        ) from error
    if not regex.groups:
        raise MdgenError(
            f"user pattern {pattern!r}: has no group; put brackets around the user, as in 'P(\\d+)', or name one of "
            f"{', '.join(PRESETS)}"
        )
    named = {}
    for row, address in enumerate(addresses):
        try:
            named[row] = _groups(regex, address)
        except MdgenError as error:
            problems.meet(address, error)
    found = pd.DataFrame(list(named.values()), index=list(named))
    if "number" in found:
        found["number"] = [int(t) if t.isdigit() else _number(addresses[row]) for row, t in found["number"].items()]
    return found


def _groups(regex: re.Pattern[str], address: str) -> dict[str, str]:
    """The named groups of a match; a pattern without names finds the user."""
    file, _, member = address.partition("::")
    name = address if "/" in regex.pattern else file.rsplit("/", 1)[-1] + ("::" + member if member else "")
    match = regex.search(name)
    if match is None:
        raise MdgenError(f"{address}: does not match the user pattern {regex.pattern!r}; mend it, or use --only")
    named = {key: value or "" for key, value in match.groupdict().items()}
    named.setdefault("user", match.group(1) or "")
    if not named["user"]:
        raise MdgenError(f"{address}: the user pattern {regex.pattern!r} finds an empty user; mend it")
    return named


def _from_folders(addresses: list[str], source: Path, lines: list[str]) -> pd.DataFrame:
    """Users from the folders (or groups inside a file) that hold the spectrograms, and what the other levels say."""
    parts = [address.replace("::", "/").split("/")[:-1] for address in addresses]
    inside = source.is_file() or any("::" in a for a in addresses)
    if inside:  # the file's own name is no level, unless it is all there is
        parts = [[p for p in path if family_of(p) is None] for path in parts]
    loose = [address for address, path in zip(addresses, parts, strict=True) if not path]
    if loose:
        raise MdgenError(
            f"{source}: whose is {loose[0]!r}? It lies in no user's folder and has no label; give --user-from-name, a "
            f"regular expression as 'P(?P<user>\\d+)' or one of {', '.join(PRESETS)}, or a manifest.csv (file,user)"
        )
    depth = Counter(map(len, parts)).most_common(1)[0][0]
    levels = [[path[min(level, len(path) - 1)] for path in parts] for level in range(depth)]
    found: dict[str, list[str]] = {}
    if depth > 1 and {name.lower() for name in levels[0]} <= set(ROLE_WORDS):
        found["split"] = [ROLE_WORDS[name.lower()] for name in levels.pop(0)]
        lines.append("the first folders are roles")
    persons = [i for i, level in enumerate(levels) if all(_PERSON.match(name) for name in set(level))]
    user = persons[0] if persons else 0
    names = [*["activity", "group"][:user], "user", "session", "recording"]
    for name, level in zip(names, levels, strict=False):
        found[name] = level
    says = ", ".join(f"{name} ({natsorted(set(found[name]))[0]!r}, ...)" for name in names if name in found)
    lines.append(f"folders taken as: {says}" + ("; if not, give --user-from-name" if len(levels) > 1 else ""))
    return pd.DataFrame(found)


def _stem(file: str) -> str:
    """The name of a file without folders and suffix."""
    name = file.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def _number(stem: str) -> int:
    """The last number in a name, -1 where there is none (or one too long to count anything)."""
    digits = _DIGITS.findall(stem)
    return int(digits[-1]) if digits and len(digits[-1]) < 16 else -1


def _with_defaults(table: pd.DataFrame) -> pd.DataFrame:
    for column in ("session", "recording", "split"):
        if column not in table:
            table[column] = ""
    return table


def _check_users(listing: Listing) -> list[str]:
    """Users that cannot be told apart are refused; those that nearly cannot are named."""
    users = natsorted(listing.table["user"].unique().tolist())
    by_form: dict[str, str] = {}
    for user in users:
        other = by_form.setdefault(unicodedata.normalize("NFC", user), user)
        if other != user:
            raise MdgenError(f"users {other!a} and {user!a}: equal but for their Unicode form (NFC, NFD); rename one")
    lines = []
    for what, form in (("case", str.casefold), ("leading zeros", lambda u: re.sub(r"\b0+(?=\d)", "", u))):
        alike: dict[str, list[str]] = {}
        for user in users:
            alike.setdefault(form(user), []).append(user)
        pairs = [group for group in alike.values() if len(group) > 1]
        lines += [
            f"warning: users {', '.join(map(repr, pair))} differ only in {what}; kept apart" for pair in pairs[:3]
        ]
    if len(users) == 1:
        lines.append(f"warning: only one user, {users[0]!r}: nobody to be told apart from; good for calibration only")
    return lines
