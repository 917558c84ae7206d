"""Distilling: a student arrives in a few evaluations where its teacher arrives in many, and is not used otherwise."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.config import DistillConfig
from mdgen.errors import MdgenError
from mdgen.generate import generate
from mdgen.models.conditioning import UserConditioning
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.training.distill import DistillTask, distill
from tests.conftest import tiny_recipe
from tests.tiny_run import tiny_run

SETTINGS = [
    *("distill.evaluations=2", "distill.teacher_steps=8", "distill.guidance_scale=3"),
    *("distill.training.steps=150", "distill.training.batch_size=8", "distill.training.learning_rate=0.002"),
]


@pytest.fixture(scope="module", params=["flow", "v_prediction"])
def teacher(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / request.param
    run, _ = tiny_run(folder, f"diffusion.objective={request.param}", "denoiser.depth=2")
    pipeline = MicroDopplerPipeline.load(run.path)
    with torch.no_grad():
        pipeline.conditioning.embedding.weight.mul_(6)
        for parameter in pipeline.denoiser.parameters():
            parameter.mul_(1.5)
    for part in ("denoiser", "conditioning"):
        getattr(pipeline, part).save_pretrained(run.path / part)
    return run.path


def latents(run: Path, sampler: str, steps: int, scale: float) -> torch.Tensor:
    pipeline = MicroDopplerPipeline.load(run)
    pipeline.use_sampler(sampler)
    generators = [torch.Generator().manual_seed(i) for i in range(24)]
    users = [i % 3 for i in range(24)]
    return list(pipeline.trajectory(users, generators, guidance_scale=scale, num_inference_steps=steps))[-1]


def test_two_steps_of_the_student_arrive_where_eight_guided_ones_of_the_teacher_do(teacher: Path, tmp_path) -> None:
    objective = MicroDopplerPipeline.load(teacher).config.objective
    plain = "euler" if objective == "flow" else "ddim"
    recipe = tiny_recipe(*SETTINGS, f"diffusion.objective={objective}", "denoiser.depth=2")
    distill(teacher, tmp_path / "student", recipe, device="cpu")
    goal = latents(teacher, "dpm++", 8, 3.0)
    before = (latents(teacher, plain, 2, 1.0) - goal).square().mean()  # the same two evaluations, no guidance
    after = (latents(tmp_path / "student", plain, 2, 1.0) - goal).square().mean()
    assert after < 0.2 * before


def test_the_exact_consistency_function_has_no_loss(tmp_path) -> None:
    """A student that is told the end of the way makes no error, and one that is not does."""
    run, _ = tiny_run(tmp_path / "run")
    pipeline = MicroDopplerPipeline.load(run.path)
    config = DistillConfig(evaluations=2, teacher_steps=4, method="consistency")
    task = DistillTask(pipeline.denoiser, pipeline, config)
    batch = task.draw(torch.arange(3).numpy(), torch.Generator().manual_seed(0))
    states = task._way_of_teacher(batch["users"], batch["noise"])

    class Knowing(torch.nn.Module):
        def forward(self, sample, timestep, class_labels):
            velocity = (sample - states[-1].repeat(2, 1, 1, 1)) / (timestep / 1000).view(-1, 1, 1, 1)
            return type("Output", (), {"sample": velocity})

    assert float(task(batch, 0.0)["total"]) > 1e-3
    task.student = Knowing()
    assert float(task(batch, 0.0)["total"]) < 1e-9


def test_a_student_learns_the_labels_that_generate_will_ask_for(tmp_path) -> None:
    run, recipe = tiny_run(tmp_path / "run")
    pipeline = MicroDopplerPipeline.load(run.path)
    values = {"activity": ["run", "walk"], "style": ["a", "b", "c"]}
    recorded = {"activity": [[0], [1], [0, 1]], "style": [[0], [1], [2]]}
    dropout = {"activity": 0.1, "style": 0.3}
    conditioning = UserConditioning(3, pipeline.denoiser.condition_dim, 0.1, values, dropout, recorded)
    teacher = MicroDopplerPipeline.assemble(
        pipeline.autoencoder, pipeline.denoiser, conditioning, recipe, list(pipeline.config.users)
    )
    config = DistillConfig(evaluations=2, teacher_steps=4)

    def asked(**wishes: str) -> torch.Tensor:
        task = DistillTask(pipeline.denoiser, teacher, config, wishes)
        batch = task.draw(np.arange(60), torch.Generator().manual_seed(0))
        assert torch.isfinite(task(batch, 0.0)["total"])
        return batch["users"]

    users, activities, styles = asked().T
    assert set(styles.tolist()) == {0, 1, 2}
    assert [set(activities[users == user].tolist()) for user in range(3)] == [{0}, {1}, {0, 1}]
    assert set(asked(style="none")[:, 2].tolist()) == {3}


def test_a_consistency_student_samples_by_lcm_and_goes_on_where_it_stopped(tmp_path) -> None:
    run, _ = tiny_run(tmp_path / "run")
    changes = ["distill.method=consistency", "distill.training.steps=4", "distill.training.checkpoint_every=2"]
    recipe = tiny_recipe(*SETTINGS, *changes)
    distill(run.path, tmp_path / "student", recipe, device="cpu")
    distill(run.path, tmp_path / "student", recipe, device="cpu")
    made = generate(tmp_path / "student", recipe_of(tmp_path / "student").generate)
    assert set(made.table["sampler"]) == {"lcm"}
    assert set(made.table["steps"]) == {2}
    with pytest.raises(MdgenError, match="other settings"):
        distill(run.path, tmp_path / "student", tiny_recipe(*SETTINGS, *changes, "distill.guidance_scale=1"))


def test_a_distilled_model_refuses_what_it_was_not_made_for(tmp_path) -> None:
    run, _ = tiny_run(tmp_path / "run")
    distill(run.path, tmp_path / "student", tiny_recipe(*SETTINGS, "distill.training.steps=1"), device="cpu")
    right = recipe_of(tmp_path / "student").generate
    for change, said in [
        ({"steps": 25}, "--steps 2"),
        ({"guidance_scale": 2.0}, "folded in"),
        ({"sampler": "unipc"}, "--sampler"),
    ]:
        with pytest.raises(MdgenError, match=said):
            generate(tmp_path / "student", right.model_copy(update=change))
    with pytest.raises(MdgenError, match="distilled already"):
        distill(tmp_path / "student", tmp_path / "again", tiny_recipe(*SETTINGS))
    with pytest.raises(MdgenError, match="foretells what objective flow asks for"):
        distill(run.path, tmp_path / "other", tiny_recipe(*SETTINGS, "diffusion.objective=epsilon"))
    with pytest.raises(MdgenError, match="multiple of evaluations"):
        tiny_recipe("distill.evaluations=4", "distill.teacher_steps=10")


def recipe_of(run: Path):
    from mdgen.run import Run

    return Run(run).recipe()
