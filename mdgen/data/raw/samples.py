"""Files of radar samples as arrays [chirps, receivers, samples] (ADC) or [pulses, 1, 1] (slow time), read in parts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mdgen.data.raw.settings import RadarFile
from mdgen.errors import MdgenError

#: What is taken for samples in a folder.
SUFFIXES = (".npy", ".bin", ".dat", ".sigmf-meta", ".iq", ".raw")


class Chirps(Protocol):
    """Samples of one recording. len: chirps of the first transmitter."""

    def __len__(self) -> int: ...

    def __getitem__(self, chirps: slice) -> np.ndarray:
        """complex64 or float32 [chirps, receivers, samples]."""


@dataclass(frozen=True)
class ArrayChirps:
    """An array in memory or mapped, [pulses] or [chirps, receivers, samples]; every `transmitters`-th chirp is used."""

    array: np.ndarray
    transmitters: int = 1

    def __len__(self) -> int:
        return len(self.array) // self.transmitters

    def __getitem__(self, chirps: slice) -> np.ndarray:
        t = self.transmitters
        part = self.array[chirps.start * t : min(chirps.stop, len(self)) * t : t]
        part = part[:, None, None] if part.ndim == 1 else part[:, None] if part.ndim == 2 else part
        return part.astype(np.complex64 if np.iscomplexobj(part) else np.float32)


@dataclass(frozen=True)
class BinaryChirps:
    """Numbers of a flat binary file, mapped: per chirp all receivers, each with its samples, I and Q in `iq_order`."""

    numbers: np.ndarray
    radar: RadarFile

    @property
    def _per_chirp(self) -> int:
        parts = 1 if self.radar.iq_order == "real" else 2
        return parts * (self.radar.samples_per_chirp or 1) * self.radar.receivers

    def __len__(self) -> int:
        return len(self.numbers) // (self._per_chirp * self.radar.transmitters)

    def __getitem__(self, chirps: slice) -> np.ndarray:
        radar, transmitters = self.radar, self.radar.transmitters
        stop = min(chirps.stop, len(self))
        size = self._per_chirp * transmitters
        part = self.numbers[chirps.start * size : stop * size].reshape(-1, transmitters, self._per_chirp)[:, 0]
        return _to_complex(part.astype(np.float32), radar.iq_order, radar.receivers)


def _to_complex(numbers: np.ndarray, order: str, receivers: int) -> np.ndarray:
    """[chirps, numbers of a chirp] to [chirps, receivers, samples]; orders of TI's "mmWave Radar Device ADC Raw Data
    Capture" (SWRA581B): iiqq = two I, then two Q (2 LVDS lanes); iq-by-receiver = I of all receivers, then Q (4)."""
    chirps = len(numbers)
    if order == "real":
        return numbers.reshape(chirps, receivers, -1)
    if order == "iiqq":
        pairs = numbers.reshape(chirps, receivers, -1, 2, 2)
        return (pairs[..., 0, :] + 1j * pairs[..., 1, :]).reshape(chirps, receivers, -1).astype(np.complex64)
    if order == "iq-by-receiver":
        parts = numbers.reshape(chirps, -1, 2, receivers)
        return (parts[:, :, 0] + 1j * parts[:, :, 1]).transpose(0, 2, 1).astype(np.complex64)
    pairs = numbers.reshape(chirps, receivers, -1, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    return (first + 1j * second if order == "iq" else second + 1j * first).astype(np.complex64)


def open_samples(file: Path, radar: RadarFile) -> tuple[Chirps, RadarFile]:
    """(the samples of `file`, the radar with what the file itself says). Raises `MdgenError` for unfit files."""
    try:
        chirps, radar = _open(file, radar)
    except MdgenError:
        raise
    except Exception as error:  # whatever a broken file makes a parser raise
        reason = " ".join(str(error).split())[:120]
        raise MdgenError(f"{file}: cannot be read as radar samples ({reason}); replace or remove it") from error
    if len(chirps) < 2 * radar.window_s * radar.prf_hz:
        seconds = len(chirps) / radar.prf_hz
        raise MdgenError(f"{file}: holds {seconds:.2f} s of samples, less than two windows of {radar.window_s:g} s")
    return chirps, radar


def _open(file: Path, radar: RadarFile) -> tuple[Chirps, RadarFile]:
    if not file.is_file():
        raise MdgenError(f"{file}: is missing; restore it")
    if radar.layout == "glasgow":
        return _read_glasgow(file, radar)
    if file.suffix == ".npy":
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        _check_array(array, file, radar)
        return ArrayChirps(array, radar.transmitters), radar
    if file.suffix == ".sigmf-meta":
        return _open_sigmf(file, radar)
    if radar.layout == "adc" and radar.samples_per_chirp is None:
        raise MdgenError(f"{file}: a binary file of ADC samples needs samples_per_chirp (and receivers) in --radar")
    order = "<" if radar.byte_order == "little" else ">"
    numbers = np.memmap(file, np.dtype(f"{order}{radar.dtype[0]}{int(radar.dtype[-2:]) // 8}"), mode="r")
    return BinaryChirps(numbers, radar), radar


def _check_array(array: np.ndarray, file: Path, radar: RadarFile) -> None:
    wanted = "complex [pulses]" if radar.layout == "iq" else "[chirps, samples] or [chirps, receivers, samples]"
    fits = array.ndim == 1 and array.dtype.kind == "c" if radar.layout == "iq" else array.ndim in (2, 3)
    if not fits or array.dtype.kind not in "fciu":
        raise MdgenError(f"{file}: has shape {array.shape} of {array.dtype}; layout {radar.layout} needs {wanted}")
    if array.ndim == 3 and isinstance(radar.receiver, int) and radar.receiver >= array.shape[1]:
        raise MdgenError(f"{file}: has {array.shape[1]} receivers, and receiver {radar.receiver} is wanted")


_SIGMF_TYPES = {"cf32": np.float32, "cf64": np.float64, "ci32": np.int32, "ci16": np.int16, "ci8": np.int8}


def _open_sigmf(file: Path, radar: RadarFile) -> tuple[Chirps, RadarFile]:
    """A SigMF recording (sigmf.org, 1.x): the sample rate and carrier of the file win over the YAML's."""
    meta = json.loads(file.read_text(encoding="utf-8"))
    kind, _, order = str(meta["global"]["core:datatype"]).partition("_")
    if kind not in _SIGMF_TYPES:
        raise MdgenError(f"{file}: datatype {kind!r} is not read; one of {', '.join(_SIGMF_TYPES)} is")
    if int(meta["global"].get("core:num_channels", 1)) != 1:
        raise MdgenError(f"{file}: has several channels; save one")
    dtype = np.dtype(_SIGMF_TYPES[kind]).newbyteorder(">" if order == "be" else "<")
    numbers = np.memmap(file.with_suffix(".sigmf-data"), dtype, mode="r")
    own = {"prf_hz": meta["global"].get("core:sample_rate")}
    own["carrier_hz"] = next((c["core:frequency"] for c in meta.get("captures", []) if "core:frequency" in c), None)
    radar = RadarFile.model_validate(radar.model_dump() | {k: float(v) for k, v in own.items() if v})
    flat = replace_layout(radar, samples_per_chirp=None, receivers=1, receiver=0, transmitters=1, iq_order="iq")
    return BinaryChirps(numbers, flat), radar


def _read_glasgow(file: Path, radar: RadarFile) -> tuple[Chirps, RadarFile]:
    """The text of the Glasgow activity set: carrier (Hz), chirp time (ms), samples per chirp and bandwidth (Hz), one a
    line, then one complex ADC sample a line (`1.5-2i`)."""
    with open(file, encoding="ascii") as stream:
        carrier_hz, chirp_ms, samples, _bandwidth_hz = (float(stream.readline()) for _ in range(4))
        values = np.array([line.strip().replace(" ", "").replace("i", "j") for line in stream if line.strip()])
    count = int(samples)
    values = values.astype(np.complex64)
    cube = values[: len(values) // count * count].reshape(-1, 1, count)
    own = {"carrier_hz": carrier_hz, "prf_hz": 1e3 / chirp_ms, "receivers": 1, "receiver": 0, "transmitters": 1}
    return ArrayChirps(cube), RadarFile.model_validate(radar.model_dump() | own)


def replace_layout(radar: RadarFile, **changes: object) -> RadarFile:
    """`radar` with other file layout."""
    return RadarFile.model_validate(radar.model_dump() | changes)
