"""mdgen: the two training commands of the README, with a time limit."""

from functools import partial

from mdgen.config import load_recipe
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from peer_systems import Sampler, Task, sample_run, within

CONFIG, SHARE = "gait", 0.15


def train(task: Task) -> Sampler:
    recipe = load_recipe(CONFIG, [f"seed={task.seed}"])
    run = Run(task.work / "run")
    within(SHARE * task.clock.left_minutes, partial(train_autoencoder, task.real, run, recipe))
    within(task.clock.left_minutes, partial(train_denoiser, task.real, run, recipe))
    return partial(sample_run, run.path, recipe.generate)
