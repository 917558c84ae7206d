"""How well motion is read back: on the simulator, where the truth is known, and on real spectrograms.

    python -m benchmarks.kinematics --mmrgait SOURCE

writes `benchmarks/results/kinematics.json`. Without --mmrgait only the simulator is measured. Minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy
from scipy.io import loadmat

from mdgen.data.simulator import Gait, RadarSettings, sample_person, sample_session, simulate_window
from mdgen.data.simulator.people import window_generator
from validation.measures.kinematics import (
    autocorrelation,
    echo_above_floor,
    envelopes,
    measure,
    noise_floor,
    periods,
    torso_ridge,
)
from validation.measures.scales import USUAL_SPAN_DB, Scales

SEED = 0
USERS, SESSIONS, WINDOWS, SIZE = 24, 3, 5, 64
SNRS_DB = (26.0, 10.0, 5.0, 0.0)
DURATIONS_S = (1.1, 2.2, 3.5)
TOLERANCE = 0.05
RESULT = Path(__file__).parent / "results" / "kinematics.json"


def simulated(snr_db: float, radar: RadarSettings, size: int) -> tuple[np.ndarray, pd.DataFrame]:
    """(images [N, 1, size, size], their truth: speed_mps, step_s, stride_s) of walkers at one signal-to-noise ratio."""
    images, truths = [], []
    for user in range(USERS):
        for session in range(SESSIONS):
            gait = Gait(sample_person(SEED, user), replace(sample_session(SEED, user, session), snr_db=snr_db))
            for window in range(WINDOWS):
                image, truth = simulate_window(gait, window_generator(SEED, user, session, window), size, radar)
                images.append(image[None])
                cycle_s = truth["true_cycle_s"]
                truths.append({"speed_mps": truth["true_speed_mps"], "step_s": cycle_s / 2, "stride_s": cycle_s})
    return np.array(images), pd.DataFrame(truths)


def accuracy(snr_db: float, radar: RadarSettings, size: int = SIZE) -> dict[str, dict[str, float | None]]:
    """Per quantity: share of windows in which it is measurable and within 5 % of the truth, and the errors."""
    images, truth = simulated(snr_db, radar, size)
    one = np.ones(len(images))
    span = radar.velocity_max_mps - radar.velocity_min_mps
    scales = Scales(
        radar.velocity_max_mps * one, span / size * one, radar.duration_s / size * one,
        radar.dynamic_range_db / 2 * one, True,
    )  # fmt: skip
    found = measure(images, scales)
    names = {"speed_mps": "torso_velocity", "step_s": "step_period", "stride_s": "stride_period"}
    return {name: _errors(found[column] / truth[name] - 1) for name, column in names.items()}


def _errors(error: pd.Series) -> dict[str, float | None]:
    known = error.dropna()
    found = {
        "measurable": error.notna().mean(),
        "within_5_percent_of_all_windows": (error.abs() < TOLERANCE).mean(),
        "within_5_percent_of_measurable": (known.abs() < TOLERANCE).mean(),
        "median_error": known.median(),
        "90th_percentile_of_absolute_error": known.abs().quantile(0.9),
    }
    return {name: _rounded(value, 4) for name, value in found.items()}


def noise_taken_for_walking(count: int = 500) -> float:
    """Share of pictures of nothing but noise in which a step period is claimed."""
    noise = np.random.default_rng(SEED).normal(-0.6, 0.2, (count, 1, SIZE, SIZE)).clip(-1, 1)
    one = np.ones(count)
    found = measure(noise, Scales(5.8 * one, 7.2 / SIZE * one, 2.2 / SIZE * one, 20 * one, True))
    return float(found["step_period"].notna().mean())


def real_view(file: Path) -> dict[str, object]:
    """Periods of one MMRGait spectrogram (192 x 246, dB), in columns, and where its autocorrelation peaks."""
    decibel = loadmat(file)["tfmap"]
    x = np.clip(1 + (decibel - decibel.max()) / (USUAL_SPAN_DB / 2), -1, 1)[None]
    one = np.ones(1)
    scales = Scales(x.shape[1] / 2 * one, one, one, USUAL_SPAN_DB / 2 * one, False)
    echo = echo_above_floor(x, noise_floor(x), scales.decibel)
    torso = scales.velocity(torso_ridge(x, scales.decibel))
    upper = scales.velocity(envelopes(echo)[0])
    step, stride, confidence = (float(value[0]) for value in periods(echo, torso, upper, scales))
    correlation = autocorrelation(upper[:, None] - upper.mean())[0]
    peaks = [k for k in range(20, 180) if correlation[k] == correlation[k - 12 : k + 13].max() and correlation[k] > 0.1]
    row = measure(x[:, None], scales).iloc[0]
    return {
        "step_columns": _rounded(step),
        "stride_columns": _rounded(stride),
        "confidence": _rounded(confidence),
        "upper_envelope_autocorrelation_peaks": peaks,
        "torso_rows_above_middle": _rounded(float(row["torso_velocity"])),
    }


def _rounded(value: float, digits: int = 2) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mmrgait", type=Path, help="folder of the MMRGait .MAT files")
    folder = parser.parse_args().mmrgait
    radar = RadarSettings()
    at_10_db = accuracy(10.0, radar)
    report = {
        "target": "speed and step period within 5 % for 90 % of all windows at 10 dB",
        "target_met": {
            name: (at_10_db[name]["within_5_percent_of_all_windows"] or 0) >= 0.9 for name in ("speed_mps", "step_s")
        },
        "windows": USERS * SESSIONS * WINDOWS,
        "by_snr_db": {f"{snr:g}": accuracy(snr, radar) for snr in SNRS_DB},
        "by_duration_s_at_10_db": {f"{d:g}": accuracy(10.0, replace(radar, duration_s=d)) for d in DURATIONS_S},
        "by_size_at_10_db": {str(size): accuracy(10.0, radar, size) for size in (32, 128)},
        "noise_taken_for_walking": noise_taken_for_walking(),
        "mmrgait": {f.stem[-3:]: real_view(f) for f in sorted(folder.glob("*.MAT"))} if folder else None,
        "seed": SEED,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    print(RESULT.read_text(), end="")


if __name__ == "__main__":
    main()
