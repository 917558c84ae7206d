"""The baseline: codes drawn one after the other, by a model that never sees what comes later."""

import json
import shutil

import numpy as np
import pytest
import torch

from mdgen.check.remarks import exit_code
from mdgen.check.run import check_run
from mdgen.config import GenerateConfig, Recipe
from mdgen.errors import MdgenError
from mdgen.generate import generate, write_synthetic
from mdgen.models.conditioning import UserConditioning
from mdgen.models.prior import TokenPrior
from mdgen.models.vq_autoencoder import VQAutoencoder
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.token_pipeline import TokenPipeline, load_pipeline
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.journal import read_metrics
from mdgen.training.prior import train_prior
from tests.conftest import ridges, tiny_recipe

BASELINE = (
    "autoencoder.kind=vq",
    "autoencoder.codebook.size=16",
    "autoencoder.codebook.decay=0.9",
    "autoencoder.training.steps=60",
    "autoencoder.training.batch_size=8",
    "prior.width=32",
    "prior.depth=2",
    "prior.heads=2",
    "prior.dropout=0",
    "prior.training.steps=60",
    "prior.training.batch_size=8",
    "prior.training.learning_rate=5e-3",
    "prior.training.checkpoint_every=30",
)


def random_prior(codes: int = 7) -> TokenPrior:
    torch.manual_seed(0)
    prior = TokenPrior(codes, (2, 3), width=16, depth=2, heads=2, dropout=0.0)
    for parameter in prior.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return prior.eval()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Run, Recipe]:
    run, recipe = Run(tmp_path_factory.mktemp("runs") / "baseline"), tiny_recipe(*BASELINE)
    train_autoencoder(ridges(), run, recipe, device="cpu", identity_retention=lambda a, b: 1.0)
    train_prior(ridges(), run, recipe, device="cpu")
    return run, recipe


def test_a_set_of_the_baseline_grows_only_at_the_temperature_it_began_with(trained, tmp_path) -> None:
    run, _ = trained
    other, settings = Run(tmp_path / "run"), GenerateConfig(per_user=1, guidance_scale=1, format="npz")
    shutil.copytree(run.path, other.path)
    write_synthetic(other.path, settings, tmp_path / "out", device="cpu")
    cooler = tiny_recipe(*BASELINE, "prior.temperature=0.5")
    train_prior(ridges(), other, cooler, device="cpu")  # learns nothing more
    with pytest.raises(MdgenError, match=r"temperature was None, is 0\.5"):
        write_synthetic(other.path, settings.model_copy(update={"per_user": 2}), tmp_path / "out", device="cpu")
    assert set(generate(other.path, settings).table["temperature"]) == {0.5}


def test_the_baseline_tells_nobody_but_users_apart(trained) -> None:
    run, _ = trained
    for wish in ("conditioning.style=true", "conditioning.labels=[activity]"):
        with pytest.raises(MdgenError, match="knows users alone"):
            train_prior(ridges(), run, tiny_recipe(*BASELINE, wish), device="cpu")


def test_the_baseline_refuses_what_only_the_diffusion_model_can_do(trained, tmp_path) -> None:
    run, recipe = trained
    with pytest.raises(MdgenError, match="holds a TokenPipeline, and this needs a MicroDopplerPipeline"):
        MicroDopplerPipeline.load(run.path)
    for change in ({"weak_run": str(run.path)}, {"classifier_scale": 1.0}):
        with pytest.raises(MdgenError, match="no guidance but --guidance-scale"):
            generate(run.path, recipe.generate.model_copy(update=change))


def test_a_code_depends_on_those_before_it_and_on_no_later_one() -> None:
    prior, condition = random_prior(), torch.randn(1, 16)
    codes = torch.randint(7, (1, 6))
    logits = prior(codes, condition)
    for position in range(6):
        other = codes.clone()
        other[0, position] = (codes[0, position] + 1) % 7
        moved = (prior(other, condition) - logits).abs().amax(dim=(0, 2)) > 1e-6
        assert moved.tolist() == [False] * (position + 1) + [True] * (5 - position)


def test_drawing_one_by_one_gives_the_logits_of_the_whole() -> None:
    prior, condition, codes = random_prior(), torch.randn(2, 16), torch.randint(7, (2, 6))
    whole, past = prior(codes, condition), []
    for position in range(6):
        logits, past = prior.following(codes[:, position - 1] if position else None, condition, past)
        torch.testing.assert_close(logits, whole[:, position])


def test_codes_are_drawn_as_often_as_the_model_thinks_and_guidance_moves_them_towards_the_user() -> None:
    torch.manual_seed(0)
    conditioning = UserConditioning(2, 16, 0.1)
    pipeline = TokenPipeline(VQAutoencoder(1, 4, 4, 8, 1, codebook_size=7), random_prior(), conditioning, ["a", "b"])
    generators = [torch.Generator().manual_seed(i) for i in range(3000)]

    def first_codes(scale: float) -> np.ndarray:
        codes = pipeline.sample_codes(torch.ones(3000, dtype=torch.int64), generators, scale)[:, 0, 0]
        return np.bincount(codes.numpy(), minlength=7) / 3000

    def expected(user: int) -> np.ndarray:
        condition = conditioning(torch.tensor([user]))
        return pipeline.prior.following(None, condition, [])[0].softmax(-1).detach().numpy()[0]

    np.testing.assert_allclose(first_codes(1.0), expected(1), atol=0.035)
    told, nobody = expected(1), expected(conditioning.null_id)
    guided = told**3 / nobody**2
    np.testing.assert_allclose(first_codes(3.0), guided / guided.sum(), atol=0.035)


def test_temperature_and_top_k_narrow_the_choice() -> None:
    pipeline = TokenPipeline(
        VQAutoencoder(1, 4, 4, 8, 1, codebook_size=7), random_prior(), UserConditioning(2, 16, 0.1)
    )
    logits, draws = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).repeat(200, 1), torch.linspace(1e-4, 0.9999, 200)
    assert set(pipeline._choose(logits, draws).tolist()) == {0, 1, 2, 3}
    pipeline.register_to_config(top_k=2)
    assert set(pipeline._choose(logits, draws).tolist()) == {2, 3}
    pipeline.register_to_config(top_k=0, temperature=0.05)
    assert set(pipeline._choose(logits, draws).tolist()) == {3}


def test_it_learns_more_than_how_often_each_code_comes(trained) -> None:
    run, _ = trained
    rows = [r for r in read_metrics(run.path / "logs" / "prior" / "metrics.jsonl") if "validation_loss" in r]
    assert rows[-1]["validation_loss"] < 0.7 * np.log(16)


def test_samples_are_functions_of_seed_user_and_index_in_the_same_format(trained) -> None:
    run, recipe = trained
    settings = recipe.generate.model_copy(update={"guidance_scale": 1.5})
    made = generate(run.path, settings, seed=3)
    assert made.images.shape == (9, 1, 16, 16)
    assert set(made.table["sampler"]) == {"autoregressive"}
    assert set(made.table["steps"].astype(int)) == {16}
    alone = generate(run.path, settings.model_copy(update={"batch_size": 2}), seed=3, users=["ID_2"])
    np.testing.assert_allclose(made.images[(made.table["user"] == "ID_2").to_numpy()], alone.images, atol=1e-4)
    other = generate(run.path, settings, seed=4, users=["ID_2"])
    assert np.abs(other.images - alone.images).max() > 0.01


def test_it_comes_back_from_disk_and_the_same_command_changes_nothing(trained, tmp_path) -> None:
    run, recipe = trained
    first = load_pipeline(run.path)
    assert isinstance(first, TokenPipeline)
    first.save_pretrained(tmp_path / "again")
    second = TokenPipeline.from_pretrained(tmp_path / "again")
    a, b = (p([0, 2], [torch.Generator().manual_seed(i) for i in range(2)]) for p in (first, second))
    assert torch.equal(a, b)
    file = next((run.path / "prior").glob("*.safetensors"))
    before = file.read_bytes()
    train_prior(ridges(), run, recipe, device="cpu")
    assert file.read_bytes() == before


def test_a_run_holds_one_kind_of_model_and_the_baseline_needs_codes(trained, tmp_path) -> None:
    run, recipe = trained
    with pytest.raises(MdgenError, match="holds a baseline"):
        train_denoiser(ridges(), run, recipe, device="cpu")
    plain = Run(tmp_path / "plain")
    train_autoencoder(ridges(), plain, tiny_recipe(), device="cpu")
    with pytest.raises(MdgenError, match="needs an autoencoder with codes"):
        train_prior(ridges(), plain, tiny_recipe(), device="cpu")
    (plain.path / "denoiser").mkdir()
    with pytest.raises(MdgenError, match="holds a diffusion model"):
        train_prior(ridges(), plain, tiny_recipe(), device="cpu")


def test_check_knows_the_baseline(trained) -> None:
    run, _ = trained
    remarks = check_run(run)
    said = "\n".join(remark.line() for remark in remarks)
    assert "16 codes, 16 of them a picture" in said
    assert "the prior learned the latents of this autoencoder" in said
    assert "it samples" in said
    file = run.path / "autoencoder" / "config.json"
    kept = file.read_text()
    file.write_text(json.dumps({**json.loads(kept), "latents_mean": [9.0] * 4}))
    assert exit_code(check_run(run)) == 1
    file.write_text(kept)
