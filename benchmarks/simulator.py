"""Is the simulated data set fast, physical and fair? Run `python benchmarks/simulator.py` (some minutes on one core).

Fair: a small network trained on some visits of a person knows that person on other visits, but not always; and a
classifier that sees only averages over time does clearly worse. The spreads of `people.py` were chosen by these very
figures at seed 0, so they describe the default data set and are no independent estimate for other seeds.
"""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import numpy as np
import scipy
import sklearn
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.simulator import Gait, sample_person, sample_session, simulate
from mdgen.data.simulator.kinematics import JOINTS

SEED = 0
STEPS = 500
RESULT = Path(__file__).parent / "results" / "simulator.json"


def images_per_second(count: int = 240) -> float:
    """64x64 pictures per second of processor time."""
    start = time.process_time()
    simulate(users=2, sessions=6, windows=count // 12, seed=SEED)
    return count / (time.process_time() - start)


def physics(walkers: int = 50) -> dict[str, dict[str, float]]:
    """Least, median and greatest over walkers: what must hold of any walk."""
    found = [_ratios(Gait(sample_person(SEED, u), sample_session(SEED, u, 0))) for u in range(walkers)]
    return {name: _spread([f[name] for f in found]) for name in found[0]}


def _ratios(gait: Gait) -> dict[str, float]:
    phase = np.arange(0, 2, 1 / 512)
    joints = gait.joints(phase)[..., 0]
    speed = np.gradient(joints, gait.cycle_s / 512, axis=0) / gait.speed_mps
    ankle, toe, neck = (JOINTS.index(name) for name in ("left_ankle", "left_toe", "neck"))
    return {
        "stride_over_speed_times_cycle": float((joints[640, ankle] - joints[128, ankle]) / gait.stride_m),
        "foot_peak_over_torso_speed": float((speed[:, ankle] + speed[:, toe]).max() / 2),
        "stance_foot_over_torso_speed": float(np.abs(speed[26:205, ankle]).max()),
        "torso_least_over_mean_speed": float(speed[:, neck].min()),
        "torso_greatest_over_mean_speed": float(speed[:, neck].max()),
        "cycle_s": float(gait.cycle_s),
    }


def _spread(values: list[float]) -> dict[str, float]:
    least, middle, greatest = np.round(np.percentile(values, [0, 50, 100]), 4).tolist()
    return {"min": least, "median": middle, "max": greatest}


def network_accuracy(train: SpectrogramSet, test: SpectrogramSet) -> float:
    """Accuracy of a small convolutional network; its training windows are rolled in time, as their phase is random."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    network = _network(len(train.users))
    images, labels = torch.tensor(train.images), torch.tensor(train.labels(train.users))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(images), (64,), generator=generator)
        shifts = torch.randint(images.shape[3], (64,), generator=generator)
        batch = torch.stack([images[r].roll(int(s), 2) for r, s in zip(rows, shifts, strict=True)])
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(batch), labels[rows], label_smoothing=0.05).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        guess = network.eval()(torch.tensor(test.images)).argmax(1).numpy()
    return float((guess == test.labels(train.users)).mean())


def _network(users: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU()]
    for width in (16, 32):
        layers += [nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(), nn.AvgPool2d((1, 8)), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.3), nn.Linear(128 * 8, users))


def trivial_accuracy(train: SpectrogramSet, test: SpectrogramSet) -> dict[str, float]:
    """Accuracy from averages only: two numbers per picture, or its 64 row means (the better of two classifiers)."""
    result = {}
    for name, features in (("mean_and_std", _mean_and_std), ("mean_std_and_row_means", _row_means)):
        models = (SVC(C=10), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
        fits = [make_pipeline(StandardScaler(), m).fit(features(train), train.labels(train.users)) for m in models]
        result[name] = max(f.score(features(test), test.labels(train.users)) for f in fits)
    return result


def _mean_and_std(data: SpectrogramSet) -> np.ndarray:
    return np.stack([data.images.mean(axis=(1, 2, 3)), data.images.std(axis=(1, 2, 3))], axis=1)


def _row_means(data: SpectrogramSet) -> np.ndarray:
    return np.hstack([_mean_and_std(data), data.images[:, 0].mean(axis=2)])


def fairness() -> dict[str, object]:
    """Accuracy on sessions nobody trained on, chance being 1 in 12."""
    data = simulate(seed=SEED)
    test = data.role("val", "test")
    report: dict[str, object] = {"users": len(data.users), "test_windows": len(test)}
    for name, roles in (("train_and_judge", ("train", "judge")), ("judge_only", ("judge",))):
        train = data.role(*roles)
        report[name] = {
            "training_windows": len(train),
            "network": round(network_accuracy(train, test), 3),
            "trivial": {k: round(v, 3) for k, v in trivial_accuracy(train, test).items()},
        }
    return report


def main() -> None:
    torch.set_num_threads(1)
    report = {
        "images_per_second_one_core": round(images_per_second(), 1),
        "physics": physics(),
        "unseen_sessions": fairness(),
        "seed": SEED,
        "network_steps": STEPS,
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: str(module.__version__) for module in (np, scipy, sklearn, torch)},
        },
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    print(RESULT.read_text(), end="")


if __name__ == "__main__":
    main()
