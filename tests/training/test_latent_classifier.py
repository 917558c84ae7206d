"""Classifier guidance: the classifier learns users from noisy latents, and its gradient moves samples towards them."""

import pytest
import torch

from mdgen.diffusion.guidance import steered
from mdgen.errors import MdgenError
from mdgen.generate import generate
from mdgen.models.latent_classifier import LatentClassifier
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.latent_classifier import FOLDER, train_latent_classifier
from tests.conftest import ridges, tiny_recipe

SETTINGS = ["classifier.width=16", "classifier.training.steps=60", "classifier.training.batch_size=16"]
CLEAN = {  # (alpha, sigma, x_t, prediction) -> the data that a prediction stands for
    "epsilon": lambda a, s, x, p: (x - s * p) / a,
    "sample": lambda a, s, x, p: p,
    "v_prediction": lambda a, s, x, p: a * x - s * p,
    "flow_prediction": lambda a, s, x, p: x - s * p,
}


@pytest.mark.parametrize("kind", CLEAN)
def test_every_prediction_is_steered_to_the_same_data(kind) -> None:
    sample, prediction, gradient = torch.randn(3, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    alpha, sigma = (0.6, 0.4) if kind == "flow_prediction" else (0.6, 0.8)
    moved = steered(prediction, gradient, alpha, sigma, kind, 1.5)
    clean = CLEAN[kind]
    change = clean(alpha, sigma, sample, moved) - clean(alpha, sigma, sample, prediction)
    torch.testing.assert_close(change, 1.5 * sigma**2 / alpha * gradient)


def test_the_gradient_raises_the_probability_of_the_user() -> None:
    torch.manual_seed(0)
    classifier = LatentClassifier(3, 4, 16).eval()
    sample, times, users = torch.randn(5, 4, 8, 8), torch.tensor(300.0), torch.tensor([0, 1, 2, 0, 1])

    def log_probability(x: torch.Tensor) -> torch.Tensor:
        return classifier(x, times.expand(5)).log_softmax(1).gather(1, users[:, None])[:, 0]

    with torch.no_grad():
        better = log_probability(sample + 0.05 * classifier.gradient(sample, times, users))
        assert (better > log_probability(sample)).all()


def test_it_learns_users_from_latents_and_guides_samples_to_them(tmp_path) -> None:
    run, recipe = Run(tmp_path / "run"), tiny_recipe(*SETTINGS)
    train_autoencoder(ridges(), run, recipe, device="cpu")
    train_denoiser(ridges(), run, recipe, device="cpu")
    settings = recipe.generate.model_copy(update={"per_user": 8, "guidance_scale": 1.0, "steps": 6})
    with pytest.raises(MdgenError, match="mdgen train-classifier"):
        generate(run.path, settings.model_copy(update={"classifier_scale": 4.0}), device="cpu")
    with pytest.raises(MdgenError, match="foretells what objective flow"):
        train_latent_classifier(ridges(), run, tiny_recipe(*SETTINGS, "diffusion.objective=epsilon"), device="cpu")
    train_latent_classifier(ridges(), run, recipe, device="cpu")
    train_latent_classifier(ridges(), run, recipe, device="cpu")  # the same command again changes nothing
    classifier = LatentClassifier.from_pretrained(run.path / FOLDER).eval()
    pipeline = MicroDopplerPipeline.load(run.path)
    users = torch.arange(3).repeat(8)

    def recognised(scale: float) -> float:
        if scale:
            pipeline.use_classifier(run.path / FOLDER, scale)
        generators = [torch.Generator().manual_seed(i) for i in range(len(users))]
        *_, latents = pipeline.trajectory(users, generators, guidance_scale=1.0, num_inference_steps=6)
        with torch.no_grad():
            found = classifier(latents, torch.zeros(len(users))).softmax(1)
        return float(found.gather(1, users[:, None]).mean())

    plain = recognised(0.0)
    assert recognised(4.0) > plain + 0.1
    guided = generate(run.path, settings.model_copy(update={"classifier_scale": 4.0}), device="cpu")
    assert abs(guided.images - generate(run.path, settings, device="cpu").images).max() > 0.01
    assert Run(run.path).recipe().generate.classifier_scale == 0
