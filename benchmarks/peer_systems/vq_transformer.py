"""What `mdgen baseline` trains: vector-quantised autoencoder, and a transformer that draws its codes."""

from functools import partial

from mdgen.config import load_recipe
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.prior import train_prior
from peer_systems import Sampler, Task, sample_run, within

CONFIG, SHARE, ENOUGH = "baseline", 1 / 3, 100_000


def train(task: Task) -> Sampler:
    steps = [f"{part}.training.steps={ENOUGH}" for part in ("autoencoder", "prior")]
    recipe, run = load_recipe(CONFIG, [f"seed={task.seed}", *steps]), Run(task.work / "run")
    within(SHARE * task.clock.left_minutes, partial(train_autoencoder, task.real, run, recipe))
    within(task.clock.left_minutes, partial(train_prior, task.real, run, recipe))
    return partial(sample_run, run.path, recipe.generate)
