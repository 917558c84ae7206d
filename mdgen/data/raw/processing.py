"""From ADC samples to a spectrogram in dB: range FFT, static clutter, range bins, short-time Fourier transform.

Row 0 is the highest approaching velocity. Doppler fd = 2 v / wavelength, approaching positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import ShortTimeFFT, get_window

from mdgen.data.raw.samples import Chirps
from mdgen.data.raw.settings import RadarFile

#: Chirps transformed at a time, by the numbers they hold: bounds the memory whatever the file's size.
_BLOCK_VALUES = 2**22
#: Range bins within this of the strongest moving echo are taken, and everything between them: a walker crosses many.
_MOVING_DB = 10.0
#: A slow target's echo passes a mean over this long; what stands still does not.
_MEAN_S = 2.0


@dataclass(frozen=True)
class Spectrogram:
    """decibel: float32 [Doppler, time], row 0 the highest approaching velocity. velocity_mps: float [Doppler], of the
    rows. step_s: between columns. notes: what was done or found."""

    decibel: np.ndarray
    velocity_mps: np.ndarray
    step_s: float
    notes: list[str]

    @property
    def velocity_edges_mps(self) -> tuple[float, float]:
        """Lowest and highest velocity shown: the outer edges of the outer rows."""
        half = abs(self.velocity_mps[0] - self.velocity_mps[1]) / 2
        return float(self.velocity_mps[-1] - half), float(self.velocity_mps[0] + half)


def to_spectrogram(chirps: Chirps, radar: RadarFile) -> Spectrogram:
    """The spectrogram of a recording; memory grows with its slow time only, not with range bins or receivers."""
    bins, notes = _moving_bins(chirps, radar)
    slow = _slow_time(chirps, radar, bins)
    slow = remove_clutter(slow, radar)
    if radar.range_combine == "coherent":
        slow = slow.sum(1, keepdims=True)
    transform = short_time_fft(radar)
    power = sum(_power(transform, channel) for channel in slow.T)
    velocity = transform.f * radar.wavelength_m / 2
    keep = (velocity >= radar.velocity_limits_mps[0]) & (velocity <= radar.velocity_limits_mps[1])
    decibel = 10 * np.log10(np.maximum(np.asarray(power)[keep], 1e-30)).astype(np.float32)
    return Spectrogram(decibel[::-1], velocity[keep][::-1], transform.delta_t, notes + _wrap_note(np.asarray(power)))


def short_time_fft(radar: RadarFile) -> ShortTimeFFT:
    """scipy's transform with the radar's window (Hann, unit gain for a steady tone), hop and padding."""
    length = max(8, round(radar.window_s * radar.prf_hz))
    hop = max(1, round(length * (1 - radar.overlap)))
    window = get_window("hann", length)
    return ShortTimeFFT(
        window, hop, radar.prf_hz, fft_mode="centered", mfft=length * radar.padding, scale_to="magnitude"
    )


def remove_clutter(slow: np.ndarray, radar: RadarFile) -> np.ndarray:
    """Slow time [pulses, channels] without what stands still.

    mean: a moving mean over two seconds is taken off (it leaves slow walkers whole). mti: the difference of successive
    pulses, the classical delay-line canceller (Skolnik), which also weakens slow movement.
    """
    if radar.clutter == "mti":
        return np.diff(slow, axis=0, prepend=slow[:1])
    if radar.clutter == "mean":
        span = min(len(slow), max(3, round(_MEAN_S * radar.prf_hz)))
        share = uniform_filter1d(np.ones(len(slow)), span, mode="constant")[:, None]  # of the span inside the recording
        means = [uniform_filter1d(part, span, axis=0, mode="constant") / share for part in (slow.real, slow.imag)]
        return (slow - (means[0] + 1j * means[1])).astype(np.complex64)
    return slow


def range_profiles(samples: np.ndarray) -> np.ndarray:
    """complex64 [chirps, receivers, bins]: FFT over fast time (Hann); real samples keep the positive half."""
    count = samples.shape[-1]
    if count == 1:
        return samples.astype(np.complex64)
    window = get_window("hann", count, fftbins=False).astype(np.float32)
    transformed = np.fft.fft(samples * window, axis=-1) if np.iscomplexobj(samples) else np.fft.rfft(samples * window)
    return transformed.astype(np.complex64)


def _blocks(chirps: Chirps, radar: RadarFile):
    """Range profiles [chirps, channels, bins] of successive blocks, of the receivers that are used."""
    probe = chirps[slice(0, 1)]
    step = max(1, _BLOCK_VALUES // probe[0].size)
    for start in range(0, len(chirps), step):
        samples = chirps[slice(start, start + step)]
        samples = samples if radar.receiver == "sum" else samples[:, [radar.receiver]]
        profiles = range_profiles(samples)
        yield profiles if radar.phase_rises else profiles.conj()


def _moving_bins(chirps: Chirps, radar: RadarFile) -> tuple[slice, list[str]]:
    """The range bins that hold the moving target: from the first to the last within 10 dB of the strongest change."""
    change: np.ndarray | None = None
    for profiles in _blocks(chirps, radar):
        power = np.square(np.abs(np.diff(profiles, axis=0))).sum((0, 1))
        change = power if change is None else change + power
    assert change is not None
    if radar.range_bins == "all" or len(change) == 1:
        return slice(0, len(change)), []
    if isinstance(radar.range_bins, tuple):
        first, last = radar.range_bins
        return slice(max(0, first), min(last + 1, len(change))), []
    moving = np.flatnonzero(change >= change.max() * 10 ** (-_MOVING_DB / 10))
    first, last = int(moving[0]), int(moving[-1])
    return slice(first, last + 1), [f"moving target in range bins {first}-{last} of {len(change)}"]


def _slow_time(chirps: Chirps, radar: RadarFile, bins: slice) -> np.ndarray:
    """complex64 [pulses, channels]: every receiver and range bin that is used."""
    parts = [profiles[..., bins].reshape(len(profiles), -1) for profiles in _blocks(chirps, radar)]
    return np.concatenate(parts)


def _power(transform: ShortTimeFFT, channel: np.ndarray) -> np.ndarray:
    """float32 [Doppler, time]: only columns whose window lies inside the recording."""
    first, last = transform.lower_border_end[1], transform.upper_border_begin(len(channel))[1]
    return np.square(np.abs(transform.stft(channel, p0=first, p1=max(last, first + 1)))).astype(np.float32)


def _wrap_note(power: np.ndarray) -> list[str]:
    """A warning where there is much energy at the ends of the Doppler axis: it has probably folded over."""
    profile, rows = power.mean(1), max(1, len(power) // 50)
    edge = max(profile[:rows].mean(), profile[-rows:].mean())
    if edge > 10 * np.median(profile):
        return ["warning: echoes reach the ends of the Doppler axis and probably fold over; a higher PRF is needed"]
    return []
