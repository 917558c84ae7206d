"""A data set of simulated walkers: the embedded default, made in seconds without any file or network."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mdgen.data.dataset import SpectrogramSet, make_table
from mdgen.data.simulator.kinematics import Gait
from mdgen.data.simulator.people import sample_person, sample_session, sample_window, window_generator
from mdgen.data.simulator.radar import RadarSettings, echo, receive, signal_samples, spectrogram
from mdgen.errors import MdgenError


def simulate(
    users: int = 12,
    sessions: int = 6,
    windows: int = 20,
    size: int = 64,
    seed: int = 0,
    *,
    fractions: dict[str, float] | None = None,
    radar: RadarSettings = RadarSettings(),
) -> SpectrogramSet:
    """Simulate `users` x `sessions` x `windows` spectrograms of `size` x `size` pixels.

    fractions: share of each role, see `mdgen.data.splits.assign_roles`. Picture (user, session, window) depends on the
    seed, the radar and the size only, so a smaller set is part of a larger one. Beside the contract's columns the table
    tells the truth of each window: `true_speed_mps` (mean radial speed of the torso), `true_cycle_s` (mean duration of
    a stride), `true_height_m`. Raises `MdgenError` for impossible settings, and for too few
    windows to give every role some.
    """
    from mdgen.data.splits import assign_roles

    _check(users, sessions, windows, size, seed)
    table = _keys(users, sessions, windows)
    table["split"] = assign_roles(table, fractions, seed)
    images, truths = [], []
    for user in range(users):
        person = sample_person(seed, user)
        for session in range(sessions):
            gait = Gait(person, sample_session(seed, user, session))
            for window in range(windows):
                image, truth = simulate_window(gait, window_generator(seed, user, session, window), size, radar)
                images.append(image)
                truths.append(truth)
    axes = {
        "velocity_min_mps": radar.velocity_min_mps,
        "velocity_max_mps": radar.velocity_max_mps,
        "duration_s": radar.duration_s,
        "db_min": -radar.dynamic_range_db,
        "db_max": 0.0,
    }
    table = pd.concat([table.assign(**axes), pd.DataFrame(truths)], axis=1)
    return SpectrogramSet(np.stack(images)[:, None], table, f"{users} simulated walkers")


def simulate_window(
    gait: Gait, rng: np.random.Generator, size: int, radar: RadarSettings
) -> tuple[np.ndarray, dict[str, float]]:
    """One spectrogram, float32 [size, size] in [-1, 1], and the physical truth about it."""
    window = sample_window(rng)
    iq, truth = echo(gait, window, radar, signal_samples(size, radar), rng)
    iq = receive(iq, gait.session.snr_db + window.snr_offset_db, gait.session.clutter_db, radar, rng)
    return spectrogram(iq, size, radar), truth


def _keys(users: int, sessions: int, windows: int) -> pd.DataFrame:
    """The key columns, one row per window: users outermost, windows innermost."""
    names = [
        (f"walker_{u + 1:02d}", f"s{s + 1}") for u in range(users) for s in range(sessions) for _ in range(windows)
    ]
    return make_table(user=[user for user, _ in names], session=[session for _, session in names], recording="1")


def _check(users: int, sessions: int, windows: int, size: int, seed: int) -> None:
    """Raise `MdgenError` for settings nothing can be simulated with."""
    limits = {"users": (users, 1, 9999), "sessions": (sessions, 1, 999), "windows": (windows, 1, 9999)}
    limits |= {"size": (size, 16, 512), "seed": (seed, 0, 2**63 - 1)}
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise MdgenError(f"simulate: {name} = {value} is impossible; use {low} to {high}")
