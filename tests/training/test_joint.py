"""Joint fine-tuning: what reaches which network, and a run that stays whole."""

import json

import numpy as np
import pytest
import torch

from mdgen.check.remarks import exit_code
from mdgen.check.run import check_run
from mdgen.config import Recipe
from mdgen.data.windows import WindowCutter
from mdgen.errors import MdgenError
from mdgen.generate import generate
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import condition_ids, train_denoiser
from mdgen.training.joint import JointTask, train_joint
from mdgen.training.journal import read_metrics
from tests.conftest import ridges, tiny_recipe

TRAINING = (
    "autoencoder.latent_channels=16",
    "autoencoder.training.steps=40",
    "joint.training.steps=40",
    "joint.training.batch_size=8",
    "joint.training.checkpoint_every=20",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> tuple[Run, Recipe]:
    recipe = tiny_recipe(*TRAINING)
    run = Run(tmp_path_factory.mktemp("runs") / "source")
    train_autoencoder(ridges(), run, recipe, device="cpu", identity_retention=lambda a, b: 1.0)
    train_denoiser(ridges(), run, recipe, device="cpu")
    return run, recipe


def task(source: tuple[Run, Recipe], *overrides: str) -> JointTask:
    run, _ = source
    recipe, pipeline, data = tiny_recipe(*TRAINING, *overrides), MicroDopplerPipeline.load(run.path), ridges()
    windows = WindowCutter.of(data.role("train"), recipe.data.augment)
    ids = condition_ids(data.role("train"), data.users, pipeline.conditioning.labels)[windows.rows]
    made = JointTask(pipeline, windows, ids, recipe)
    torch.manual_seed(0)
    for parameter in made.denoiser.parameters():  # away from the silent start
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made


def reached(loss: torch.Tensor, module: torch.nn.Module) -> float:
    gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, retain_graph=True)
    return float(sum(g.abs().sum() for g in gradients if g is not None))


def test_the_pictures_loss_reaches_every_network_end_to_end(source) -> None:
    made = task(source)
    losses = made(made.draw(np.arange(12), torch.Generator().manual_seed(0)), 0.0)
    for part in (made.denoiser, made.conditioning, made.autoencoder.decoder_blocks, made.autoencoder.encoder_linear):
        assert reached(losses["end_to_end"], part) > 0


def test_the_encoder_feels_its_share_of_the_diffusion_loss_and_with_0_none(source) -> None:
    felt = []
    for share in (0.0, 0.1, 0.2):
        made = task(source, f"joint.encoder_share={share}")
        losses = made(made.draw(np.arange(12), torch.Generator().manual_seed(0)), 0.0)
        felt.append(reached(losses["diffusion"], made.autoencoder.encoder_linear))
    assert felt[0] == 0
    assert felt[2] == pytest.approx(2 * felt[1], rel=1e-3)


def test_losses_of_a_batch_are_the_mean_of_those_of_its_parts(source) -> None:
    made = task(source).eval()
    batch = made.draw(np.arange(12), torch.Generator().manual_seed(0))
    whole = made(batch, 0.0)
    parts = [made({key: value[i : i + 4] for key, value in batch.items()}, 0.0) for i in (0, 4, 8)]
    for name in ("diffusion", "reconstruction", "end_to_end", "total"):
        mean = torch.stack([part[name] for part in parts]).mean()
        torch.testing.assert_close(mean, whole[name], rtol=1e-4, atol=1e-6)


def test_the_result_is_a_whole_run_and_the_source_stays_as_it_was(source, tmp_path) -> None:
    (before, recipe), run = source, Run(tmp_path / "joint")
    kept = {f: f.read_bytes() for f in before.path.rglob("*.safetensors")}
    check = train_joint(ridges(), before.path, run, recipe, device="cpu", identity_retention=lambda a, b: 1.0)
    assert {f: f.read_bytes() for f in before.path.rglob("*.safetensors")} == kept
    remarks = check_run(run)
    assert exit_code(remarks) == 0, "\n".join(f.line() for f in remarks)
    assert check.latent_std == pytest.approx(1, abs=0.3)
    old, new = (json.loads((r.path / "autoencoder" / "config.json").read_text()) for r in (before, run))
    assert old["latents_std"] == new["latents_std"]
    made = generate(run.path, recipe.generate, seed=1)
    assert np.isfinite(made.images).all()
    rows = [r for r in read_metrics(run.path / "logs" / "joint" / "metrics.jsonl") if "validation_loss" in r]
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    again = {f: f.read_bytes() for f in run.path.glob("*/*.safetensors")}
    train_joint(ridges(), before.path, run, recipe, device="cpu")
    assert {f: f.read_bytes() for f in run.path.glob("*/*.safetensors")} == again
    for changed in ("reconstruction=l2", "kl_weight=0.5"):
        with pytest.raises(MdgenError, match=changed.partition("=")[0]):
            train_joint(ridges(), before.path, run, before.recipe([f"autoencoder.{changed}"]), device="cpu")


def test_what_the_denoiser_learned_to_foretell_cannot_change_on_the_way(source, tmp_path) -> None:
    before, _ = source
    other = before.recipe(["diffusion.objective=epsilon"])
    with pytest.raises(MdgenError, match="foretells what objective flow asks for"):
        train_joint(ridges(), before.path, Run(tmp_path / "joint"), other, device="cpu")
    assert not (tmp_path / "joint").exists()


def test_pictures_of_another_size_are_refused_before_anything_is_written(source, tmp_path) -> None:
    before, recipe = source
    with pytest.raises(MdgenError, match="its pictures are 32x32"):
        train_joint(ridges(size=32), before.path, Run(tmp_path / "joint"), recipe, device="cpu")
    assert not (tmp_path / "joint").exists()


@pytest.mark.parametrize("kind", [("autoencoder.kind=vq", "autoencoder.codebook.size=8"), ("autoencoder.kind=none",)])
def test_models_without_smooth_latents_are_refused(kind, tmp_path) -> None:
    recipe, run = tiny_recipe(*kind), Run(tmp_path / "run")
    train_autoencoder(ridges(), run, recipe, device="cpu")
    train_denoiser(ridges(), run, recipe, device="cpu")
    with pytest.raises(MdgenError, match="no smooth latents"):
        train_joint(ridges(), run.path, Run(tmp_path / "joint"), recipe, device="cpu")
