"""Can a person with one recording be generated in the styles of other people's recordings?

    python benchmarks/borrowed_styles.py --work scratch/styles --steps 1500 --new-steps 300

On simulated walkers: a model with recording style as a condition is trained on people with many recordings, then taught
newcomers from one recording each; their other recordings are never seen. A judge trained on other recordings of
everybody says whose the samples are. That the style moves is shown by the mean Doppler profile of a style: the share of
its variance that lies between styles, and how well its shift agrees with that of the real recording it is named after.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import diffusers
import numpy as np
import pandas as pd
import torch
from newcomers import recognised, small_recipe, trained
from record import record

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.labels import STYLE, label_column
from mdgen.data.simulator import simulate
from mdgen.generate import generate
from mdgen.progress import Progress
from mdgen.run import Run
from mdgen.training.fine_tuning import fine_tune
from validation.networks.judge import Judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("scratch/styles"))
    parser.add_argument("--known", type=int, default=10)
    parser.add_argument("--new", type=int, default=4)
    parser.add_argument("--recordings", type=int, default=8, help="of each known person, to train on")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--new-steps", type=int, default=300)
    parser.add_argument("--set", action="append", default=[], help="override of the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/borrowed_styles.json"))
    options = parser.parse_args()
    started = time.monotonic()
    known, newcomers, others = people(options)
    changes = ["conditioning.style=true", *options.set]
    recipe = small_recipe(*changes, seed=options.seed, steps=options.steps, new_steps=options.new_steps)
    base, taught = trained(options.work / "base", known, recipe), options.work / "taught"
    fine_tune(newcomers, base, Run(taught), recipe, device="cpu", progress=Progress())
    judge = Judge(options.seed).fit(others.images, others.table["user"].to_numpy())
    result = {
        "options": {key: value for key, value in vars(options).items() if key not in ("work", "result")},
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "judge_on_newcomers_training_recording": recognised(judge, newcomers),
        "real_variance_between_recordings": between(others, recording_of(others)),
        "newcomers": {wish: score(taught, newcomers, known, judge, wish) for wish in ("own", "others", "none")},
        "known": {wish: score(taught, known, known, judge, wish) for wish in ("own", "others", "none")},
        "seconds": round(time.monotonic() - started),
    }
    record(result, options.result)


def people(options: argparse.Namespace) -> tuple[SpectrogramSet, SpectrogramSet, SpectrogramSet]:
    """Known people's recordings to train on, one recording of each newcomer, and others of everybody for the judge."""
    count, windows = options.known + options.new, 10
    data = simulate(count, options.recordings + 8, windows, options.size, options.seed)
    user = pd.factorize(data.table["user"])[0]
    session = data.table["session"].str[1:].astype(int).to_numpy() - 1
    training = SpectrogramSet(data.images, data.table.assign(split="train"), "walkers")
    known = training.select((user < options.known) & (session < options.recordings))
    newcomers = training.select((user >= options.known) & (session == 0))
    return known, newcomers, training.select(session >= options.recordings)


def score(run: Path, people: SpectrogramSet, known: SpectrogramSet, judge: Judge, wish: str) -> dict[str, float]:
    """Whose the samples are, and whether their styles move as the real recordings do."""
    settings = GenerateConfig(per_user=24, guidance_scale=2.0, steps=12, labels={STYLE: wish})
    made = generate(run, settings, users=people.users[:4], device="cpu", progress=Progress())
    style = made.table[STYLE]
    result = {"user_accuracy": recognised(judge, made), "pixel_deviation": spread(made)}
    if wish == "others":
        result |= {"variance_between_styles": between(made, style), "shift_agreement": agreement(made, known)}
    return result


def spread(data: SpectrogramSet) -> float:
    """Deviation of a pixel over the samples of a user, averaged."""
    users = data.table["user"].to_numpy()
    return round(float(np.mean([data.images[users == user].std(0).mean() for user in data.users])), 4)


def recording_of(data: SpectrogramSet) -> pd.Series:
    return label_column(data.table, STYLE)


def profiles(data: SpectrogramSet) -> np.ndarray:
    """[N, H]: mean over time, without its mean over the same user's samples."""
    profile = data.images[:, 0].mean(-1)
    return profile - pd.DataFrame(profile).groupby(data.table["user"].to_numpy()).transform("mean").to_numpy()


def between(data: SpectrogramSet, style: pd.Series) -> float:
    """Share of the profiles' variance within a user that lies between styles: adjusted, so that chance gives 0."""
    profile = profiles(data)
    groups = (data.table["user"] + style.reset_index(drop=True)).to_numpy()
    inside = profile - pd.DataFrame(profile).groupby(groups).transform("mean").to_numpy()
    count, number = len(profile), len(set(groups))
    unexplained = np.square(inside).sum() / (count - number)
    return round(float(1 - unexplained / (np.square(profile).sum() / (count - len(data.users)))), 3)


def agreement(made: SpectrogramSet, known: SpectrogramSet) -> float:
    """Correlation of a sample's profile shift with that of the recording lent to it, from its owner's mean."""
    real = pd.DataFrame(profiles(known)).groupby(recording_of(known).to_numpy()).mean()
    rows = made.table[STYLE].isin(real.index).to_numpy()
    lent = real.loc[made.table[STYLE][rows]].to_numpy()
    own = profiles(made)[rows]
    return round(float((lent * own).sum() / np.sqrt(np.square(lent).sum() * np.square(own).sum())), 3)


if __name__ == "__main__":
    main()
