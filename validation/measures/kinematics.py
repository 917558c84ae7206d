"""Motion read back from spectrograms: torso, envelopes, cadence, energy and continuity, one row of numbers per window.

Pure functions on arrays, all N windows at once. Velocities are in m/s and times in s where the axes are known, else in
rows (above the middle of the picture) and columns. What the numbers say about a generator is for
`validation.blocks.motion` to tell.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import fft, ndimage

from validation.measures.scales import Scales

#: A pixel counts as echo from this far above the noise floor. Receiver noise (exponential in power) passes 8 dB over
#: its median in one pixel of 80.
ECHO_DB = 8.0
#: Share of a column's echo outside each envelope (van Dorp and Groen, 2008, take the first and last few per cent).
ENVELOPE_SHARE = 0.03
#: Rows on either side of the strongest one that belong to the torso.
TORSO_ROWS = 3
#: Widths in rows and columns are for pictures of this side; those of finer ones grow with it.
USUAL_SIDE = 64
#: Steps a walker takes last this long, in s; 0.3 is a sprint, 1.0 a shuffle.
STEP_RANGE_S = (0.3, 1.0)
#: Without axes: shortest and longest step, as shares of the window; three in a window, or it is no repetition.
STEP_RANGE_WINDOW = (1 / 16, 1 / 3)
#: Weighted mean autocorrelation at the step and its multiples below which a period is "not measurable".
CONFIDENCE = 0.3
#: A stride longer than this share of the window repeats too little of itself.
LONGEST_LAG = 0.65
#: Neighbouring columns correlated above this are the same column.
STILL = 0.9999
#: Lags are told to this part of a column.
_PER_COLUMN = 10
_CHUNK = 256


def measure(images: np.ndarray, scales: Scales) -> pd.DataFrame:
    """Every quantity of every window: float64, one row per image of `images` [N, C, H, W] in [-1, 1].

    torso_velocity: mean over time of the torso ridge, signed. torso_swing: its standard deviation over time.
    upper_envelope, lower_envelope: 95th and 5th percentile over time of the envelopes. bandwidth: mean distance between
    the envelopes. centroid: mean velocity of all echo. lead: which side the limbs flash on, (standard deviation of
    the upper envelope - of the lower) / their sum, -1..1. foot_to_torso: peak envelope on the side of walking over the
    torso velocity. asymmetry: (positive - negative) / all echo, -1..1. step_period, stride_period: NaN where not
    measurable. periodicity: confidence in the step period, up to 1. noise_floor, dynamic_range: dB. continuity: mean
    correlation of neighbouring columns. longest_still: longest time in which nothing changes. foot_lag: the
    arrow of time, see `foot_lag`. foot_to_torso and asymmetry are NaN without axes: where zero is, is then unknown.
    """
    x = images.mean(axis=1, dtype=np.float64)
    parts = [_measure(x[i : i + _CHUNK], scales.select(slice(i, i + _CHUNK))) for i in range(0, len(x), _CHUNK)]
    return pd.concat(parts, ignore_index=True)


def _measure(x: np.ndarray, scales: Scales) -> pd.DataFrame:
    floor = noise_floor(x)
    echo = echo_above_floor(x, floor, scales.decibel)
    torso_rows = torso_ridge(x, scales.decibel)
    upper_rows, lower_rows = envelopes(echo)
    torso, upper, lower = (scales.velocity(rows) for rows in (torso_rows, upper_rows, lower_rows))
    step, stride, confidence = periods(echo, torso, upper, scales)
    velocities = scales.velocity(np.broadcast_to(np.arange(x.shape[1], dtype=float), x.shape[:2]))
    speed, bandwidth = torso.mean(axis=1), (upper - lower).mean(axis=1)
    highest, lowest = np.percentile(upper, 95, axis=1), np.percentile(lower, 5, axis=1)
    side = np.where(speed >= 0, 1.0, -1.0) if scales.physical else np.ones(len(x))
    near = _neighbour_correlation(x)
    table = {
        "torso_velocity": speed,
        "torso_swing": torso.std(axis=1),
        "upper_envelope": highest,
        "lower_envelope": lowest,
        "bandwidth": bandwidth,
        "centroid": _weighted_mean(velocities, echo.sum(axis=2)),
        "lead": _difference_over_sum(upper.std(axis=1), lower.std(axis=1)),
        "foot_to_torso": _ratio(np.where(side > 0, highest, lowest), speed, scales),
        "asymmetry": _asymmetry(velocities, echo, scales),
        "step_period": step,
        "stride_period": stride,
        "periodicity": confidence,
        "noise_floor": floor * scales.decibel,
        "dynamic_range": (np.quantile(x, 0.999, axis=(1, 2)) - floor) * scales.decibel,
        "continuity": near.mean(axis=1),
        "longest_still": _longest_run(near > STILL) * scales.per_column,
        "foot_lag": foot_lag(torso * side[:, None], np.where(side[:, None] > 0, upper - torso, torso - lower)),
    }
    return pd.DataFrame(table)


def _cells(x: np.ndarray) -> tuple[float, float]:
    """Rows and columns that make one cell of a picture of 64 x 64, at least 1: finer pictures are smoothed as much."""
    return max(1.0, x.shape[1] / USUAL_SIDE), max(1.0, x.shape[2] / USUAL_SIDE)


def noise_floor(x: np.ndarray) -> np.ndarray:
    """Mean level of the quietest fifth of each picture's rows: float64 [N] from [N, H, W]."""
    means = np.sort(x.mean(axis=2), axis=1)
    return means[:, : max(1, x.shape[1] // 5)].mean(axis=1)


def echo_above_floor(x: np.ndarray, floor: np.ndarray, decibel: np.ndarray) -> np.ndarray:
    """How far each pixel rises over `floor` + `ECHO_DB`, else 0: [N, H, W], slightly smoothed against speckle."""
    fine_row, fine_column = _cells(x)
    smooth = ndimage.gaussian_filter(x, (0, 0.5 * fine_row, 0.7 * fine_column), mode="nearest")
    return np.clip(smooth - (floor + ECHO_DB / decibel)[:, None, None], 0, None)


def torso_ridge(x: np.ndarray, decibel: np.ndarray) -> np.ndarray:
    """Fractional row of the torso in every column, [N, W]: power-weighted about the (smoothed) strongest row."""
    fine_row, fine_column = _cells(x)
    smooth = ndimage.gaussian_filter(x, (0, 0.7 * fine_row, fine_column), mode="nearest")
    strongest = ndimage.median_filter(smooth.argmax(axis=1), (1, 2 * round(2 * fine_column) + 1), mode="nearest")
    rows = np.arange(x.shape[1])[None, :, None]
    power = 10 ** ((x - 1) * decibel[:, None, None] / 10) * (np.abs(rows - strongest[:, None]) <= TORSO_ROWS * fine_row)
    return (power * rows).sum(axis=1) / power.sum(axis=1)


def envelopes(echo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (upper, lower), each [N, W], between which all but `ENVELOPE_SHARE` of a column's echo lies on each side.

    A column without any echo takes the middle row for both.
    """
    total = echo.sum(axis=1, keepdims=True)
    share = echo.cumsum(axis=1) / np.maximum(total, 1e-12)
    upper = np.where(total[:, 0] > 0, (share < ENVELOPE_SHARE).sum(axis=1), echo.shape[1] / 2)
    lower = np.where(total[:, 0] > 0, (share < 1 - ENVELOPE_SHARE).sum(axis=1), echo.shape[1] / 2)
    upper, lower = (ndimage.median_filter(rows.astype(float), (1, 3), mode="nearest") for rows in (upper, lower))
    return upper, lower


def autocorrelation(signals: np.ndarray, per_column: int = 1) -> np.ndarray:
    """Autocorrelation over the last axis, averaged over the middle one by variance: [N, S, W] -> [N, W * per_column],
    biased.

    r(0) = 1 and |r(k)| <= 1 - k / W or so; 0 throughout where nothing varies. Between whole columns it is that of the
    band-limited signal: the spectrum, padded with zeros. Straight lines between columns would have their peaks at whole
    columns only.
    """
    width = signals.shape[-1]
    spectrum = fft.rfft(signals - signals.mean(axis=-1, keepdims=True), 2 * width, axis=-1)
    raw = fft.irfft((np.abs(spectrum) ** 2).sum(axis=1), 2 * width * per_column, axis=-1)[:, : width * per_column]
    return np.divide(raw, raw[:, :1], out=np.zeros_like(raw), where=raw[:, :1] > 1e-9 / per_column)


def periods(
    echo: np.ndarray, torso: np.ndarray, upper: np.ndarray, scales: Scales
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(step period, stride period, confidence), each [N]; periods are NaN where the confidence is below `CONFIDENCE`.

    The autocorrelations of envelope, torso ridge and the whole spectrogram (rows by their variance) are averaged. The
    step is the first lag whose own and multiples' mean autocorrelation nearly reaches the greatest; the stride is the
    highest lag within 15 % of two steps, NaN where it exceeds `LONGEST_LAG` of the window.
    """
    signals = (echo, torso[:, None], upper[:, None])
    correlation = np.mean([autocorrelation(_detrended(s), _PER_COLUMN) for s in signals], axis=0)
    width, per_lag = correlation.shape[1], scales.per_column / _PER_COLUMN
    shortest, longest = STEP_RANGE_S if scales.physical else np.multiply(STEP_RANGE_WINDOW, echo.shape[2])
    lags = np.arange(2 * _PER_COLUMN, width // 2 + 1)
    allowed = (lags * per_lag[:, None] >= shortest) & (lags * per_lag[:, None] <= longest)
    score = np.where(allowed, _comb(correlation, lags), -1.0)
    step, confidence = _first_peak(score, lags)
    around = np.rint(step[:, None] * np.linspace(1.7, 2.3, 61)).astype(int).clip(max=width - _PER_COLUMN)
    heights = np.take_along_axis(correlation, around, 1) / (1 - around / width)
    best = heights.argmax(axis=1)
    stride = np.take_along_axis(around, best[:, None], 1)[:, 0]
    measurable = confidence >= CONFIDENCE
    two_strides = measurable & (stride <= LONGEST_LAG * width) & (best > 0) & (best < 60)
    step, stride = np.where(measurable, step, np.nan), np.where(two_strides, stride, np.nan)
    return step * per_lag, stride * per_lag, confidence


def foot_lag(torso: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """How much better the feet's reach fits the torso a moment (1/16 of the window) earlier than later: [N], -2..2.

    Walking, the torso speeds up before the foot does, so real windows lie on one side of zero; reversed time mirrors
    it.
    torso, reach: [N, W], velocity in the direction of walking and how far the leading envelope is beyond it.
    """
    lag = max(1, torso.shape[1] // 16)
    torso, reach = (v - v.mean(axis=1, keepdims=True) for v in (torso, reach))
    before = (reach[:, lag:] * torso[:, :-lag]).mean(axis=1)
    after = (reach[:, :-lag] * torso[:, lag:]).mean(axis=1)
    spread = torso.std(axis=1) * reach.std(axis=1)
    return np.divide(before - after, spread, out=np.zeros(len(torso)), where=spread > 1e-9)


def _comb(correlation: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Mean autocorrelation at one, two and three times each lag, unbiased and weighted by the overlap: [N, L]."""
    width = correlation.shape[1]
    total, weight = np.zeros((len(correlation), len(lags))), np.zeros(len(lags))
    for multiple in (1, 2, 3):
        inside = multiple * lags <= 0.9 * width
        total += correlation[:, np.minimum(multiple * lags, width - 1)] * inside
        weight += (1 - multiple * lags / width) * inside
    return total / weight


def _first_peak(score: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lag, height), each [N], of the first local maximum of [N, L] of 70 % of the highest or more; height 0: none."""
    inner = score[:, 1:-1]
    peaks = np.where((inner > score[:, :-2]) & (inner >= score[:, 2:]) & (score[:, :-2] > -1), inner, 0.0)
    first = (peaks >= 0.7 * np.maximum(peaks.max(axis=1, keepdims=True), 1e-9)).argmax(axis=1)
    return lags[first + 1], np.take_along_axis(peaks, first[:, None], 1)[:, 0]


def _detrended(values: np.ndarray) -> np.ndarray:
    """Float [..., W] less the cubic through each row: walkers speed up, turn and come nearer."""
    basis = np.linalg.qr(np.vander(np.linspace(-1, 1, values.shape[-1]), 4))[0]
    return values - values @ basis @ basis.T


def _neighbour_correlation(x: np.ndarray) -> np.ndarray:
    """Correlation of every column with the next, [N, W - 1]; 1 where a column does not vary."""
    z = x - x.mean(axis=1, keepdims=True)
    norm = np.sqrt((z**2).sum(axis=1))
    product = (z[:, :, :-1] * z[:, :, 1:]).sum(axis=1)
    scale = norm[:, :-1] * norm[:, 1:]
    return np.divide(product, scale, out=np.ones_like(product), where=scale > 1e-9)


def _longest_run(flags: np.ndarray) -> np.ndarray:
    """Length of the longest run of True in each row: [N] from bool [N, W]."""
    run = longest = np.zeros(len(flags))
    for column in flags.T:
        run = (run + 1) * column
        longest = np.maximum(longest, run)
    return longest


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(axis=1)
    return np.where(total > 0, (values * weights).sum(axis=1) / np.maximum(total, 1e-12), values.mean(axis=1))


def _ratio(reach: np.ndarray, speed: np.ndarray, scales: Scales) -> np.ndarray:
    usable = scales.physical & (np.abs(speed) > scales.per_row)
    return np.divide(reach, speed, out=np.full(len(reach), np.nan), where=usable)


def _asymmetry(velocities: np.ndarray, echo: np.ndarray, scales: Scales) -> np.ndarray:
    total = echo.sum(axis=(1, 2))
    signed = (np.sign(velocities) * echo.sum(axis=2)).sum(axis=1)
    return np.divide(signed, total, out=np.full(len(total), np.nan), where=(total > 0) & scales.physical)


def _difference_over_sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a - b, a + b, out=np.zeros(len(a)), where=a + b > 1e-9)
