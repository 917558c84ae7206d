"""Pictures of somebody who moves otherwise: images [N, C, H, W] and material in, images out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.simulator import Gait, RadarSettings, sample_person, sample_session, simulate_window
from mdgen.data.simulator.people import window_generator
from sabotage.material import Builder, Material, resampled

SCALE = 1.15


def time_reversed(images: np.ndarray, m: Material) -> np.ndarray:
    return images[..., ::-1]


def doppler_flipped(images: np.ndarray, m: Material) -> np.ndarray:
    return images[..., ::-1, :]


def walking_away(images: np.ndarray, m: Material) -> np.ndarray:
    """Mirrored about zero velocity; what lies beyond the picture is its floor."""
    return resampled(images, rows=2 * m.zero_row - np.arange(images.shape[-2]))


def slower_cadence(images: np.ndarray, m: Material) -> np.ndarray:
    width = images.shape[-1]
    return resampled(images, columns=m.rng.uniform(0, width * (1 - 1 / SCALE)) + np.arange(width) / SCALE)


def faster_motion(images: np.ndarray, m: Material) -> np.ndarray:
    """All velocities 15 % higher."""
    return resampled(images, rows=m.zero_row + (np.arange(images.shape[-2]) - m.zero_row) / SCALE)


def rows_moved(images: np.ndarray, m: Material) -> np.ndarray:
    return resampled(images, rows=np.arange(images.shape[-2]) + 3.0)


def feet_erased(images: np.ndarray, m: Material) -> np.ndarray:
    """Whatever is more than 1.8 times as fast as the torso is replaced by columns of the quiet top row."""
    torso = np.median(images.mean(axis=1).argmax(axis=1), axis=1)  # (N,) row of the strongest echo
    reach = m.zero_row - 1.8 * (m.zero_row - torso)
    fast = np.arange(images.shape[-2]) < reach[:, None]
    quiet = images[..., :1, m.rng.permutation(images.shape[-1])]
    return np.where(fast[:, None, :, None], np.minimum(images, quiet), images)


def second_half_frozen(images: np.ndarray, m: Material) -> np.ndarray:
    half = images.shape[-1] // 2
    return np.concatenate([images[..., :half], np.repeat(images[..., half : half + 1], half, axis=-1)], axis=-1)


def first_half_twice(images: np.ndarray, m: Material) -> np.ndarray:
    half = images.shape[-1] // 2
    return np.concatenate([images[..., :half], images[..., :half]], axis=-1)


def halves_exchanged(images: np.ndarray, m: Material) -> np.ndarray:
    return np.roll(images, images.shape[-1] // 2, axis=-1)


def pendulum(images: np.ndarray, m: Material) -> np.ndarray:
    """A weight on a string: one sine about zero velocity, in speckle; swing and period drawn for each picture."""
    count, _, height, width = images.shape
    rate, reach, phase = (m.rng.uniform(a, b, (count, 1)) for a, b in ((1, 4), (0.1, 0.35), (0, 2 * np.pi)))
    centre = m.zero_row - height * reach * np.sin(2 * np.pi * rate * np.arange(width) / width + phase)  # (N, W)
    distance = np.arange(height)[:, None] - centre[:, None]
    made = 1.8 * np.exp(-((distance / 2.5) ** 2)) + 0.15 * m.rng.standard_normal(distance.shape)
    return (made - 1)[:, None].astype(np.float32)


def resimulated(speed: float, cycle: float) -> Builder:
    """Simulated anew with other kinematics: gains on speed and on the duration of a stride, everything else equal."""

    def build(m: Material) -> SpectrogramSet:
        users, radar, size = m.honest.table["user"].to_numpy(), RadarSettings(), m.honest.images.shape[-1]
        images = np.empty_like(m.honest.images)
        for row, name in enumerate(users):
            user, session = int(name.split("_")[1]) - 1, 100 + int(m.rng.integers(6))
            person = sample_person(m.seed or 0, user)
            # a walker's stride shortens with the root of the speed (Boulic et al. 1990); here only as far as asked
            changed = replace(
                person, speed_mps=person.speed_mps * speed, cycle_gain=person.cycle_gain * cycle * speed**0.5
            )
            gait = Gait(changed, sample_session(m.seed or 0, user, session))
            images[row, 0] = simulate_window(gait, window_generator(m.seed or 0, user, session, row), size, radar)[0]
        return m.honest.with_images(images)

    return build
