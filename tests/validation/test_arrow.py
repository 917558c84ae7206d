"""The direction of time: features that reversal negates, a model with a known zero, and users it cannot be told of."""

import numpy as np
import pandas as pd
import pytest

from validation.blocks.alterations import failing_users
from validation.measures.arrow import Arrow, bursts, directions
from validation.measures.detector_bank import Position
from validation.measures.detectors import Detector, Rows, for_direction
from validation.measures.tampering import time_reversed

HEIGHT, WIDTH, SESSIONS, WINDOWS = 32, 48, 4, 20
VARIED = 0.1  #: how much rise and fall of a `tap` differ from session to session, in logarithms
#: Columns in which a stroke rises, and falls: `tap` is much the same backwards, `still` is quite the same.
STROKES = {"push": (2.0, 8.0), "pull": (7.0, 2.5), "tap": (2.6, 4.6), "still": (4.0, 4.0)}


def session(rng: np.random.Generator, rise: float, fall: float, varied: float) -> np.ndarray:
    """Windows of two strokes, the session with its own gain, reach, floor and tempo: [WINDOWS, 1, HEIGHT, WIDTH]."""
    gain, reach, floor, tempo = rng.uniform((0.8, 4, -1.0, 0.8), (1.6, 11, -0.8, 1.25))
    rise, fall = np.array([rise, fall]) * np.exp(rng.normal(0, varied, 2))
    time, rows = np.arange(WIDTH), np.arange(HEIGHT)[:, None]
    images = []
    for centre in (WIDTH - 1) / 2 + rng.uniform(-3, 3, WINDOWS):
        places = (time - centre)[:, None] - 7.5 * tempo * np.array([-1, 1]) + rng.normal(0, 0.6, 2)
        pulse = np.exp(-np.abs(places) / (tempo * np.where(places < 0, rise, fall))).max(axis=1)
        band = np.exp(-(((rows - 16 + reach * pulse) / 2.5) ** 2)) * (0.25 + pulse)
        images.append(floor + gain * band + 0.1 * rng.standard_normal((HEIGHT, WIDTH)))
    return np.array(images, np.float32).clip(-1, 1)[:, None]


def drawn(seed: int, sessions: int = SESSIONS) -> Rows:
    rng = np.random.default_rng(seed)
    parts = [
        (user, f"{user} {s}", session(rng, *STROKES[user], VARIED * (user == "tap")))
        for user in STROKES
        for s in range(sessions)
    ]
    users, units = (np.repeat([part[i] for part in parts], WINDOWS) for i in (0, 1))
    return Rows(np.concatenate([part[2] for part in parts]), users, units)


@pytest.fixture(scope="module")
def detector() -> Detector:
    known = drawn(0, 6)
    return for_direction(Arrow(directions(known.images), known.users), drawn(1))


def positions(detector: Detector, rows: Rows, images: np.ndarray) -> pd.Series:
    scores = pd.Series(detector.model.scores(directions(images), rows.users)).groupby(rows.users).mean()
    return (scores - detector.zero) / detector.gap


def test_reversal_negates_every_feature():
    images = drawn(0, 1).images
    found = directions(images)
    assert np.allclose(directions(time_reversed(images, np.random.default_rng(0))), -found)
    assert (np.abs(found).max(axis=0) > 0).all()
    assert np.isfinite(directions(images[:, :, :16, :16])).all()


def test_a_burst_before_an_echo_is_told_from_one_after_it():
    early, late = np.zeros((2, 1, WIDTH))
    early[:, 20], late[:, 24] = 1, 0.2
    first, second = (bursts(np.stack(pair, axis=1)) for pair in ((early, late), (late, early)))
    assert first[0, 5] > 1  # band 0 before band 1 at a lag of four
    assert second[0, 5] < -1


def test_forwards_and_backwards_get_opposite_answers():
    known, unseen = drawn(0), drawn(1)
    arrow = Arrow(directions(known.images), known.users)
    users = np.where(unseen.users == "tap", "stranger", unseen.users)
    forwards, backwards = (arrow.scores(directions(x), users) for x in (unseen.images, unseen.images[..., ::-1]))
    assert np.allclose(forwards + backwards, 1)
    assert (arrow.scores(np.zeros((1, directions(unseen.images).shape[1])), users[:1]) == 0.5).all()


def test_users_whose_direction_cannot_be_told_are_named(detector):
    assert detector.blind == ["still"]
    assert detector.turns
    assert detector.auc > 0.9
    assert np.abs(detector.sessions).max() < 0.5


@pytest.mark.parametrize("seed", range(2, 8))
def test_a_user_who_moves_nearly_alike_backwards_is_told_reversed_by_new_sessions(detector, seed):
    fresh = drawn(seed)
    forwards = positions(detector, fresh, fresh.images)
    backwards = positions(detector, fresh, fresh.images[..., ::-1])
    assert forwards.drop("still").max() < 0.4
    assert backwards.drop("still").min() > 0.6
    assert np.isnan(forwards["still"])


@pytest.mark.parametrize(
    ("turns", "value", "error", "fails"),
    [(True, 0.7, 0.05, True), (True, 0.5, 0.05, False), (True, 0.7, 0.2, False), (False, 0.7, 0.05, False)],
)
def test_a_user_fails_who_runs_more_backwards_than_forwards(detector, turns, value, error, fails):
    per_user = pd.Series([0.0, value], ["push", "tap"])
    turned = Detector("x", detector.model, detector.zero, detector.gap, 1.0, np.zeros(4), turns)
    found = Position(
        turned, value / 2, 0.0, value, per_user, pd.Series(error, per_user.index), pd.Series(20, per_user.index)
    )
    assert failing_users([found], 0.8, 0.55) == ({"tap": "x"} if fails else {})
