"""The judges: small classifiers of users, trained on real rows of role `judge` only, as scikit-learn estimators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import OneCycleLR

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.networks.network import Classifier, one_thread, seeded_thread, shrink

PEAK_RATE = 4e-3


class Judge(BaseEstimator, ClassifierMixin):
    """A classifier of users with scikit-learn's interface: X float32 [N, C, H, W] in [-1, 1], y any labels [N].

    The same seed, data and machine give the same judge. It always computes on the CPU: so small a network gains nothing
    from a GPU, and there its last digits would vary. steps: optimiser steps, whatever the number of images.
    size: larger images are averaged down to this side. augment: whether training images are moved a little.
    """

    def __init__(
        self,
        seed: int = 0,
        steps: int = 200,
        batch_size: int = 32,
        size: int = 64,
        augment: bool = True,
    ) -> None:
        self.seed = seed
        self.steps = steps
        self.batch_size = batch_size
        self.size = size
        self.augment = augment

    def fit(self, X: np.ndarray, y: np.ndarray) -> Judge:
        """Train; raises `MdgenError` when there are fewer than two users."""
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise MdgenError(f"judge: needs at least two users to tell apart, found {len(self.classes_)}; add users")
        images = shrink(X, self.size)
        with seeded_thread(self.seed):
            self.net_ = self._network(len(X), images.shape[1:]).fit(images, codes.astype(np.int64))
        return self

    def state(self) -> dict[str, np.ndarray]:
        """The weights of a trained judge by name, for `restore`."""
        return {name: value.cpu().numpy() for name, value in self.net_.module_.state_dict().items()}

    def restore(self, state: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray) -> Judge:
        """The judge that `fit(X, y)` gave, from its `state`; raises `RuntimeError` where the two do not fit."""
        self.classes_ = np.unique(np.asarray(y))
        with seeded_thread(self.seed):
            self.net_ = self._network(len(X), shrink(X[:1], self.size).shape[1:]).initialize()
        self.net_.module_.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probability of each user, [N, users] in the order of `classes_`."""
        logits = encode_batches(self.net_.module_.eval(), shrink(X, self.size))
        return softmax(logits, axis=1)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The most probable user of each image, [N]."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Penultimate layer, float64 [N, 128]."""
        trunk = self.net_.module_.trunk.eval()
        return encode_batches(trunk, shrink(X, self.size))

    def _network(self, images: int, shape: tuple[int, ...]) -> NeuralNetClassifier:
        batch = min(self.batch_size, images)
        per_epoch = max(1, images // batch)
        epochs = math.ceil(self.steps / per_epoch)
        schedule = LRScheduler(
            OneCycleLR, max_lr=PEAK_RATE, total_steps=per_epoch * epochs, step_every="batch", monitor=None
        )
        return NeuralNetClassifier(
            Classifier,
            module__users=len(self.classes_),
            module__shape=shape,
            module__augment=self.augment,
            criterion=torch.nn.CrossEntropyLoss,
            criterion__label_smoothing=0.05,
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=1e-2,
            max_epochs=epochs,
            batch_size=batch,
            iterator_train__shuffle=True,
            iterator_train__drop_last=True,
            train_split=None,
            callbacks=[("rate", schedule)],
            device="cpu",
            verbose=0,
        )


def encode_batches(
    network: Callable[[torch.Tensor], torch.Tensor], images: np.ndarray, device: str = "cpu", batch_size: int = 256
) -> np.ndarray:
    """`network` over `images` [N, C, H, W] without gradients: float64 [N, D]."""
    with torch.inference_mode(), one_thread():
        parts = [
            network(torch.from_numpy(images[i : i + batch_size]).to(device)).double().cpu().numpy()
            for i in range(0, len(images), batch_size)
        ]
    return np.concatenate(parts)


def identity_retention(
    original: SpectrogramSet,
    reconstructed: SpectrogramSet,
    judge_data: SpectrogramSet,
    seed: int = 0,
    *,
    steps: int = 200,
    allow_shared_groups: bool = False,
) -> float:
    """How much of identity a reconstruction keeps: judge's accuracy on `reconstructed` / its accuracy on `original`.

    Row i of both sets is the same spectrogram. The judge is trained on `judge_data` alone; that it shares a known
    recording with `original` is an error unless `allow_shared_groups`. About 0..1, a little above 1 is possible.
    Raises `MdgenError` when the sets do not match or the judge recognises no original.
    """
    if original.images.shape != reconstructed.images.shape:
        raise MdgenError(
            f"{reconstructed.name}: images {reconstructed.images.shape} are not reconstructions of "
            f"{original.images.shape} in {original.name}; give the same rows in the same order"
        )
    if not allow_shared_groups:
        _refuse_shared_groups(judge_data, original)
    judge = Judge(seed, steps).fit(judge_data.images, judge_data.table["user"].to_numpy())
    users = original.table["user"].to_numpy()
    reference = float((judge.predict(original.images) == users).mean())
    if reference == 0:
        raise MdgenError(f"{original.name}: the judge recognises none of the originals; it needs more real windows")
    return float((judge.predict(reconstructed.images) == users).mean()) / reference


def _refuse_shared_groups(judge_data: SpectrogramSet, other: SpectrogramSet) -> None:
    shared = sorted(set(judge_data.groups) & set(other.groups))
    if shared:
        user, session, recording = shared[0].split("\x1f")
        raise MdgenError(
            f"{judge_data.name}: the judge would train on user {user!r} session {session!r} recording {recording!r}, "
            f"which is also in {other.name}; give it other recordings"
        )
