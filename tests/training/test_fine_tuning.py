"""Labels and fine-tuning: styles lent between users, users added without touching the others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mdgen.config import GenerateConfig
from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from mdgen.generate import generate
from mdgen.models.conditioning import Between, UserConditioning
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.fine_tuning import fine_tune, replayed
from mdgen.training.low_rank import add_adapters, merge_adapters
from tests.conftest import ridges, tiny_recipe

FINE = ("fine_tuning.training.steps=3", "fine_tuning.training.batch_size=4", "fine_tuning.training.ema_half_life=0")
LABELS = ("conditioning.style=true", "conditioning.labels=[activity]")


def walkers(users: int, split: str = "") -> SpectrogramSet:
    """Ridges with an activity; every role is one recording, so training has one a user, or all four as one role."""
    data = ridges(users)
    activity = np.where(np.arange(len(data)) % 2 == 0, "walking", "running")
    table = data.table.assign(activity=activity, session="1")
    return dataclasses.replace(data, table=table.assign(split=split) if split else table)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    data, recipe = walkers(3, "train"), tiny_recipe(*LABELS)
    run = Run(tmp_path_factory.mktemp("runs") / "tiny")
    train_autoencoder(data, run, recipe, device="cpu")
    train_denoiser(data, run, recipe, device="cpu")
    return run.path


def taught(trained: Path, out: Path, *overrides: str) -> Path:
    """The tiny run taught a fourth user."""
    newcomer = walkers(4, "train")
    newcomer = newcomer.select((newcomer.table["user"] == "ID_4").to_numpy())
    fine_tune(newcomer, trained, Run(out), Run(trained).recipe([*FINE, *overrides]), device="cpu")
    return out


def sampled(run: Path, **labels: str) -> SpectrogramSet:
    return generate(run, GenerateConfig(per_user=4, steps=3, precision="fp32", labels=labels), seed=5)


def test_a_new_user_is_learned_and_the_others_stay_bit_for_bit(trained, tmp_path) -> None:
    run = taught(trained, tmp_path / "more")
    before, after = MicroDopplerPipeline.load(trained), MicroDopplerPipeline.load(run)
    assert list(after.config.users) == ["ID_1", "ID_2", "ID_3", "ID_4"]
    old, new = before.conditioning.embedding.weight, after.conditioning.embedding.weight
    assert torch.equal(new[:3], old[:3])
    assert torch.equal(new[-1], old[-1])  # nobody
    assert (new[3] - old[:3].mean(0)).abs().max() > 1e-3
    for name, weight in before.denoiser.state_dict().items():
        assert torch.equal(weight, after.denoiser.state_dict()[name])
    labels = {"style": "ID_1/1/train", "activity": "walking"}
    known = ["ID_1", "ID_2", "ID_3"]
    images = [
        generate(r, GenerateConfig(per_user=2, steps=3, precision="fp32", labels=labels), seed=5, users=known).images
        for r in (trained, run)
    ]
    np.testing.assert_array_equal(*images)


def test_replay_adds_as_many_windows_of_everybody_known_as_a_newcomer_has() -> None:
    everybody, users = walkers(4, "train"), ["ID_1", "ID_2", "ID_3"]
    newcomer = everybody.select((everybody.table["user"] == "ID_4").to_numpy()).select(np.arange(2))
    rows = replayed(everybody, newcomer)
    assert rows.table["user"].value_counts().to_dict() == dict.fromkeys([*users, "ID_4"], 2)
    np.testing.assert_array_equal(rows.images[-2:], newcomer.images)
    for user in users:
        own = everybody.images[everybody.table["user"] == user]
        np.testing.assert_array_equal(rows.images[rows.table["user"] == user], own[[0, len(own) - 1]])


def test_where_all_weights_learn_replay_keeps_what_is_known(trained, tmp_path) -> None:
    known, newcomer = walkers(3, "train"), walkers(4, "train")
    newcomer = newcomer.select((newcomer.table["user"] == "ID_4").to_numpy())
    recipe = Run(trained).recipe([*FINE, "fine_tuning.learn=all", "fine_tuning.training.steps=30"])
    for name, replay in (("alone", None), ("replayed", known)):
        fine_tune(newcomer, trained, Run(tmp_path / name), recipe, replay=replay, device="cpu")
    runs = (trained, tmp_path / "alone", tmp_path / "replayed")
    before, alone, kept = (MicroDopplerPipeline.load(run).conditioning.embedding.weight for run in runs)
    assert (kept[:3] - before[:3]).abs().max() > 1e-3  # they are learned along
    assert torch.equal(alone[:3], before[:3])


def test_a_new_users_styles_join_those_known_and_can_be_lent(trained, tmp_path) -> None:
    run = taught(trained, tmp_path / "more")
    labels = MicroDopplerPipeline.load(run).conditioning.labels
    assert len(labels.values["style"]) == 16
    assert labels.values["style"][12:] == [f"ID_4/1/{name}" for name in ("judge", "test", "train", "val")]
    assert labels.recorded["style"][3] == [12, 13, 14, 15]
    styles = {wish: set(sampled(run, style=wish).table["style"]) for wish in ("own", "others", "random", "none")}
    table = sampled(run, style="others").table
    assert not any(style.startswith(f"{user}/") for user, style in zip(table["user"], table["style"], strict=True))
    table = sampled(run, style="own", activity="running").table
    assert all(style.startswith(f"{user}/") for user, style in zip(table["user"], table["style"], strict=True))
    assert set(table["activity"]) == {"running"}
    assert styles["none"] == {""}
    assert len(styles["random"]) > 4
    with pytest.raises(MdgenError, match="own, others, random, none"):
        sampled(run, style="ID_9")
    with pytest.raises(MdgenError, match="not trained with it"):
        sampled(run, view="left")


def test_adapters_move_the_denoiser_and_leave_it_of_its_own_kind(trained, tmp_path) -> None:
    run = taught(trained, tmp_path / "more", "fine_tuning.rank=2")
    before, after = (MicroDopplerPipeline.load(r).denoiser.state_dict() for r in (trained, run))
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.endswith("weight") and before[name].ndim == 2 for name in moved)


def test_merged_adapters_answer_as_before() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.SiLU(), nn.Linear(7, 3))
    x = torch.randn(4, 5)
    plain = network(x)
    add_adapters(network, 2)
    torch.testing.assert_close(network(x), plain)
    trainable = [p for p in network.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trainable) == 2 * (5 + 7) + 2 * (7 + 3)
    for parameter in trainable:
        parameter.data += 0.3
    bent = network(x)
    merge_adapters(network)
    assert {name for name, _ in network.named_parameters()} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    torch.testing.assert_close(network(x), bent)


def test_frozen_parameters_stay_and_a_pattern_without_effect_is_an_error(trained, tmp_path) -> None:
    everything = ("fine_tuning.learn=all", "fine_tuning.freeze=[denoiser.blocks.*, conditioning.*]")
    run = taught(trained, tmp_path / "all", *everything)
    before, after = (MicroDopplerPipeline.load(r).denoiser.state_dict() for r in (trained, run))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any(name.startswith("blocks.") for name in moved)
    with pytest.raises(MdgenError, match="no parameter is named like"):
        taught(trained, tmp_path / "none", "fine_tuning.freeze=[decoder.*]")


@pytest.mark.parametrize("changed", ["diffusion.time_mean=0.5", "data.augment.tempo=0.1", "fine_tuning.learn=all"])
def test_fine_tuning_goes_on_with_the_settings_it_began_with_alone(trained, tmp_path, changed: str) -> None:
    run = taught(trained, tmp_path / "more")
    with pytest.raises(MdgenError, match=changed.partition("=")[0].rpartition(".")[2]):
        taught(trained, run, changed)


def test_a_run_of_known_users_has_nothing_to_learn(trained, tmp_path) -> None:
    known = walkers(3, "train")
    with pytest.raises(MdgenError, match="nothing is left to learn"):
        fine_tune(known, trained, Run(tmp_path / "x"), Run(trained).recipe(FINE), device="cpu")


def test_a_run_is_not_taught_in_its_own_folder(trained) -> None:
    with pytest.raises(MdgenError, match="is only read"):
        fine_tune(walkers(3, "train"), trained, Run(trained), Run(trained).recipe(FINE), device="cpu")


def test_the_run_keeps_the_recipe_it_was_taught_by_and_not_one_that_was_refused(trained, tmp_path) -> None:
    with pytest.raises(MdgenError, match="no parameter is named like"):
        taught(trained, tmp_path / "more", "fine_tuning.freeze=[decoder.*]", "generate.steps=7")
    run = taught(trained, tmp_path / "more")
    assert Run(run).recipe() == Run(trained).recipe(FINE)


def test_pictures_of_another_size_are_refused_before_anything_is_written(trained, tmp_path) -> None:
    large, known = ridges(4, size=32), walkers(3, "train")
    for data, replay in ((large, None), (known, large)):
        with pytest.raises(MdgenError, match=r"ridges: its pictures are 32x32 .* the run is for 16x16 .* --size 16"):
            fine_tune(data, trained, Run(tmp_path / "x"), Run(trained).recipe(FINE), replay=replay, device="cpu")
    assert not (tmp_path / "x").exists()


def test_what_the_denoiser_foretells_stays(trained, tmp_path) -> None:
    other = Run(trained).recipe([*FINE, "diffusion.objective=v_prediction"])
    with pytest.raises(MdgenError, match="foretells what objective flow asks for"):
        fine_tune(walkers(3, "train"), trained, Run(tmp_path / "x"), other, device="cpu")
    assert not (tmp_path / "x").exists()


def test_a_style_needs_recordings() -> None:
    bare = ridges()
    bare = dataclasses.replace(bare, table=bare.table.assign(recording="", session=""))
    from mdgen.data.labels import LabelMap

    with pytest.raises(MdgenError, match="import the data with recordings"):
        LabelMap.of(bare.table, bare.users, ["style"])


def conditioning() -> UserConditioning:
    torch.manual_seed(0)
    values = {"style": ["a", "b", "c"], "activity": ["walking", "running"]}
    return UserConditioning(4, 16, 0.1, values, {"style": 0.3, "activity": 0.2}, dict.fromkeys(values, [[0]] * 4), 3)


def test_labels_are_dropped_each_on_its_own_and_all_with_the_user() -> None:
    model = conditioning()
    ids = torch.tensor([[2, 0, 1]]).repeat(20000, 1)
    null = model.drop(ids, torch.Generator().manual_seed(0)) == model.null_ids
    user, activity, style = null.float().mean(0).tolist()
    assert user == pytest.approx(0.1, abs=0.01)
    assert style == pytest.approx(0.1 + 0.9 * 0.3, abs=0.01)
    assert activity == pytest.approx(0.1 + 0.9 * 0.2, abs=0.01)
    assert bool(null[null[:, 0]].all())


def test_a_style_moves_the_condition_in_few_directions_whoever_has_it() -> None:
    model = conditioning()
    moves = torch.stack([model(torch.tensor([[2, 0, s]])) - model(torch.tensor([[2, 0, 3]])) for s in range(3)])
    other = torch.stack([model(torch.tensor([[1, 0, s]])) - model(torch.tensor([[1, 0, 3]])) for s in range(3)])
    torch.testing.assert_close(moves, other)
    assert torch.linalg.matrix_rank(moves.flatten(1)) <= 3
    assert model(torch.tensor([[2, 0, 1]])).std() < 2


def test_between_two_users_lie_their_mixtures() -> None:
    from mdgen.diffusion.guidance import guided_prediction

    model = conditioning()
    first, second = torch.tensor([0, 1]), torch.tensor([2, 3])

    def predict(sample: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return sample + condition[:, :3, None, None]

    def answer(users: torch.Tensor | Between) -> torch.Tensor:
        return guided_prediction(predict, model, torch.zeros(2, 3, 1, 1), torch.tensor(1.0), users, 2.0)

    halfway = answer(Between(first, second, [0.5, 0.5]))
    torch.testing.assert_close(halfway, (answer(first) + answer(second)) / 2)
    torch.testing.assert_close(answer(Between(first, second, 0.0)), answer(first))


def test_guidance_strengthens_the_user_and_lets_a_style_act_once() -> None:
    from mdgen.diffusion.guidance import guided_prediction

    model = conditioning()

    def predict(sample: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return condition[:, :, None, None]

    def answer(row: list[int], scale: float) -> torch.Tensor:
        sample = torch.zeros(1, 16, 1, 1)
        return guided_prediction(predict, model, sample, torch.tensor(1.0), torch.tensor([row]), scale)

    styled, plain, nobody = [1, 2, 0], [1, 2, 3], [4, 2, 3]
    torch.testing.assert_close(answer(styled, 3.0) - answer(plain, 3.0), answer(styled, 1.0) - answer(plain, 1.0))
    expected = answer(styled, 1.0) + 2 * (answer(plain, 1.0) - answer(nobody, 1.0))
    torch.testing.assert_close(answer(styled, 3.0), expected)
