"""Run a study trial by trial; what is measured is kept at once, so that a run of hours can be interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from mdgen.data.dataset import SpectrogramSet
from mdgen.data.folders import read_json, write_whole
from mdgen.errors import MdgenError
from validation.networks.network import shrink
from validation.study.arms import Generator, level_free, sifted, training_sets
from validation.study.classifiers import CLASSIFIERS, SIDE
from validation.study.diagnosis import diagnose
from validation.study.limits import limits
from validation.study.trials import Trial, draw_trial

AS_RECORDED, LEVEL_FREE = "as recorded", "level-free"
TRIAL = ["seed", "recordings", "windows"]
KEY = [*TRIAL, "arm", "classifier", "view"]
COLUMNS = [*KEY, "user", "accuracy", "n"]


class StudySettings(BaseModel):
    """What is tried. Every combination of recordings, windows and seeds is one trial."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recordings: tuple[int, ...] = (1, 2, 4)
    windows: tuple[int, ...] = (5, 10, 20, 50)
    seeds: tuple[int, ...] = tuple(range(6))
    ratios: tuple[int, ...] = (3, 10)
    classifiers: tuple[str, ...] = ("cnn", "linear", "frozen")
    sift: bool = Field(False, description="also the half of the windows made that are most surely their person's")

    def trials(self, data: SpectrogramSet) -> Iterator[Trial]:
        """In an order in which an interrupted study is still balanced."""
        unknown = set(self.classifiers) - set(CLASSIFIERS)
        if unknown:
            raise MdgenError(f"study: unknown classifier {', '.join(sorted(unknown))}; known: {', '.join(CLASSIFIERS)}")
        for seed in self.seeds:
            for recordings in self.recordings:
                for windows in self.windows:
                    yield draw_trial(data, recordings, windows, seed)


def run_study(
    data: SpectrogramSet,
    generators: Mapping[str, Generator],
    settings: StudySettings,
    out: Path,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Measure what `out`/results.csv does not hold yet; one row per newcomer, arm, classifier and view.

    Beside it, diagnosis.csv says what the windows made are like, limits.csv what the few recordings lack, settings.json
    what all trials share. Raises `MdgenError` where `out` holds a study in which that was another.
    """
    file = out / "results.csv"
    out.mkdir(parents=True, exist_ok=True)
    _same_study(data, generators, settings, out)
    done = (
        pd.read_csv(file, dtype={"user": str}, keep_default_na=False)
        if file.exists()
        else pd.DataFrame(columns=COLUMNS)
    )
    known = set(done[TRIAL].itertuples(index=False, name=None))
    for trial in settings.trials(data):
        if (trial.seed, trial.recordings, trial.windows) in known:
            continue
        wanted = max(settings.ratios) * trial.windows * (2 if settings.sift else 1)
        made = {name: generator(trial, wanted) for name, generator in generators.items()}
        if settings.sift:
            made |= {f"{name}, sifted": sifted(trial, windows) for name, windows in made.items()}
        _add(diagnose(trial, made), out / "diagnosis.csv")
        _add(limits(trial), out / "limits.csv")
        rows = pd.DataFrame(list(_measured(trial, made, settings)), columns=COLUMNS)
        done = _add(rows, file)
        means = rows[rows["view"] == AS_RECORDED].groupby(["classifier", "arm"], sort=False)["accuracy"].mean()
        say(f"{trial.name}: " + ", ".join(f"{arm} {value:.3f}" for (c, arm), value in means.items() if c == "cnn"))
    return done


def _same_study(data: SpectrogramSet, generators: Mapping[str, Generator], settings: StudySettings, out: Path) -> None:
    shared = settings.model_dump(mode="json", exclude={"seeds", "recordings", "windows"})
    shared |= {"data": data.fingerprint(), "made": list(generators)}
    file = out / "settings.json"
    if not file.exists():
        write_whole(file, json.dumps(shared, indent=2) + "\n")
    before = read_json(file)
    other = [name for name, value in shared.items() if before.get(name) != value]
    if other:
        raise MdgenError(f"{out}: holds a study with other {', '.join(other)}; choose another --out")


def _add(rows: pd.DataFrame, file: Path) -> pd.DataFrame:
    """`rows` behind those of a table; a trial begun anew replaces what it had written."""
    if file.exists():
        before = pd.read_csv(file, dtype={"user": str}, keep_default_na=False, na_values=[""])
        again = set(rows[TRIAL].itertuples(index=False, name=None))
        old = np.array([key not in again for key in before[TRIAL].itertuples(index=False, name=None)], bool)
        rows = pd.concat([before[old], rows], ignore_index=True)
    part = file.with_suffix(".part")
    rows.to_csv(part, index=False)
    part.replace(file)
    return rows


def small(images: np.ndarray) -> np.ndarray:
    """Images [N, C, H, W] of the size at which classifiers see them, so that arms are augmented at that size too."""
    return shrink(images, SIDE)


def _through(see: Callable[[np.ndarray], np.ndarray], trial: Trial) -> Trial:
    """The trial with all images as `see` shows them."""
    parts = {part: getattr(trial, part) for part in ("known", "few", "test")}
    return replace(trial, **{part: data.with_images(see(data.images)) for part, data in parts.items()})


def _measured(trial: Trial, made: Mapping[str, SpectrogramSet], settings: StudySettings) -> Iterator[tuple]:
    trial = _through(small, trial)
    made = {name: windows.with_images(small(windows.images)) for name, windows in made.items()}
    truth = trial.test.table["user"].to_numpy()
    views: dict[str, Callable[[np.ndarray], np.ndarray]] = {AS_RECORDED: lambda x: x, LEVEL_FREE: level_free}
    arms = training_sets(trial, made, settings.ratios)
    for view, seen in views.items():
        viewed = _through(seen, trial)
        for classifier in settings.classifiers:
            model = CLASSIFIERS[classifier](viewed)
            for arm, (images, users) in arms.items():
                right = model.fit(seen(images), users).predict(viewed.test.images) == truth
                for user in sorted(set(truth)):
                    own = right[truth == user]
                    key = (trial.seed, trial.recordings, trial.windows, arm, classifier, view)
                    yield (*key, user, round(float(own.mean()), 4), len(own))
