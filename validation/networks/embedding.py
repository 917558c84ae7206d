"""The metric-learning embedding of verification, trained with a library's loss on real rows of role judge."""

from __future__ import annotations

import numpy as np
import torch

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.networks.judge import encode_batches
from validation.networks.network import Trunk, seeded_thread, shrink

TEMPERATURE = 0.1
PEAK_RATE = 3e-3
WINDOWS_PER_USER = 4


class VerificationEmbedding:
    """Unit vectors in which windows of one person lie close: supervised contrastive loss (Khosla et al. 2020, eq. 2).

    Each batch holds four windows of each of several users. Same seed, data and machine: same embedding; on
    the CPU, as a `Judge`.
    """

    def __init__(self, seed: int = 0, steps: int = 200, batch_size: int = 32, size: int = 64) -> None:
        self.seed, self.steps, self.batch_size, self.size = seed, steps, batch_size, size

    def fit(self, data: SpectrogramSet) -> VerificationEmbedding:
        """Train on all of `data`; raises `MdgenError` on fewer than two users."""
        if len(data.users) < 2:
            raise MdgenError(f"{data.name}: verification needs at least two users, found {len(data.users)}; add users")
        images, labels = torch.from_numpy(shrink(data.images, self.size)), torch.tensor(data.labels(data.users))
        channels, height, width = images.shape[1:]
        with seeded_thread(self.seed):
            self.network = Trunk((channels, height, width))
            self._train(images, labels)
        self.network.eval()
        return self

    def state(self) -> dict[str, np.ndarray]:
        """The trained weights by name."""
        return {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}

    def restore(self, state: dict[str, np.ndarray], shape: tuple[int, int, int]) -> VerificationEmbedding:
        """Trained as `state` was, for images of `shape` (C, H, W)."""
        probe = shrink(np.zeros((1, *shape), np.float32), self.size)
        self.network = Trunk(probe.shape[1:])
        self.network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
        self.network.eval()
        return self

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float64 [N, 128], rows of norm 1."""
        vectors = encode_batches(self.network, shrink(images, self.size))
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _train(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        from pytorch_metric_learning.losses import SupConLoss

        loss_of = SupConLoss(temperature=TEMPERATURE)
        optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, total_steps=self.steps)
        rng = np.random.default_rng(self.seed)
        for _ in range(self.steps):
            rows = _balanced_rows(labels.numpy(), self.batch_size, rng)
            optimiser.zero_grad()
            loss_of(self.network(images[rows]), labels[rows]).backward()
            optimiser.step()
            schedule.step()


def _balanced_rows(labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of one batch: `WINDOWS_PER_USER` each of as many random users as fit (at least two)."""
    known = np.unique(labels)
    chosen = rng.choice(known, min(len(known), max(2, batch_size // WINDOWS_PER_USER)), replace=False)
    rows = [np.flatnonzero(labels == user) for user in chosen]
    return np.concatenate([rng.choice(r, WINDOWS_PER_USER, replace=len(r) < WINDOWS_PER_USER) for r in rows])
