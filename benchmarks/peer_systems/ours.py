"""mdgen: the recipe that `mdgen inspect` names for the data, and the two training commands with a time limit."""

from functools import partial

import torch

from mdgen.config import load_recipe
from mdgen.data.advice import make_plan
from mdgen.data.inspect import inspect
from mdgen.device import resolve_precision
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from peer_systems import Sampler, Task, sample_run, within

SHARE = 0.15
LONG_MINUTES = 9 if resolve_precision("auto", torch.device("cpu")) == torch.bfloat16 else 20
WIDER = ["denoiser.width=64", "denoiser.levels=[1,2,3]", "denoiser.dropout=0.1"]  # the small network, longer, copies
LONGER = ["denoiser.training.steps=4200", "denoiser.dropout=0.1"]  # that of walkers; after 8000 a fifth are copies


def train(task: Task) -> Sampler:
    name, seed = make_plan(inspect(task.real).fingerprint).base, f"seed={task.seed}"
    more = WIDER if load_recipe(name).denoiser.width < 64 else LONGER
    recipe = load_recipe(name, [seed, *(more if task.clock.left_minutes > LONG_MINUTES else [])])
    run = Run(task.work / "run")
    within(SHARE * task.clock.left_minutes, partial(train_autoencoder, task.real, run, recipe))
    within(task.clock.left_minutes, partial(train_denoiser, task.real, run, recipe))
    return partial(sample_run, run.path, recipe.generate)
