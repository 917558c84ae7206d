"""What the command line does with a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from validation.study.arms import Generator
from validation.study.run import StudySettings, run_study
from validation.study.summary import write_summary

#: (known, few, windows of each user of `few`, seed) -> generated windows.
FewShot = Callable[[SpectrogramSet, SpectrogramSet, int, int], SpectrogramSet]


def read_settings(
    recordings: str, windows: str, seeds: int, ratios: str, classifiers: str, sift: bool = False, first_seed: int = 0
) -> StudySettings:
    """From comma-separated options."""
    return StudySettings(
        recordings=_numbers(recordings, "--recordings"),
        windows=_numbers(windows, "--windows"),
        ratios=_numbers(ratios, "--ratios"),
        seeds=tuple(range(first_seed, first_seed + seeds)),
        classifiers=tuple(classifiers.split(",")),
        sift=sift,
    )


def study(data: SpectrogramSet, generators: Mapping[str, FewShot], settings: StudySettings, out: Path) -> None:
    """Run what is missing, write and print the summary."""
    run_study(data, of_trials(generators), settings, out)
    write_summary(out)
    print((out / "summary.md").read_text(encoding="utf-8"))
    print(f"results, summary and figure in {out}")


def of_trials(generators: Mapping[str, FewShot]) -> dict[str, Generator]:
    """Generators that are given of a trial what they may see."""

    def bound(generator: FewShot) -> Generator:
        return lambda trial, count: generator(trial.known, trial.few, count, trial.seed)

    return {name: bound(generator) for name, generator in generators.items()}


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise MdgenError(f"{option} {text}: needs whole numbers, e.g. 1,2,4") from error
    if min(found) < 1:
        raise MdgenError(f"{option} {text}: needs numbers of 1 or more")
    return found
