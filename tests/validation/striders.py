"""Made-up walkers for tests: a torso with feet that rise slowly and fall sharply, in speckle over a floor."""

import numpy as np

from mdgen.data.dataset import ROLES, SpectrogramSet, make_table

USERS = ("ann", "ben", "cas", "dee")


def striders(roles=ROLES, sessions=2, windows=8, seed=0, size=32) -> SpectrogramSet:
    """Every user has an own torso row and cadence; every session differs a little in both and in its noise floor."""
    rng = np.random.default_rng(seed)
    rows, images = [], []
    doppler, time = np.mgrid[:size, :size] / size
    for number, user in enumerate(USERS):
        for role in roles:
            for session in range(sessions):
                torso, cadence = 0.56 + 0.04 * number + rng.normal(0, 0.005), 2.5 + 0.5 * number + rng.normal(0, 0.05)
                floor = rng.uniform(0.030, 0.036)
                for _ in range(windows):
                    phase = (cadence * time + rng.uniform()) % 1
                    feet = torso - 0.4 * np.where(phase < 0.7, phase / 0.7, (1 - phase) / 0.3)
                    body = torso + 0.03 * np.sin(4 * np.pi * phase)
                    level = 1.7 * np.exp(-(((doppler - body) / 0.05) ** 2))
                    level = np.maximum(level, 0.9 * np.exp(-(((doppler - feet) / 0.04) ** 2)))
                    grain = 1 + 0.25 * rng.normal(size=(size, size))
                    images.append((level * grain - 1 + floor * np.abs(rng.normal(size=(size, size)))).clip(-1, 1))
                    rows.append((user, f"{role}-{session}", role))
    user, session, split = zip(*rows, strict=True)
    table = make_table(user=user, session=session, recording="1", split=split)
    return SpectrogramSet(np.array(images, np.float32)[:, None], table, "striders")


def fresh(sessions=3, windows=8, seed=7) -> SpectrogramSet:
    """The same people on other days, as a perfect generator would write them."""
    made = striders(("train",), sessions, windows, seed)
    return SpectrogramSet(made.images, make_table(user=made.table["user"].tolist()), "fresh")


def of_user(data: SpectrogramSet, user: str) -> np.ndarray:
    return (data.table["user"] == user).to_numpy()
