"""mdgen: the two training commands of the README, with a time limit."""

from functools import partial

from mdgen.config import load_recipe
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.schedule import Budget
from peer_systems import Sampler, Task, processor_clock, sample_run

CONFIG, SHARE, ENOUGH = "gait", 0.15, 100_000


def train(task: Task) -> Sampler:
    recipe, run = (
        load_recipe(CONFIG, [f"seed={task.seed}", f"denoiser.training.steps={ENOUGH}"]),
        Run(task.work / "run"),
    )
    with processor_clock():
        train_autoencoder(task.real, run, recipe, budget=Budget.of(SHARE * task.clock.left_minutes))
        train_denoiser(task.real, run, recipe, budget=Budget.of(task.clock.left_minutes))
    return partial(sample_run, run.path, recipe.generate)
