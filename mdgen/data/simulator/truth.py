"""Where every joint really was: the truth behind a simulated picture, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdgen.data.simulator.activities import BAG, Motion
from mdgen.data.simulator.echo import Sight, body_times
from mdgen.data.simulator.kinematics import JOINTS
from mdgen.data.simulator.radar import RadarSettings, column_starts, signal_samples

#: The file beside `manifest.csv`; row i of its arrays is row i of the manifest.
TRUTH_FILE = "truth.npz"
_STEP_S = 1e-4


@dataclass(frozen=True)
class Truth:
    """Of N windows with W columns and J joints (`joints`, by name; the last is the bag, NaN where there is none).

    position_m: float32 [N, W, J, 3], the radar in the origin, x along the way, z up. velocity_mps: [N, W, J, 3].
    radial_mps: [N, W, J], towards the radar is positive: what a spectrogram shows. time_s: [W], middles of the columns.
    """

    position_m: np.ndarray
    velocity_mps: np.ndarray
    radial_mps: np.ndarray
    time_s: np.ndarray
    joints: tuple[str, ...] = (*JOINTS, BAG)

    def radial_of(self, joint: str) -> np.ndarray:
        """[N, W]: radial velocity of one joint, m/s."""
        return self.radial_mps[..., self.joints.index(joint)]


@dataclass(frozen=True)
class Track:
    """The truth of one window: position, velocity [W, J, 3] and time [W]."""

    position_m: np.ndarray
    velocity_mps: np.ndarray
    time_s: np.ndarray


def track(motion: Motion, sight: Sight, size: int, radar: RadarSettings) -> Track:
    """Where the joints are in the middle of every column's STFT window, and how they move."""
    radar_m = sight.radar_m(motion.joints(body_times(signal_samples(size, radar), radar)[0]))
    time = (column_starts(size, radar) + radar.window_samples(size) / 2) / radar.prf_hz
    position = motion.joints(time)
    velocity = (motion.joints(time + _STEP_S) - motion.joints(time - _STEP_S)) / (2 * _STEP_S)
    missing = np.full((len(time), len(JOINTS) + 1 - position.shape[1], 3), np.nan)
    position, velocity = (np.concatenate([values, missing], axis=1) for values in (position - radar_m, velocity))
    return Track(position, velocity, time)


def stack_tracks(tracks: list[Track]) -> Truth:
    """The truth of all windows."""
    position, velocity = (np.stack([getattr(t, name) for t in tracks]) for name in ("position_m", "velocity_mps"))
    radial = -(position * velocity).sum(axis=-1) / np.linalg.norm(position, axis=-1)
    position, velocity, radial = (values.astype(np.float32) for values in (position, velocity, radial))
    return Truth(position, velocity, radial, tracks[0].time_s)


def write_truth(truth: Truth, folder: Path) -> Path:
    """All arrays of `truth` under their names in `folder`/truth.npz, with `joints` as text."""
    file = folder / TRUTH_FILE
    arrays = {name: getattr(truth, name) for name in ("position_m", "velocity_mps", "radial_mps", "time_s")}
    np.savez_compressed(file, joints=np.array(truth.joints), **arrays)
    return file


def read_truth(folder: Path) -> Truth:
    """What `write_truth` wrote."""
    with np.load(folder / TRUTH_FILE, allow_pickle=False) as arrays:
        joints = tuple(arrays["joints"].tolist())
        return Truth(arrays["position_m"], arrays["velocity_mps"], arrays["radial_mps"], arrays["time_s"], joints)
