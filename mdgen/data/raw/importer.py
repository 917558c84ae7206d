"""`mdgen import --raw`: every file of radar samples becomes a recording, cut into windows of equal duration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from natsort import natsorted

from mdgen.data.colormaps import resize_area
from mdgen.data.dataset import START_COLUMN, atomic_folder, make_table
from mdgen.data.images import write_png16
from mdgen.data.importing.grouping import give_roles
from mdgen.data.importing.importer import ImportReport
from mdgen.data.importing.layouts import label_files
from mdgen.data.importing.problems import Problems
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.importing.work import check_target
from mdgen.data.raw.processing import Spectrogram, to_spectrogram
from mdgen.data.raw.samples import SUFFIXES, open_samples
from mdgen.data.raw.settings import RadarFile
from mdgen.errors import MdgenError
from mdgen.progress import Progress

_MAX_NOTES = 10


def import_raw(
    source: str | Path, out: str | Path, radar: RadarFile, settings: ImportSettings, progress: Progress | None = None
) -> ImportReport:
    """Write the samples below `source` as the data set `out`: one recording a file, windows of `radar.piece_s`.

    The manifest has velocity axis, duration, dB span, carrier, PRF and STFT window. Raises `MdgenError`; nothing is
    then written.
    """
    source, out = Path(source), Path(out)
    check_target(out, source)
    problems, progress = Problems(settings.on_error == "skip"), progress or Progress(quiet=True)
    root, listing, lines = list_recordings(source, settings, problems)
    tables: list[pd.DataFrame] = []
    notes: list[str] = []
    with atomic_folder(out) as folder:
        (folder / "images").mkdir()
        with progress.task("import", len(listing)) as advance:
            for _, row in listing.iterrows():
                try:
                    table, said = _write_recording(
                        root, row, radar, settings.size or 64, folder, sum(len(t) for t in tables)
                    )
                    tables.append(table)
                    notes += [f"{row['source']}: {line}" for line in said]
                except MdgenError as error:
                    problems.meet(row["source"], error)
                advance()
        if not tables:
            first = next(iter(problems.found.values()), "no files")
            raise MdgenError(f"{source}: nothing could be imported; the first: {first}")
        table, roles = give_roles(pd.concat(tables, ignore_index=True), settings, settings.size or 64)
        table.to_csv(folder / "manifest.csv", index=False)
    more = [f"... and {len(notes) - _MAX_NOTES} more notes"] if len(notes) > _MAX_NOTES else []
    lines = [*lines, *radar_lines(radar), *notes[:_MAX_NOTES], *more, *roles, *problems.lines]
    return ImportReport(lines, len(table), table["user"].nunique())


def plan_raw(source: str | Path, out: str | Path, radar: RadarFile, settings: ImportSettings) -> list[str]:
    """What an import would do; reads one recording and writes nothing."""
    check_target(Path(out), Path(source))
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


def _write_recording(
    root: Path, row: pd.Series, radar: RadarFile, size: int, folder: Path, first: int
) -> tuple[pd.DataFrame, list[str]]:
    """Write the windows of one recording, numbered from `first`; their rows of the manifest, and notes."""
    chirps, radar = open_samples(root / row["source"], radar)
    spectrogram = to_spectrogram(chirps, radar)
    starts, width = _pieces(spectrogram, radar, root / row["source"])
    peak = float(spectrogram.decibel.max())
    scaled = np.clip(1 + (spectrogram.decibel - peak) * (2 / radar.dynamic_range_db), -1, 1)
    files = [f"images/{first + i:06d}.png" for i in range(len(starts))]
    for file, start in zip(files, starts, strict=True):
        write_png16(folder / file, resize_area(scaled[:, start : start + width], size))
    low, high = spectrogram.velocity_edges_mps
    labels = {str(k): v for k, v in row.items() if k not in ("number",)}
    table = make_table(file=files).assign(**labels)
    axes = {
        "velocity_min_mps": low,
        "velocity_max_mps": high,
        "duration_s": width * spectrogram.step_s,
        "db_min": peak - radar.dynamic_range_db,
        "db_max": peak,
        START_COLUMN: starts * (size / width),
        "carrier_hz": radar.carrier_hz,
        "prf_hz": radar.prf_hz,
        "stft_window_s": radar.window_s,
    }
    return table.assign(**axes), spectrogram.notes


def _pieces(spectrogram: Spectrogram, radar: RadarFile, file: Path) -> tuple[np.ndarray, int]:
    """(first column of every window, columns a window)."""
    width = max(1, round(radar.piece_s / spectrogram.step_s))
    step = max(1, round((radar.step_s or radar.piece_s / 4) / spectrogram.step_s))
    columns = spectrogram.decibel.shape[1]
    if columns < width:
        seconds = columns * spectrogram.step_s
        raise MdgenError(f"{file}: lasts {seconds:.2f} s, less than piece_s {radar.piece_s:g}; shorten piece_s")
    return np.arange(0, columns - width + 1, step), width
