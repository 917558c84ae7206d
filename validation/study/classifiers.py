"""The fixed classifiers of a study. Each is trained from the same start for as many steps, whatever it learns from.

One of a trial may be fitted again and again. The trial is given as the classifier sees it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch.nn import functional as F

from validation.measures.learning import describe
from validation.networks.judge import Judge, encode_batches
from validation.networks.network import shrink
from validation.study.trials import Trial

STEPS = 150
SIDE = 64


class ResNet18(BaseEstimator, ClassifierMixin):
    """torchvision's ResNet-18, not pretrained, on one channel: Adam, cross-entropy, batches of 64."""

    def __init__(self, seed: int = 0, steps: int = STEPS) -> None:
        self.seed = seed
        self.steps = steps

    def fit(self, X: np.ndarray, y: np.ndarray) -> ResNet18:
        from torchvision.models import resnet18

        self.classes_, codes = np.unique(y, return_inverse=True)
        images, labels = torch.from_numpy(shrink(X, SIDE)), torch.from_numpy(codes)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.net_ = resnet18(num_classes=len(self.classes_)).train()
            optimizer = torch.optim.Adam(self.net_.parameters(), 3e-4)
            for _ in range(self.steps):
                rows = torch.randint(len(images), (min(64, len(images)),))
                loss = F.cross_entropy(self.net_(images[rows].expand(-1, 3, -1, -1)), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        net = self.net_.eval()
        logits = encode_batches(lambda x: net(x.expand(-1, 3, -1, -1)), shrink(X, SIDE), "cpu")
        return self.classes_[logits.argmax(axis=1)]


def cnn(trial: Trial) -> BaseEstimator:
    """The judges' network, without augmentation of its own."""
    return Judge(trial.seed, STEPS, size=SIDE, augment=False)


def resnet(trial: Trial) -> BaseEstimator:
    """ResNet-18 from scratch, as the reference system has it."""
    return ResNet18(trial.seed)


def linear(trial: Trial) -> BaseEstimator:
    """A shrunken linear discriminant on gait descriptors."""
    return make_pipeline(
        FunctionTransformer(lambda x: describe(x, SIDE)),
        StandardScaler(),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    )


def frozen(trial: Trial) -> BaseEstimator:
    """Logistic regression on an encoder that learned to tell the people with many recordings apart."""
    encoder = Judge(trial.seed, STEPS, size=SIDE).fit(trial.known.images, trial.known.table["user"].to_numpy())
    return make_pipeline(FunctionTransformer(encoder.embed), StandardScaler(), LogisticRegression(C=0.1, max_iter=500))


CLASSIFIERS: dict[str, Callable[[Trial], BaseEstimator]] = {
    "cnn": cnn, "linear": linear, "frozen": frozen, "resnet18": resnet,
}  # fmt: skip
