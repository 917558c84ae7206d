"""What a continuous-wave Doppler radar makes of an echo: clutter and noise added to I/Q, then a dB spectrogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.constants import speed_of_light
from scipy.signal import get_window, lfilter

from mdgen.errors import MdgenError


@dataclass(frozen=True)
class RadarSettings:
    """The radar and its picture, whose lower and upper edges are `velocity_min_mps` and `velocity_max_mps`."""

    carrier_hz: float = 24.125e9
    prf_hz: float = 2000.0  #: I/Q samples per second
    window_s: float = 0.055  #: longest STFT window; a Doppler cell is wavelength / (2 window_s)
    duration_s: float = 2.2
    velocity_min_mps: float = -1.4
    velocity_max_mps: float = 5.8
    dynamic_range_db: float = 40.0  #: shown below the peak of each picture
    remove_static: bool = True  #: subtract the mean I/Q (moving-target indication)
    notch_mps: float = 0.0  #: half width of the slow velocities that a clutter filter takes out besides
    peak_db: float = 0.0  #: level of each picture's peak below the upper end of its scale
    noise_looks: int = 1  #: range bins or receivers whose power is added up: each brings noise, one the echo

    def __post_init__(self) -> None:
        limits = {
            **{"carrier_hz": (1e9, 100e9), "prf_hz": (100, 1e5), "window_s": (0.005, 0.5), "duration_s": (0.5, 4.0)},
            **{
                "notch_mps": (0, 1),
                "noise_looks": (1, 64),
                "peak_db": (-60, 0),
                "dynamic_range_db": (10, 100),
                "velocity_max_mps": (0.5, 30),
                "velocity_min_mps": (-30, 0),
            },
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise MdgenError(
                    f"RadarSettings: {name} = {getattr(self, name)} is impossible; use {low:g} to {high:g}"
                )
        fastest = max(self.velocity_max_mps, -self.velocity_min_mps)
        if self.prf_hz < 4 * fastest / self.wavelength_m:
            need = int(np.ceil(4 * fastest / self.wavelength_m))
            raise MdgenError(
                f"RadarSettings: prf_hz = {self.prf_hz:g} aliases {fastest:g} m/s at {self.carrier_hz:g} Hz; "
                f"use at least {need} or show a smaller span of velocities"
            )

    @property
    def wavelength_m(self) -> float:
        return speed_of_light / self.carrier_hz

    def row_velocities(self, size: int) -> np.ndarray:
        """[size] m/s at the middle of each row, the greatest first."""
        step = (self.velocity_max_mps - self.velocity_min_mps) / size
        return self.velocity_max_mps - step * (np.arange(size) + 0.5)

    def window_samples(self, size: int) -> int:
        """STFT window: one row resolves one Doppler cell, but no longer than `window_s` (rows then share a cell)."""
        row_mps = (self.velocity_max_mps - self.velocity_min_mps) / size
        return max(8, round(self.prf_hz * min(self.window_s, self.wavelength_m / (2 * row_mps))))


def receive(
    iq: np.ndarray, snr_db: float, clutter_db: float, radar: RadarSettings, rng: np.random.Generator
) -> np.ndarray:
    """Add white receiver noise and what the surroundings return; complex64 [looks, T], the echo in the first look.

    Clutter is a constant plus a slow wander of about 1 Hz (moving leaves, oscillator drift): the constant part goes
    when `remove_static` is set, the wander remains as the line at zero Doppler unless `notch_mps` takes it out.
    """
    noise, wander = rng.standard_normal((2, 2 * len(iq)), np.float32).view(np.complex64)
    pole = np.exp(-2 * np.pi * 1.0 / radar.prf_hz)
    wander = lfilter([np.sqrt((1 - pole**2) / 2)], [1, -pole], wander)
    clutter = 10 ** (clutter_db / 20) * (wander + 10 * np.exp(2j * np.pi * rng.uniform()))
    signal = iq + clutter + 10 ** (-snr_db / 20) / np.sqrt(2) * noise
    signal = (signal - signal.mean() if radar.remove_static else signal).astype(np.complex64)[None]
    if radar.noise_looks > 1:
        noise = rng.standard_normal((radar.noise_looks - 1, 2 * len(iq)), np.float32).view(np.complex64)
        signal = np.concatenate([signal, np.float32(10 ** (-snr_db / 20) / np.sqrt(2)) * noise])
    return _without_slow(signal, radar) if radar.notch_mps else signal


def _without_slow(signal: np.ndarray, radar: RadarSettings) -> np.ndarray:
    """[looks, T] less everything slower than about `notch_mps`: a Gaussian high-pass."""
    velocity = np.fft.fftfreq(signal.shape[1], 1 / radar.prf_hz) * radar.wavelength_m / 2
    keep = 1 - np.exp(-0.5 * (velocity / radar.notch_mps) ** 2)
    return np.fft.ifft(np.fft.fft(signal) * keep).astype(np.complex64)


def spectrogram(iq: np.ndarray, size: int, radar: RadarSettings) -> np.ndarray:
    """float32 [size, size] in [-1, 1]: dB below the picture's peak, row 0 the highest approaching velocity."""
    decibel = relative_db(iq, size, radar)
    return shown(decibel + np.float32(radar.peak_db) if radar.peak_db else decibel, radar.dynamic_range_db)


def shown(decibel: np.ndarray, dynamic_range_db: float) -> np.ndarray:
    """float32 in [-1, 1] from dB below the upper end: the last `dynamic_range_db` of them, linear."""
    return (1 + np.maximum(decibel, -dynamic_range_db) * (2 / dynamic_range_db)).clip(-1, 1).astype(np.float32)


def relative_db(iq: np.ndarray, size: int, radar: RadarSettings) -> np.ndarray:
    """float32 [size, size]: power of I/Q [looks, T] (or [T]) in dB below the picture's peak, summed over the looks.

    Every pixel is an STFT value (Hann window), computed at the middle of its row and column: nothing is resampled.
    """
    length = radar.window_samples(size)
    starts = column_starts(size, radar)
    doppler_hz = 2 * radar.row_velocities(size) / radar.wavelength_m
    kernel = np.exp(-2j * np.pi / radar.prf_hz * np.outer(np.arange(length), doppler_hz))
    kernel *= get_window("hann", length)[:, None]
    kernel = kernel.astype(np.complex64)
    looks = [np.abs(sliding_window_view(look, length)[starts] @ kernel).T for look in np.atleast_2d(iq)]
    amplitude = looks[0] if len(looks) == 1 else np.sqrt(sum(look**2 for look in looks))
    return 20 * np.log10(np.maximum(amplitude / amplitude.max(), 1e-9))


def column_starts(size: int, radar: RadarSettings) -> np.ndarray:
    """int [size]: the first I/Q sample of each column's STFT window."""
    return np.round((np.arange(size) + 0.5) * radar.duration_s / size * radar.prf_hz).astype(int)


def signal_samples(size: int, radar: RadarSettings) -> int:
    """I/Q samples a picture of `size` columns needs."""
    return round(radar.duration_s * radar.prf_hz) + radar.window_samples(size) + 1
