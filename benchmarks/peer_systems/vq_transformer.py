"""What `mdgen baseline` trains: vector-quantised autoencoder, and a transformer that draws its codes."""

from functools import partial

from mdgen.config import load_recipe
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.prior import train_prior
from mdgen.training.schedule import Budget
from peer_systems import Sampler, Task, processor_clock, sample_run

CONFIG, SHARE, ENOUGH = "baseline", 1 / 3, 100_000


def train(task: Task) -> Sampler:
    steps = [f"{part}.training.steps={ENOUGH}" for part in ("autoencoder", "prior")]
    recipe, run = load_recipe(CONFIG, [f"seed={task.seed}", *steps]), Run(task.work / "run")
    with processor_clock():
        train_autoencoder(task.real, run, recipe, budget=Budget.of(SHARE * task.clock.left_minutes))
        train_prior(task.real, run, recipe, budget=Budget.of(task.clock.left_minutes))
    return partial(sample_run, run.path, recipe.generate)
