"""How many windows does a new person need, and can people be generated doing what they were never recorded doing?

    python benchmarks/new_person.py --work scratch/new_person

On simulated walkers at 32x32. A model with the activity as a label learns known people, some of whom only walk and
never carry a bag. Then it is taught newcomers from 1, 5, 10 and 20 windows each in three ways: their rows alone;
low-rank adapters as well, with two windows of each known person beside them; all weights, with as many windows of each
known person as of a newcomer. Judges learn from sessions no model saw, of everybody in
both activities: one says who is on a sample, the other what is done. What has been trained is used again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import diffusers
import numpy as np
import pandas as pd
import torch
from newcomers import recognised, small_recipe, trained
from record import record

from mdgen.config import FineTuningConfig, GenerateConfig, Recipe
from mdgen.data.dataset import SpectrogramSet
from mdgen.data.simulator import simulate
from mdgen.data.simulator.scene import Scene
from mdgen.generate import generate
from mdgen.run import Run
from mdgen.training.fine_tuning import fine_tune
from validation.networks.judge import Judge

WALKING, CARRYING = "walk", "carry_bag"
KNOWN, ONLY_WALKING, NEW = 8, 3, 4
#: Sessions of each person that models may see; the rest is for judges (two of three) and for the ceiling (the last).
SEEN, SESSIONS, WINDOWS = 4, 8, 10
BUDGETS = (1, 5, 10, 20)
#: What learns (settings of `fine_tuning`), by name.
WAYS: dict[str, dict[str, str | int]] = {"rows alone": {}, "adapters": {"rank": 4}, "all weights": {"learn": "all"}}
#: Windows of each known person that adapters are trained on beside the newcomers'; all weights see as many as of those.
REHEARSED = 2


@dataclass(frozen=True)
class People:
    """Everybody's windows by who may see them. users: names, the known first."""

    known: SpectrogramSet
    newcomers: SpectrogramSet
    judged_by: SpectrogramSet
    ceiling: SpectrogramSet
    users: list[str]

    @classmethod
    def simulated(cls, seed: int) -> People:
        data = simulate(KNOWN + NEW, SESSIONS, WINDOWS, 32, seed, scene=Scene(activities=(WALKING, CARRYING)))
        data = SpectrogramSet(data.images, data.table.assign(split="train"), "walkers")
        user = pd.factorize(data.table["user"])[0]
        session = data.table["session"].str[1:].astype(int).to_numpy()
        walking = (data.table["activity"] == WALKING).to_numpy()
        seen, last = session <= SEEN, session == SESSIONS
        return cls(
            data.select(seen & (user < KNOWN) & (walking | (user >= ONLY_WALKING))),
            data.select(seen & (user >= KNOWN) & walking),
            data.select(~seen & ~last),
            data.select(last),
            data.users,
        )

    def few(self, count: int, rehearsed: int) -> SpectrogramSet:
        """The first `count` windows of each newcomer, in order of sessions, and some of each known person."""
        new = self.newcomers.table.groupby("user").cumcount().to_numpy() < count
        parts = [self.newcomers.select(new)]
        if rehearsed:
            order = self.known.table.sample(frac=1, random_state=0).groupby("user").head(rehearsed).index
            parts.append(self.known.select(np.sort(order.to_numpy())))
        images, tables = [part.images for part in parts], [part.table for part in parts]
        return SpectrogramSet(np.concatenate(images), pd.concat(tables, ignore_index=True), "few")


class Judges:
    """Who is it, and what is done: shares of samples whose user, and whose activity, is recognised."""

    def __init__(self, data: SpectrogramSet, seed: int) -> None:
        self.who = Judge(seed, 500).fit(data.images, data.table["user"].to_numpy())
        self.what = Judge(seed, 300).fit(data.images, data.table["activity"].to_numpy())

    def __call__(self, data: SpectrogramSet) -> dict[str, float]:
        return {"user": recognised(self.who, data), "activity": recognised(self.what, data, "activity")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("scratch/new_person"))
    parser.add_argument("--steps", type=int, default=1000, help="of the model of the known people")
    parser.add_argument("--new-steps", type=int, default=200)
    parser.add_argument("--per-user", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--result", type=Path, default=Path(__file__).parent / "results" / "new_person.json")
    options = parser.parse_args()
    started = time.process_time()
    people = People.simulated(options.seed)
    recipe = small_recipe(
        "conditioning.labels=[activity]", seed=options.seed, steps=options.steps, new_steps=options.new_steps
    )
    judges, base = Judges(people.judged_by, options.seed), trained(options.work / "base", people.known, recipe)
    new = people.users[KNOWN:]
    result = {
        "real": {
            "known": judges(people.ceiling.of_users(people.users[:KNOWN])),
            "newcomers": judges(people.ceiling.of_users(new)),
        },
        "activities": activities(base, people, judges, options),
        "newcomers": [
            {"windows": count, "learn": way, **taught(base, people, judges, recipe, count, way, options)}
            for way in WAYS
            for count in BUDGETS
        ],
        "options": {key: value for key, value in vars(options).items() if key not in ("work", "result")},
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "processor_s": round(time.process_time() - started),
    }
    record(result, options.result)


def activities(run: Path, people: People, judges: Judges, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Pairs of user and activity, by whether the model has seen the two together. Of `carrying, never seen`, the user
    and the activity must both be recognised."""
    walkers, both = people.users[:ONLY_WALKING], people.users[ONLY_WALKING:KNOWN]
    asked = {
        "walking, seen": (walkers, WALKING),
        "carrying, never seen": (walkers, CARRYING),
        "walking, seen beside carrying": (both, WALKING),
        "carrying, seen": (both, CARRYING),
    }
    return {name: judges(made(run, users, activity, options)) for name, (users, activity) in asked.items()}


def taught(
    base: Path, people: People, judges: Judges, recipe: Recipe, count: int, way: str, options: argparse.Namespace
) -> dict[str, object]:
    """What judges see of newcomers learned from `count` windows each, and of those who were known before."""
    run = options.work / f"taught-{count}-{way.replace(' ', '-')}"
    rehearsed = {"rows alone": 0, "adapters": REHEARSED, "all weights": count}[way]
    if not (run / "model_index.json").exists():
        fine = FineTuningConfig.model_validate({**recipe.fine_tuning.model_dump(), **WAYS[way]})
        changed = recipe.model_copy(update={"fine_tuning": fine})
        fine_tune(people.few(count, rehearsed), base, Run(run), changed, device="cpu")
    new, known = people.users[KNOWN:], people.users[ONLY_WALKING:KNOWN]
    return {
        "newcomers": judges(made(run, new, WALKING, options)),
        "newcomers carrying": judges(made(run, new, CARRYING, options)),
        "known": judges(made(run, known, WALKING, options)),
    }


def made(run: Path, users: list[str], activity: str, options: argparse.Namespace) -> SpectrogramSet:
    settings = GenerateConfig(per_user=options.per_user, guidance_scale=2.0, steps=12, labels={"activity": activity})
    return generate(run, settings, seed=options.seed, users=users, device="cpu")


if __name__ == "__main__":
    main()
