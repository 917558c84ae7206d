"""Radar samples to spectrograms: tones land where physics says, every file order gives the same cube, and a simulated
walker's ADC cube gives its speed back."""

import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.constants import speed_of_light
from scipy.signal import ShortTimeFFT, get_window
from typer.testing import CliRunner

from cli import app
from mdgen.data.dataset import read_dataset
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.raw.importer import import_raw, plan_raw
from mdgen.data.raw.processing import remove_clutter, to_spectrogram
from mdgen.data.raw.samples import ArrayChirps, open_samples
from mdgen.data.raw.settings import RadarFile, read_radar
from mdgen.data.simulator.kinematics import JOINTS, Gait
from mdgen.data.simulator.people import Person, Session
from mdgen.data.stacks import Stack
from mdgen.errors import MachineError, MdgenError

CW = RadarFile(carrier_hz=24e9, prf_hz=2000, window_s=0.1, clutter="none")
FMCW = {"carrier_hz": 77e9, "prf_hz": 4000, "layout": "adc", "window_s": 0.05, "samples_per_chirp": 32}


def mover(velocity_mps: float, radar: RadarFile, seconds: float = 2.0, noise: float = 0.0) -> np.ndarray:
    """Slow time of a point at constant velocity (approaching positive), complex64."""
    range_m = 10 - velocity_mps * np.arange(int(seconds * radar.prf_hz)) / radar.prf_hz
    rng = np.random.default_rng(0)
    echo = np.exp(-4j * np.pi * range_m / radar.wavelength_m)
    return (echo + noise * (rng.normal(size=len(echo)) + 1j * rng.normal(size=len(echo)))).astype(np.complex64)


def beat(range_m: np.ndarray, strength: np.ndarray, samples: int, bandwidth_hz: float, carrier_hz: float) -> np.ndarray:
    """ADC samples complex64 [chirps, samples] of points whose ranges and amplitudes are [chirps, points]: the beat of
    exp(+j 4 pi R (f0 + B t/T) / c)."""
    fast = np.arange(samples) / samples
    turns = 2 * range_m[:, :, None] / speed_of_light * (carrier_hz + bandwidth_hz * fast)
    return (strength[..., None] * np.exp(2j * np.pi * turns)).sum(1).astype(np.complex64)


@pytest.mark.parametrize("velocity", [-4.0, -0.7, 1.3, 5.0])
def test_a_target_of_known_velocity_lies_in_its_row(velocity: float) -> None:
    spectrogram = to_spectrogram(ArrayChirps(mover(velocity, CW)), CW)
    strongest = spectrogram.velocity_mps[spectrogram.decibel.argmax(0)]
    cell = CW.wavelength_m / (2 * CW.window_s)
    assert np.abs(strongest - velocity).max() <= cell / 2
    assert (np.diff(spectrogram.velocity_mps) < 0).all()


def test_the_spectrogram_is_scipys(tmp_path: Path) -> None:
    signal = mover(1.3, CW, noise=0.5)
    transform = ShortTimeFFT(get_window("hann", 200), 20, 2000, fft_mode="centered", mfft=400, scale_to="magnitude")
    whole = 20 * np.log10(np.abs(transform.stft(signal)))[::-1]
    inside = slice(
        transform.lower_border_end[1] - transform.p_min, transform.upper_border_begin(len(signal))[1] - transform.p_min
    )
    ours = to_spectrogram(ArrayChirps(signal), CW)
    np.testing.assert_allclose(ours.decibel, whole[:, inside], atol=0.01)
    assert ours.step_s == pytest.approx(0.01)


def test_velocities_beyond_the_unambiguous_fold_and_are_warned_of() -> None:
    slow = RadarFile(carrier_hz=24e9, prf_hz=400, window_s=0.1, clutter="none", velocity_max_mps=3, velocity_min_mps=-3)
    assert slow.unambiguous_mps == pytest.approx(1.249, abs=0.001)
    assert "folds velocities beyond 1.25 m/s; 3 m/s needs 961 Hz" in slow.warnings()[0]
    assert CW.warnings() == []
    folded = to_spectrogram(ArrayChirps(mover(2.0, slow)), slow)
    assert np.median(folded.velocity_mps[folded.decibel.argmax(0)]) == pytest.approx(2.0 - 2 * 1.249, abs=0.05)


@pytest.mark.parametrize("clutter", ["mean", "mti"])
def test_what_stands_still_is_removed_and_a_slow_walker_stays(clutter: str) -> None:
    radar = CW.model_copy(update={"clutter": clutter})
    walker = mover(0.6, radar)[:, None]
    left = remove_clutter(walker + 100, radar)
    assert np.abs(left - remove_clutter(walker, radar)).max() < 1e-3
    if clutter == "mean":
        assert np.abs(left).mean() == pytest.approx(1, abs=0.05)


def walker_cube(radar: RadarFile, seconds: float) -> tuple[np.ndarray, float]:
    """(ADC cube complex64 [chirps, 2, samples] of a walker who approaches from 9 m, mean speed of the chest in m/s)."""
    gait = Gait(Person(speed_mps=1.3), Session())
    time = np.arange(int(seconds * radar.prf_hz)) / radar.prf_hz
    joints = gait.joints(time / gait.cycle_s)
    parts = [JOINTS.index(name) for name in ("chest", "pelvis", "left_ankle", "right_ankle", "left_wrist")]
    range_m = np.linalg.norm(np.array([9.0, 0.0, 1.0]) - joints[:, parts], axis=2)
    strength = np.broadcast_to([1.0, 0.4, 0.15, 0.15, 0.1], range_m.shape)
    samples = radar.samples_per_chirp or 0
    cube = beat(range_m, strength, samples, 1e9, radar.carrier_hz)
    wall = beat(np.full((1, 1), 6.0), np.full((1, 1), 30.0), samples, 1e9, radar.carrier_hz)
    noise = np.random.default_rng(0).normal(0, 0.3, (*cube.shape, 2)).view(complex)[..., 0]
    cube = (cube + wall + noise).astype(np.complex64)
    return np.stack([cube, 0.5 * cube], axis=1), float((range_m[0, 0] - range_m[-1, 0]) / time[-1])


def test_a_walkers_adc_cube_gives_its_torso_speed_within_one_cell() -> None:
    radar = RadarFile(
        **{
            **FMCW,
            "samples_per_chirp": 64,
            "receivers": 2,
            "receiver": "sum",
            "velocity_min_mps": -2,
            "velocity_max_mps": 6,
        }
    )
    cube, speed = walker_cube(radar, 3.0)
    spectrogram = to_spectrogram(ArrayChirps(cube), radar)
    ridge = spectrogram.velocity_mps[spectrogram.decibel.argmax(0)]
    assert abs(np.mean(ridge) - speed) <= radar.wavelength_m / (2 * radar.window_s)
    assert "moving target in range bins" in spectrogram.notes[0]
    feet = spectrogram.velocity_mps[(spectrogram.decibel > spectrogram.decibel.max() - 30).any(1)].max()
    assert feet > 2.2 * speed


def binary(cube: np.ndarray, order: str, dtype: str) -> bytes:
    """Integers of a cube [chirps, receivers, samples] in the order a capture card writes them."""
    real, imaginary = np.round(cube.real), np.round(cube.imag)
    if order == "real":
        numbers = real
    elif order == "iiqq":
        numbers = np.stack([real.reshape(*real.shape[:2], -1, 2), imaginary.reshape(*real.shape[:2], -1, 2)], axis=3)
    elif order == "iq-by-receiver":
        numbers = np.stack([real.transpose(0, 2, 1), imaginary.transpose(0, 2, 1)], axis=2)
    else:
        parts = [real, imaginary] if order == "iq" else [imaginary, real]
        numbers = np.stack(parts, axis=-1)
    return numbers.astype(dtype).tobytes()


@pytest.mark.parametrize("order", ["iq", "qi", "iiqq", "iq-by-receiver", "real"])
@pytest.mark.parametrize(("byte_order", "mark"), [("little", "<"), ("big", ">")])
def test_every_binary_order_gives_the_cube_back(tmp_path: Path, order: str, byte_order: str, mark: str) -> None:
    rng = np.random.default_rng(1)
    cube = np.round(rng.normal(0, 500, (900, 3, 16)) + 1j * rng.normal(0, 500, (900, 3, 16)))
    file = tmp_path / "adc.bin"
    file.write_bytes(binary(cube, order, f"{mark}i2"))
    radar = RadarFile(**{**FMCW, "samples_per_chirp": 16, "receivers": 3, "iq_order": order, "byte_order": byte_order})
    chirps, _ = open_samples(file, radar)
    assert len(chirps) == 900
    np.testing.assert_array_equal(chirps[slice(10, 700)], cube[10:700].real if order == "real" else cube[10:700])


def test_of_transmitters_in_turn_the_first_is_used(tmp_path: Path) -> None:
    cube = np.arange(1200 * 4).reshape(1200, 1, 4) % 1000 + 1j
    (tmp_path / "adc.bin").write_bytes(binary(cube, "iq", "<i2"))
    radar = RadarFile(**{**FMCW, "samples_per_chirp": 4, "transmitters": 3})
    chirps, _ = open_samples(tmp_path / "adc.bin", radar)
    assert len(chirps) == 400
    np.testing.assert_array_equal(chirps[slice(5, 9)], cube[15:27:3])


def test_sigmf_brings_its_own_rate_and_carrier(tmp_path: Path) -> None:
    signal = np.round(3000 * mover(1.3, CW))
    pairs = np.stack([signal.real, signal.imag], axis=-1)
    pairs.astype(">i2").tofile(tmp_path / "a.sigmf-data")
    meta = {
        "global": {"core:datatype": "ci16_be", "core:sample_rate": 2000.0, "core:version": "1.2.0"},
        "captures": [{"core:sample_start": 0, "core:frequency": 24e9}],
    }
    (tmp_path / "a.sigmf-meta").write_text(json.dumps(meta))
    chirps, radar = open_samples(tmp_path / "a.sigmf-meta", RadarFile(carrier_hz=10e9, prf_hz=500, clutter="none"))
    assert (radar.carrier_hz, radar.prf_hz) == (24e9, 2000)
    np.testing.assert_array_equal(chirps[slice(0, 4000)][:, 0, 0], signal)


def test_glasgow_text_brings_its_own_numbers(tmp_path: Path) -> None:
    time = np.arange(2000) / 1000
    cube = beat(5 + 1.5 * time[:, None], np.ones((2000, 1)), 8, 400e6, 5.8e9)
    numbers = "\n".join(f"{v.real:.5f}{v.imag:+.5f}i" for v in cube.ravel())
    (tmp_path / "1P36A01R01.dat").write_text(f"5800000000\n1\n8\n400000000\n{numbers}\n")
    chirps, radar = open_samples(tmp_path / "1P36A01R01.dat", RadarFile(carrier_hz=1e9, prf_hz=50, layout="glasgow"))
    assert (radar.carrier_hz, radar.prf_hz) == (5.8e9, 1000)
    spectrogram = to_spectrogram(chirps, radar)
    ridge = np.median(spectrogram.velocity_mps[spectrogram.decibel.argmax(0)])
    assert ridge == pytest.approx(-1.5, abs=radar.wavelength_m / (2 * radar.window_s))


def recordings(root: Path, seconds: float = 8.0) -> Path:
    for u, user in enumerate(("P01", "P02")):
        for take in range(4):
            (root / user).mkdir(parents=True, exist_ok=True)
            np.save(root / user / f"walk{take}.npy", mover(1 + u + 0.2 * take, CW, seconds, noise=0.3))
    return root


def files_of(root: Path) -> dict[Path, bytes]:
    return {file.relative_to(root): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_folder_of_samples_becomes_a_data_set_with_axes(tmp_path: Path) -> None:
    radar = CW.model_copy(update={"velocity_min_mps": -1.0, "velocity_max_mps": 5.0, "piece_s": 2.0, "step_s": 1.0})
    report = import_raw(recordings(tmp_path / "in"), tmp_path / "out", radar, ImportSettings(size=32))
    data = read_dataset(tmp_path / "out")
    assert (report.users, len(data)) == (2, 2 * 4 * 6)
    axes = data.axes()
    assert axes["duration_s"] == pytest.approx(2.0)
    assert axes["velocity_min_mps"] == pytest.approx(-1, abs=0.1)
    assert axes["velocity_max_mps"] == pytest.approx(5, abs=0.1)
    assert data.table["start_column"][:3].tolist() == [0, 16, 32]
    assert (data.table.groupby(["user", "recording"])["split"].nunique() == 1).all()
    rows = data.images[0, 0].mean(1).argmax()
    height = axes["velocity_max_mps"] - axes["velocity_min_mps"]
    assert axes["velocity_max_mps"] - (rows + 0.5) * height / 32 == pytest.approx(1.0, abs=height / 32)
    shared = data.images[0, 0, :, 16:], data.images[1, 0, :, :16]
    np.testing.assert_allclose(*shared, atol=2 / 65535)  # overlapping windows are the same signal on the same scale


KILLED = """
import os, signal, sys
from pathlib import Path
from mdgen.data.importing.settings import ImportSettings
from mdgen.data.raw import importer
from mdgen.data.raw.settings import read_radar

real, seen = importer.to_spectrogram, []

def dying(*arguments):
    seen.append(arguments)
    if len(seen) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)

importer.to_spectrogram = dying
importer.import_raw(sys.argv[1], sys.argv[2], read_radar(Path(sys.argv[3])), ImportSettings(size=16))
"""


def test_an_import_of_samples_killed_by_force_goes_on_and_ends_as_if_undisturbed(tmp_path: Path) -> None:
    source = recordings(tmp_path / "in", seconds=4.0)
    (tmp_path / "radar.yaml").write_text(yaml.safe_dump(CW.model_dump(mode="json", exclude_defaults=True)))
    radar = read_radar(tmp_path / "radar.yaml")
    import_raw(source, tmp_path / "whole", radar, ImportSettings(size=16))
    arguments = [source, tmp_path / "killed", tmp_path / "radar.yaml"]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    report = import_raw(source, tmp_path / "killed", radar, ImportSettings(size=16))
    assert "went on with an import begun before: 3 of 8 recordings were done" in report.lines
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


def test_an_import_of_samples_stopped_at_its_manifest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = recordings(tmp_path / "in", seconds=4.0)
    import_raw(source, tmp_path / "whole", CW, ImportSettings(size=16))
    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_raw(source, tmp_path / "stopped", CW, ImportSettings(size=16))
    import_raw(source, tmp_path / "stopped", CW, ImportSettings(size=16))
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")


def test_a_full_disk_ends_an_import_and_is_no_file_to_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, create = recordings(tmp_path / "in", seconds=4.0), Stack.create

    def filling(file: Path, *like: object) -> Stack:
        if file.name == "00003.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        return create(file, *like)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "create", filling)
        with pytest.raises(MachineError, match=r"No space left on device.*kept for the next try"):
            import_raw(source, tmp_path / "out", CW, ImportSettings(size=16, on_error="skip"))
    report = import_raw(source, tmp_path / "out", CW, ImportSettings(size=16, on_error="skip"))
    assert "went on with an import begun before: 3 of 8 recordings were done" in report.lines


@pytest.mark.parametrize(
    "wish", [{"dynamic_range_db": 60}, {"orientation": "flip"}, {"session_length": 3}, {"size": None}]
)
def test_settings_of_pictures_are_refused_where_samples_are_read(tmp_path: Path, wish: dict) -> None:
    source = recordings(tmp_path / "in")
    for read in (import_raw, plan_raw):
        with pytest.raises(MdgenError, match=next(iter(wish))):
            read(source, tmp_path / "out", CW, ImportSettings.model_validate(wish))


def test_a_radar_without_samples_is_refused(tmp_path: Path) -> None:
    said = CliRunner().invoke(
        app, ["import", "--from", str(tmp_path), "--out", str(tmp_path / "o"), "--radar", "r.yaml"]
    )
    assert said.exit_code == 2
    assert "give --raw too" in said.output


def test_a_raw_plan_writes_nothing(tmp_path: Path) -> None:
    text = "\n".join(plan_raw(recordings(tmp_path / "in"), tmp_path / "out", CW, ImportSettings()))
    assert "2 user(s) (P01, P02), 8 recordings; the first lasts 8.0 s" in text
    assert "unambiguous to +-6.25 m/s" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as radar samples"),
        (b"\0" * 100, "holds 0.0. s of samples, less than two windows"),
    ],
    ids=["empty", "short"],
)
def test_short_and_empty_samples_are_refused_or_skipped(tmp_path: Path, content: bytes, message: str) -> None:
    source = recordings(tmp_path / "in")
    (source / "P01" / "bad.bin").write_bytes(content)
    with pytest.raises(MdgenError, match=message):
        import_raw(source, tmp_path / "out", CW, ImportSettings())
    assert not (tmp_path / "out").exists()
    report = import_raw(source, tmp_path / "out", CW, ImportSettings(on_error="skip"))
    assert any("skipped: 1" in line for line in report.lines)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("carrier_hz: 77e9\nprf_hz: 4000\nreceiver: 3", "receiver 3 is none of the 1"),
        ("carrier_hz: 77e9", "prf_hz"),
        ("carrier_hz: 77e9\nprf_hz: 4000\nwindow: 3", "window"),
        ("- 1", "list of settings"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_radar_that_cannot_be_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "radar.yaml").write_text(content)
    with pytest.raises(MdgenError, match=message):
        read_radar(tmp_path / "radar.yaml")


def test_yaml_exponents_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "radar.yaml").write_text(yaml.safe_dump({"carrier_hz": "77e9", "prf_hz": 4000, "iq_order": "iiqq"}))
    assert read_radar(tmp_path / "radar.yaml").carrier_hz == 77e9
