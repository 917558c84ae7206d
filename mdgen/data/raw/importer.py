"""`mdgen import --raw`: every file of radar samples becomes a recording, cut into windows of equal duration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.dataset import START_COLUMN, make_table
from mdgen.data.folders import write_whole
from mdgen.data.importing.grouping import give_roles
from mdgen.data.importing.importer import ImportReport
from mdgen.data.importing.layouts import label_files
from mdgen.data.importing.problems import Problems
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.importing.work import Work, check_target, shaping_settings, source_identity
from mdgen.data.raw.processing import Spectrogram, to_spectrogram
from mdgen.data.raw.samples import SUFFIXES, open_samples
from mdgen.data.raw.settings import RadarFile
from mdgen.data.rendering import resize_area
from mdgen.data.stacks import Stack, to_levels
from mdgen.errors import MachineError, MdgenError
from mdgen.progress import Progress

_MAX_NOTES = 10
#: Settings that say how pictures and arrays of numbers are read.
_OF_PICTURES = (
    *("array", "labels", "colormap", "crop", "scale", "dynamic_range_db", "orientation"),
    *("session_length", "recording_length"),
)
#: The folder of a data set that holds a stack for each recording.
_FOLDER = "recordings"


def import_raw(
    source: str | Path, out: str | Path, radar: RadarFile, settings: ImportSettings, progress: Progress | None = None
) -> ImportReport:
    """Write the samples below `source` as the data set `out`: one recording a file, windows of `radar.piece_s`.

    The manifest has velocity axis, duration, dB span, carrier, PRF and STFT window. The same call again goes on where
    a killed one stopped. Raises `MdgenError`; `out` then does not exist.
    """
    source, out = Path(source), Path(out)
    check_target(out, source)
    size = _size_of_raw(settings)
    problems, progress = Problems(settings.on_error == "skip"), progress or Progress(quiet=True)
    root, listing, lines = list_recordings(source, settings, problems)
    shaping = {"radar": radar.model_dump(mode="json"), **shaping_settings(settings)}
    work = Work(out, source_identity(root, listing, **shaping))
    work.begin()
    folder = work.folder / _FOLDER
    folder.mkdir(exist_ok=True)
    parts = [_Part(folder / f"{number:05d}", row) for number, (_, row) in enumerate(listing.iterrows())]
    done = sum(part.is_done for part in parts)
    try:
        with progress.task("import", len(parts), done) as advance:
            for part in parts:
                if not part.is_done:
                    try:
                        part.write(root, radar, size)
                    except MdgenError as error:
                        problems.meet(part.labels["source"], error)
                    advance()
        whole = [part for part in parts if part.is_done]
        if not whole:
            first = next(iter(problems.found.values()), "no files")
            raise MdgenError(f"{source}: nothing could be imported; the first: {first}")
        table, notes = _joined([part.read() for part in whole])
        table, roles = give_roles(table, settings, size)
    except MdgenError as error:
        if not any(part.is_done for part in parts):
            work.discard()
            raise
        raise type(error)(f"{error} (recordings done already are kept for the next try)") from error
    work.finish(table, problems.found, settings.storage, *(f"{_FOLDER}/{part.facts.name}" for part in whole))
    lines += [f"went on with an import begun before: {done} of {len(parts)} recordings were done"] if done else []
    if work.was_other:
        lines.append("warning: an unfinished import of other files or settings was thrown away")
    lines = [*lines, *radar_lines(radar), *notes, *roles, *problems.lines]
    return ImportReport(lines, len(table), table["user"].nunique())


def plan_raw(source: str | Path, out: str | Path, radar: RadarFile, settings: ImportSettings) -> list[str]:
    """What an import would do; reads one recording and writes nothing."""
    check_target(Path(out), Path(source))
    _size_of_raw(settings)
    root, listing, lines = list_recordings(Path(source), settings, Problems(skip=True))
    chirps, own = open_samples(root / listing["source"].iloc[0], radar)
    seconds = len(chirps) / own.prf_hz
    users = natsorted(listing["user"].unique())
    return [
        *lines,
        f"{len(users)} user(s) ({', '.join(users[:8])}), {len(listing)} recordings; the first lasts {seconds:.1f} s",
        *radar_lines(own),
        *to_spectrogram(chirps, own).notes,
    ]


def list_recordings(source: Path, settings: ImportSettings, problems: Problems) -> tuple[Path, pd.DataFrame, list[str]]:
    """(root, table of the files of samples with `source`, user, session, recording, split and labels, lines)."""
    root, table, lines = label_files(source, settings, problems, lambda name: name.lower().endswith(SUFFIXES))
    table = table.rename(columns={"file": "source"})
    unnamed = table["recording"] == ""
    table.loc[unnamed, "recording"] = [Path(file).stem for file in table.loc[unnamed, "source"]]
    twice = table.duplicated(["user", "session", "recording"], keep=False)
    table.loc[twice, "recording"] = table.loc[twice, "source"]
    return root, table, [f"{len(table)} recordings", *lines]


def radar_lines(radar: RadarFile) -> list[str]:
    """The numbers that follow from the radar's: what the picture resolves and where it folds."""
    low, high = radar.velocity_limits_mps
    cell = radar.wavelength_m / (2 * radar.window_s)
    return [
        f"{radar.carrier_hz / 1e9:g} GHz, PRF {radar.prf_hz:g} Hz: unambiguous to +-{radar.unambiguous_mps:.2f} m/s; "
        f"shown {low:.2f} to {high:.2f} m/s, {cell:.3f} m/s a cell; approaching phase "
        f"{'rises' if radar.phase_rises else 'falls'}",
        *radar.warnings(),
    ]


class _Part:
    """One recording: its windows as a stack `stem`.npy, and beside it, written last, what is known of them."""

    def __init__(self, stem: Path, labels: pd.Series) -> None:
        self.stack, self.facts = stem.with_suffix(".npy"), stem.with_suffix(".json")
        self.labels = {str(k): v for k, v in labels.items() if k != "number"}

    @property
    def is_done(self) -> bool:
        return self.facts.exists() and self.stack.exists()

    def write(self, root: Path, radar: RadarFile, size: int) -> None:
        """Process the samples. Raises `MdgenError` for what cannot be read or is too short."""
        file = root / self.labels["source"]
        chirps, radar = open_samples(file, radar)
        spectrogram = to_spectrogram(chirps, radar)
        starts, width = _pieces(spectrogram, radar, file)
        peak = float(spectrogram.decibel.max())
        scaled = np.clip(1 + (spectrogram.decibel - peak) * (2 / radar.dynamic_range_db), -1, 1)
        try:
            stack = Stack.create(self.stack, (len(starts), size, size), np.dtype(np.uint16))
            for row, start in enumerate(starts):
                stack.write(row, to_levels(resize_area(scaled[:, start : start + width], size, size), stack.dtype))
            stack.close(sync=True)
            columns = {START_COLUMN: (starts * (size / width)).tolist()}
            facts = {**_axes(spectrogram, radar, peak, width), "columns": columns, "notes": spectrogram.notes}
            write_whole(self.facts, json.dumps(facts))
        except OSError as error:
            folder = self.stack.parent
            raise MachineError(
                f"{folder}: cannot be written ({error.strerror}); free disk space, then give the same command"
            ) from error

    def read(self) -> tuple[pd.DataFrame, list[str]]:
        """(rows of the manifest, notes)."""
        facts = json.loads(self.facts.read_text())
        columns, notes = facts.pop("columns"), facts.pop("notes")
        count = len(columns[START_COLUMN])
        table = make_table(file=[f"{_FOLDER}/{self.stack.name}#{row}" for row in range(count)])
        return table.assign(**self.labels, **facts, **columns), [f"{self.labels['source']}: {note}" for note in notes]


def _size_of_raw(settings: ImportSettings) -> int:
    """The side of windows; raises `MdgenError` for settings of pictures and arrays, which samples have no use for."""
    plain = ImportSettings()
    for name in _OF_PICTURES:
        if getattr(settings, name) != getattr(plain, name):
            raise MdgenError(
                f"{name}: is for pictures and arrays; with --raw the radar's YAML says what samples become"
            )
    if settings.size is None:
        raise MdgenError("--size 0: samples have no size of their own; give one")
    return settings.size


def _axes(spectrogram: Spectrogram, radar: RadarFile, peak_db: float, width: int) -> dict[str, float]:
    """What all windows of a recording share."""
    low, high = spectrogram.velocity_edges_mps
    return {
        "velocity_min_mps": low,
        "velocity_max_mps": high,
        "duration_s": width * spectrogram.step_s,
        "db_min": peak_db - radar.dynamic_range_db,
        "db_max": peak_db,
        "carrier_hz": radar.carrier_hz,
        "prf_hz": radar.prf_hz,
        "stft_window_s": radar.window_s,
    }


def _joined(parts: list[tuple[pd.DataFrame, list[str]]]) -> tuple[pd.DataFrame, list[str]]:
    """(the rows of all recordings, the first notes of them)."""
    notes = [note for _, said in parts for note in said]
    more = [f"... and {len(notes) - _MAX_NOTES} more notes"] if len(notes) > _MAX_NOTES else []
    return pd.concat([table for table, _ in parts], ignore_index=True), [*notes[:_MAX_NOTES], *more]


def _pieces(spectrogram: Spectrogram, radar: RadarFile, file: Path) -> tuple[np.ndarray, int]:
    """(first column of every window, columns a window)."""
    width = max(1, round(radar.piece_s / spectrogram.step_s))
    step = max(1, round((radar.step_s or radar.piece_s / 4) / spectrogram.step_s))
    columns = spectrogram.decibel.shape[1]
    if columns < width:
        seconds = columns * spectrogram.step_s
        raise MdgenError(f"{file}: lasts {seconds:.2f} s, less than piece_s {radar.piece_s:g}; shorten piece_s")
    return np.arange(0, columns - width + 1, step), width
