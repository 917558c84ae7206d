"""The import from end to end: list, survey, convert, group, write. Any number of files in flat memory; resumable."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.importing.convert import STACK, STRIPS, Address, Fact, convert_rows, start_worker
from mdgen.data.importing.grouping import check_blocks, give_roles, name_groups
from mdgen.data.importing.layouts import Listing, list_source
from mdgen.data.importing.problems import Problems
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.importing.survey import Plan, survey
from mdgen.data.importing.work import JOURNAL, Journal, Work, check_target, shaping_settings, source_identity
from mdgen.data.recordings import NATIVE_COLUMNS
from mdgen.data.stacks import Stack
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import Progress

#: Rows converted between two notes in the journal: what a kill can cost.
_CHUNK = 256


@dataclass(frozen=True)
class ImportReport:
    """What was found and done, one fact a line. windows, users: how many were imported."""

    lines: list[str]
    windows: int
    users: int


def import_dataset(
    source: str | Path, out: str | Path, settings: ImportSettings | None = None, progress: Progress | None = None
) -> ImportReport:
    """Write what `source` holds as the data set `out`; the same call again goes on where a killed one stopped.

    Raises `MdgenError` naming file, problem and mend; `out` then does not exist.
    """
    source, out = Path(source), Path(out)
    settings, progress = settings or ImportSettings(), progress or Progress(quiet=True)
    check_target(out, source)
    problems = Problems(settings.on_error == "skip")
    listing, plan, settings = _planned(source, settings, problems)
    named = listing.table.filter(["file", "member", "entry", "user"])
    work = Work(out, source_identity(listing.root, named, **shaping_settings(settings)))
    work.begin()
    (pictures, strips), done = _begun(work.folder, plan, len(listing.table))
    lines = _plan_lines(listing, plan)
    if done:
        lines.append(f"went on with an import begun before: {len(done)} of {len(listing.table)} were done")
    if work.was_other:
        lines.append("warning: an unfinished import of other files or settings was thrown away")
    try:
        facts = _convert_all(listing, plan, settings.workers, work.folder, done, problems, progress)
        table = _table(listing, plan, facts)
        table, grouped = name_groups(table, strips, plan.result_shape[1], settings, natural=plan.kind == "colour")
        table, roles = give_roles(table, settings, plan.result_shape[1])
        strips.close()
        pictures.close(sync=True)
    except MdgenError as error:
        if not (work.folder / JOURNAL).stat().st_size:
            work.discard()
            raise
        raise type(error)(f"{error} (what is converted already is kept for the next try)") from error
    except OSError as error:
        raise MachineError(
            f"{out}: writing failed ({error.strerror or error}); free disk space, then give the same command (what is "
            "converted already is kept for the next try)"
        ) from error
    work.finish(table.drop(columns=["row", "number", "residual"]), problems.found, settings.storage, JOURNAL, STRIPS)
    lines += [*_residual_line(table, plan), *grouped, *roles, *problems.lines]
    return ImportReport(lines, len(table), table["user"].nunique())


def plan_import(source: str | Path, out: str | Path, settings: ImportSettings) -> list[str]:
    """What an import would do, and about how long it would take and how much it would write; writes nothing."""
    source, out = Path(source), Path(out)
    check_target(out, source)
    problems = Problems(skip=True)
    start = time.perf_counter()
    listing, plan, settings = _planned(source, settings, problems)
    looked = time.perf_counter() - start
    count = len(listing.table)
    megabytes = count * np.prod(plan.result_shape) * np.dtype(plan.levels).itemsize / 1e6
    return [
        *_plan_lines(listing, plan),
        *problems.lines,
        f"the look took {looked:.1f} s; the import would write about {megabytes:.0f} MB to {out}",
    ]


def _planned(source: Path, settings: ImportSettings, problems: Problems) -> tuple[Listing, Plan, ImportSettings]:
    """What there is, how it is converted, and the settings with what a recognised set adds."""
    listing = list_source(source, settings, problems)
    if listing.preset is not None:
        known = {"session_length": listing.preset.session_length, "recording_length": listing.preset.recording_length}
        settings = settings.model_copy(update={k: v for k, v in known.items() if v and getattr(settings, k) is None})
    check_blocks(listing.table, settings)
    return listing, survey(listing, settings, problems), settings


def _plan_lines(listing: Listing, plan: Plan) -> list[str]:
    users = natsorted(listing.table["user"].unique())
    counts = listing.table["user"].value_counts()
    shown = ", ".join(users[:8]) + (", ..." if len(users) > 8 else "")
    return [
        *listing.lines,
        f"{len(users)} user(s) ({shown}), {len(listing.table)} windows, {counts.min()}-{counts.max()} each",
        *plan.lines,
        *(f"not known: {question}" for question in plan.unknown),
    ]


def _begun(folder: Path, plan: Plan, count: int) -> tuple[list[Stack], list[Fact]]:
    """(the stacks of pictures and of strips of the unfinished import, what is done of it)."""
    wanted = {
        STACK: ((count, *plan.result_shape), np.dtype(plan.levels)),
        STRIPS: ((count, *plan.strip_shape), np.dtype(np.uint8)),
    }
    journal = Journal(folder)
    try:
        if all((folder / name).exists() for name in (*wanted, JOURNAL)):
            stacks = [Stack(folder / name) for name in wanted]
            if [(stack.stored_shape, stack.dtype) for stack in stacks] == list(wanted.values()):
                return stacks, journal.read(*stacks)
            for stack in stacks:
                stack.close()
        stacks = [Stack.create(folder / name, *like) for name, like in wanted.items()]
        (folder / JOURNAL).write_text("")
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
    return stacks, []


def _convert_all(
    listing: Listing, plan: Plan, workers: int, folder: Path, done: list[Fact], problems: Problems, progress: Progress
) -> list[Fact]:
    """Convert what is not done; facts of all rows, in order. Raises at the first problem unless they are skipped."""
    facts = {fact.row: fact for fact in done}
    addresses = [
        address
        for address in map(
            Address, range(len(listing.table)), *(listing.table[c].tolist() for c in Address._fields[1:])
        )
        if address.row not in facts
    ]
    chunks = [addresses[i : i + _CHUNK] for i in range(0, len(addresses), _CHUNK)]
    journal = Journal(folder)
    with progress.task("import", len(listing.table), len(facts)) as advance:
        for chunk, results in zip(chunks, _converted(chunks, (listing.root, plan, folder), workers), strict=True):
            good = [fact for fact in results if not fact.error]
            journal.note(good)
            facts.update((fact.row, fact) for fact in good)
            for address, fact in zip(chunk, results, strict=True):
                if fact.error:
                    problems.meet(address.file, MdgenError(fact.error))
            advance(len(results))
    if not facts:
        raise MdgenError(f"{listing.root}: nothing could be imported; the first: {next(iter(problems.found.values()))}")
    return [facts[row] for row in sorted(facts)]


def _converted(chunks: list[list[Address]], worker: tuple[Path, Plan, Path], workers: int) -> Iterator[list[Fact]]:
    """The facts of each chunk, in order; a few chunks ahead where there are more workers."""
    if workers == 1 or len(chunks) < 2:
        start_worker(*worker)
        yield from map(convert_rows, chunks)
        return
    with ProcessPoolExecutor(workers, initializer=start_worker, initargs=worker) as pool:
        waiting: deque = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(convert_rows, chunk))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _table(listing: Listing, plan: Plan, facts: list[Fact]) -> pd.DataFrame:
    """The manifest so far: what the source said of every row that was converted, where it came from, what was found."""
    table = listing.table.iloc[[fact.row for fact in facts]].reset_index(drop=True)
    table["source"] = [
        file + (f"::{member}" if member else "") + (f"#{entry}" if entry >= 0 else "")
        for file, member, entry in zip(table["file"], table["member"], table["entry"], strict=True)
    ]
    table["row"] = [fact.row for fact in facts]
    table["file"] = [f"{STACK}#{fact.row}" for fact in facts]
    if plan.scale is not None and plan.scale.is_relative:
        table["db_min"], table["db_max"] = [f.db_min for f in facts], [f.db_max for f in facts]
    if plan.rendering is not None and plan.rendering.own_columns:
        table[NATIVE_COLUMNS] = [fact.native_columns for fact in facts]
    table["residual"] = [fact.residual for fact in facts]
    order = ["file", "user", "session", "recording", "split"]
    return table[[*order, *(c for c in table.columns if c not in (*order, "member", "entry"))]]


def _residual_line(table: pd.DataFrame, plan: Plan) -> list[str]:
    """How far colours lay from their map: what JPEG or a wrong map leaves."""
    if plan.rendering is None or plan.rendering.colormap is None:
        return []
    residual = table["residual"]
    note = "; JPEG blurs colours: keep the numbers instead of pictures where you can" if residual.mean() > 3 else ""
    return [f"mean colour residual {residual.mean():.1f} of 255 (worst picture {residual.max():.1f}){note}"]
