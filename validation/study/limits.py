"""What one recording lacks: the person's centre, or the spread around it? A linear discriminant with either exchanged.

Generated windows in borrowed styles can show a classifier how people spread from recording to recording. Where a
person's centre lies among the others only that person's recordings show.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.covariance import ledoit_wolf
from sklearn.preprocessing import StandardScaler

from validation.measures.learning import describe
from validation.study.trials import Trial

SEEN, KNOWN, UNSEEN = "seen", "known people", "unseen"
SIDE = 64
#: Least deviation of a feature within people, as a share of its deviation over all: none is trusted to be constant.
LEAST = 0.1


def limits(trial: Trial) -> pd.DataFrame:
    """Accuracy on half of the newcomers' test recordings by `centre` and `spread`: of the few windows seen, of the
    people known (spread alone), or of the other half of the test recordings, which nobody could have."""
    held = trial.halves()
    unseen, tested = trial.test.select(held), trial.test.select(~held)
    parts = [trial.known, trial.few, unseen, tested]
    features = [describe(part.images, SIDE) for part in parts]
    scale = StandardScaler().fit(np.concatenate(features[:2]))
    known, few, other, test = (scale.transform(part) for part in features)
    names = [part.table["user"].to_numpy() for part in parts]
    people = np.unique(names[1])
    centres = {SEEN: _centres(few, names[1], people), UNSEEN: _centres(other, names[2], people)}
    spreads = {SEEN: _spread(few, names[1]), KNOWN: _spread(known, names[0]), UNSEEN: _spread(other, names[2])}
    rows = []
    for centre, means in centres.items():
        for spread, covariance in spreads.items():
            weights = np.linalg.solve(covariance, means.T)
            found = people[(test @ weights - (means.T * weights).sum(axis=0) / 2).argmax(axis=1)] == names[3]
            accuracy = np.mean([found[names[3] == person].mean() for person in np.unique(names[3])])
            rows.append((trial.seed, trial.recordings, trial.windows, centre, spread, accuracy))
    return pd.DataFrame(rows, columns=["seed", "recordings", "windows", "centre", "spread", "accuracy"])


def _centres(features: np.ndarray, users: np.ndarray, people: np.ndarray) -> np.ndarray:
    return np.stack([features[users == person].mean(axis=0) for person in people])


def _spread(features: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Covariance around each user's own centre, shrunken to its diagonal (Ledoit and Wolf 2004)."""
    centred = np.concatenate([features[users == u] - features[users == u].mean(axis=0) for u in np.unique(users)])
    deviation = np.maximum(centred.std(axis=0), LEAST)
    return ledoit_wolf(centred / deviation)[0] * np.outer(deviation, deviation)
