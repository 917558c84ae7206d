"""Both stages on tiny data: what is trained, saved, loaded again and sampled."""

import json
import shutil

import numpy as np
import pytest
import torch

from mdgen.config import Recipe
from mdgen.data.dataset import SpectrogramSet, read_dataset
from mdgen.errors import MdgenError
from mdgen.generate import generate, sample_generator, write_synthetic
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.checkpoint import load_newest_checkpoint
from mdgen.training.denoiser import train_denoiser
from tests.conftest import ridges, tiny_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[SpectrogramSet, Run, Recipe]:
    data, recipe = ridges(), tiny_recipe()
    run = Run(tmp_path_factory.mktemp("runs") / "tiny")
    train_autoencoder(data, run, recipe, device="cpu")
    train_denoiser(data, run, recipe, device="cpu")
    return data, run, recipe


def test_a_run_folder_holds_everything_in_diffusers_layout(trained) -> None:
    _, run, recipe = trained
    for name in ("config.yaml", "model_index.json", "users.json", "model_card.md", "figures/reconstructions.png"):
        assert (run.path / name).exists()
    for part in ("autoencoder", "denoiser", "conditioning"):
        assert list((run.path / part).glob("*.safetensors"))
    assert run.recipe() == recipe
    assert not list(run.path.rglob("*.pkl"))


def test_latents_are_normalised_by_measured_statistics(trained) -> None:
    _, run, _ = trained
    check = json.loads((run.path / "logs" / "autoencoder_check.json").read_text())
    assert check["latent_mean"] == pytest.approx(0, abs=0.3)
    assert check["latent_std"] == pytest.approx(1, abs=0.3)


def test_a_reloaded_pipeline_samples_exactly_as_before_it_was_saved(trained, tmp_path) -> None:
    _, run, _ = trained
    first = MicroDopplerPipeline.load(run.path)
    first.save_pretrained(tmp_path / "again")
    (tmp_path / "again" / "users.json").write_text(json.dumps(first.config.users))
    second = MicroDopplerPipeline.load(tmp_path / "again")

    def sample(pipeline: MicroDopplerPipeline) -> torch.Tensor:
        return pipeline([0, 2], [torch.Generator().manual_seed(i) for i in range(2)], num_inference_steps=4)

    assert torch.equal(sample(first), sample(second))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("denoiser/diffusion_pytorch_model.safetensors", "no whole model"),
        ("conditioning/config.json", "no whole model"),
        ("model_index.json", "model_index.json: cannot be read"),
        ("users.json", "users.json: cannot be read"),
    ],
)
def test_a_torn_file_of_a_model_is_told_by_name(trained, tmp_path, name: str, said: str) -> None:
    shutil.copytree(trained[1].path, tmp_path / "run")
    file = tmp_path / "run" / name
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(MdgenError, match=said):
        MicroDopplerPipeline.load(tmp_path / "run")


def test_weights_that_could_hold_code_are_not_read(trained, tmp_path) -> None:
    shutil.copytree(trained[1].path, tmp_path / "run")
    folder = tmp_path / "run" / "denoiser"
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(MicroDopplerPipeline.load(trained[1].path).denoiser.state_dict(), folder / "diffusion_pytorch_model.bin")
    with pytest.raises(MdgenError, match="no whole model"):
        MicroDopplerPipeline.load(tmp_path / "run")


def test_guidance_changes_every_latent_channel_for_every_user(trained) -> None:
    _, run, _ = trained
    pipeline = MicroDopplerPipeline.load(run.path)
    torch.manual_seed(0)
    for parameter in pipeline.denoiser.parameters():  # six steps hardly leave the zero start
        parameter.data += 0.1 * torch.randn_like(parameter)
    torch.nn.init.normal_(pipeline.conditioning.embedding.weight)
    pipeline.decode = lambda latents: latents  # type: ignore[method-assign]
    users = len(pipeline.config.users)

    def sample(scale: float) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(1) for _ in range(users)]
        return pipeline(list(range(users)), generators, guidance_scale=scale, num_inference_steps=3)

    moved = (sample(2.0) - sample(1.0)).abs().amax(dim=(2, 3))
    assert moved.shape == (users, 4)
    assert moved.min() > 1e-4


def test_a_sample_depends_on_seed_user_and_index_and_not_on_its_batch(trained) -> None:
    _, run, recipe = trained
    together = generate(run.path, recipe.generate, seed=3)
    alone = generate(run.path, recipe.generate.model_copy(update={"batch_size": 2}), seed=3, users=["ID_2"])
    rows = (together.table["user"] == "ID_2").to_numpy()
    np.testing.assert_allclose(together.images[rows], alone.images, atol=1e-4)
    other = generate(run.path, recipe.generate, seed=4, users=["ID_2"])
    assert np.abs(other.images - alone.images).max() > 0.01
    assert sample_generator(0, "a", 1).initial_seed() != sample_generator(0, "a\x1f1", 1).initial_seed()


def test_a_synthetic_data_set_reads_back_with_its_provenance(trained, tmp_path) -> None:
    _, run, recipe = trained
    made = generate(run.path, recipe.generate, seed=3)
    assert write_synthetic(run.path, recipe.generate, tmp_path / "synthetic", seed=3) == 9
    again = read_dataset(tmp_path / "synthetic")
    np.testing.assert_allclose(again.images, made.images, atol=2e-5)
    assert again.users == ["ID_1", "ID_2", "ID_3"]
    assert set(again.table["synthetic"]) == {"yes"}
    assert set(again.table["seed"]) == {"3"}
    assert len(set(again.table["checkpoint_sha256"])) == 1
    assert (tmp_path / "synthetic" / "contact_sheet.png").exists()


def test_unknown_or_reordered_users_are_errors(trained, tmp_path) -> None:
    data, run, recipe = trained
    with pytest.raises(MdgenError, match=r"no user \['ID_9'\]; there are ID_1"):
        generate(run.path, recipe.generate, users=["ID_9"])
    renamed = SpectrogramSet(data.images, data.table.replace({"user": {"ID_1": "ID_9"}}), "renamed")
    with pytest.raises(MdgenError, match="ID_1"):
        train_denoiser(renamed, run, recipe, device="cpu")


def test_the_same_command_again_changes_nothing(trained) -> None:
    data, run, recipe = trained
    before = (run.path / "denoiser" / "diffusion_pytorch_model.safetensors").read_bytes()
    train_denoiser(data, run, recipe, device="cpu")
    assert (run.path / "denoiser" / "diffusion_pytorch_model.safetensors").read_bytes() == before


def test_a_model_trained_without_dropout_refuses_guidance(data, tmp_path) -> None:
    recipe = tiny_recipe("diffusion.condition_dropout=0", "diffusion.objective=v_prediction", "denoiser.kind=unet")
    run = Run(tmp_path / "run")
    train_autoencoder(data, run, recipe, device="cpu")
    train_denoiser(data, run, recipe, device="cpu")
    with pytest.raises(MdgenError, match="condition dropout"):
        generate(run.path, recipe.generate)
    plain = generate(run.path, recipe.generate.model_copy(update={"guidance_scale": 1.0}))
    assert plain.images.shape == (9, 1, 16, 16)
    assert np.isfinite(plain.images).all()


def test_an_adversarial_step_trains_each_part_with_its_own_loss(data, tmp_path) -> None:
    recipe = tiny_recipe(
        "autoencoder.adversarial.weight=0.1",
        "autoencoder.adversarial.start=0.5",
        "autoencoder.adversarial.channels=8",
        "autoencoder.adversarial.receptive_field=16",
    )
    run = Run(tmp_path / "run")
    train_autoencoder(data, run, recipe, device="cpu")
    state = load_newest_checkpoint(run.path / "checkpoints" / "autoencoder")
    assert state is not None
    counts = [
        {int(state["optimizer"]["state"][p]["step"]) for p in group["params"]}
        for group in state["optimizer"]["param_groups"]
    ]
    assert counts == [{6}, {3}]  # autoencoder, discriminator


def test_identity_retention_is_asked_of_held_out_rows_only(data, tmp_path) -> None:
    asked = []

    def judge(original: SpectrogramSet, reconstructed: SpectrogramSet) -> float:
        asked.append((set(original.table["split"]), reconstructed.images.shape))
        return 0.5

    check = train_autoencoder(data, Run(tmp_path / "run"), tiny_recipe(), device="cpu", identity_retention=judge)
    assert asked == [({"val", "test"}, (36, 1, 16, 16))]
    assert check.identity_retention == 0.5
