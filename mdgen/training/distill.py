"""Distilling: a student that in 1 to 8 evaluations arrives where its guided teacher arrives in many. Needs no data.

The teacher is followed from noise along its guided trajectory. The student, which starts as its copy, learns to make
the way from each of a few points on it in one step: to the next of them (`trajectory`; progressive distillation,
Salimans & Ho 2022, with guidance folded in, Meng et al. 2023, in one stage), or to the end (`consistency`; Song et al.
2023, Luo et al. 2023), which is then noised again to go on. Both learn on the teacher's own states, which are those
they will see. What comes out is an ordinary run folder.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn

from mdgen.config import DistillConfig, Recipe
from mdgen.data.folders import atomic_folder
from mdgen.data.labels import chosen_ids
from mdgen.diffusion.samplers import build_sampler, set_steps, step
from mdgen.errors import MdgenError
from mdgen.generate import checkpoint_hash
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.progress import Progress
from mdgen.run import Run, on_main_process
from mdgen.training.denoiser import publish
from mdgen.training.schedule import Budget
from mdgen.training.stage import Stage
from mdgen.training.task import Batch, Task

#: What a distilled run takes over from its teacher's.
KEPT = ("config.yaml", "users.json", "axes.json", "autoencoder", "logs/autoencoder_check.json")
#: Samples that count as one pass; each is drawn afresh every time.
_EPOCH_PER_USER = 256


class DistillTask(Task):
    """Mean squared error between the student's steps and the teacher's way, over all points of a trajectory.

    wishes: of the teacher's labels, as `generate` will have them.
    """

    def __init__(
        self, student: nn.Module, teacher: MicroDopplerPipeline, config: DistillConfig, wishes: Mapping[str, str] = {}
    ) -> None:
        super().__init__()
        self.student, self.teacher, self.config, self.wishes = student, teacher, config, wishes
        self.sampler = build_sampler(teacher.config.process, "ddim")

    def __len__(self) -> int:
        return _EPOCH_PER_USER * len(self.teacher.config.users)

    def parts(self) -> dict[str, tuple[list[nn.Parameter], float]]:
        return {"student": (list(self.student.parameters()), self.config.training.learning_rate)}

    def draw(self, indices: np.ndarray, generator: torch.Generator) -> Batch:
        users = indices % len(self.teacher.config.users)
        noise = torch.randn(len(users), *self.teacher.config.latent_shape, generator=generator)
        draws = [
            np.random.default_rng(seed) for seed in torch.randint(2**62, users.shape, generator=generator).tolist()
        ]
        labels = chosen_ids(self.teacher.conditioning.labels, self.wishes, users, draws)
        return {"users": torch.from_numpy(np.column_stack([users, labels])), "noise": noise}

    def forward(self, batch: Mapping[str, Tensor], progress: float) -> dict[str, Tensor]:
        states = self._way_of_teacher(batch["users"], batch["noise"])
        set_steps(self.sampler, self.config.evaluations, batch["noise"].device)
        times = self.sampler.timesteps.float().repeat_interleave(len(batch["users"]))
        with torch.no_grad():
            condition = torch.cat([self.teacher.conditioning(batch["users"])] * self.config.evaluations)
        predictions = self.teacher.answer(self.student, torch.cat(states[:-1]), times, condition)
        errors = []
        for k, prediction in enumerate(predictions.chunk(self.config.evaluations)):
            following = step(self.sampler, prediction, self.sampler.timesteps[k], states[k])
            if self.config.method == "consistency":
                following, target = self.sampler.model_outputs[-1], states[-1]  # what it takes for the clean latents
            else:
                target = states[k + 1]
            errors.append((following - target).square().mean())
        named = {f"step_{k}": error for k, error in enumerate(errors, 1)}
        return {"total": self.config.evaluations**2 * torch.stack(errors).mean(), **named}

    @torch.no_grad()
    def _way_of_teacher(self, users: Tensor, noise: Tensor) -> list[Tensor]:
        """States [N, c, h, w] at the student's levels, noise first, data last."""
        states = self.teacher.trajectory(
            users,
            [],
            noise=noise,
            guidance_scale=self.config.guidance_scale,
            guidance_interval=self.config.guidance_interval,
            num_inference_steps=self.config.teacher_steps,
        )
        return list(states)[:: self.config.teacher_steps // self.config.evaluations]


def distill(
    source: Path,
    out: Path,
    recipe: Recipe,
    *,
    device: str = "auto",
    progress: Progress | None = None,
    budget: Budget | None = None,
) -> None:
    """Distil the run `source`, which is only read, by section `distill` of `recipe`; leaves a run folder `out`.

    The same command again goes on where it stopped. Raises `MdgenError` for a run that is distilled already, and for
    another objective or noise schedule than its own.
    """
    config, run = recipe.distill, Run(out)
    run.require_other_than(source)
    stage, state = Stage(run, recipe, device, progress, budget), PartialState()
    teacher = MicroDopplerPipeline.load(source)
    if teacher.config.distilled is not None:
        raise MdgenError(f"{source}: is distilled already; distil the run it was made from")
    teacher.require_targets(recipe.diffusion)
    teacher.require_settings(config.guidance_scale, config.teacher_steps)
    teacher.use_sampler("dpm++")
    teacher.precision = config.training.precision  # type: ignore[assignment]
    teacher.to(state.device)
    if state.is_main_process and not (out / "users.json").exists():
        _begin(source, out)
    state.wait_for_everyone()
    student = copy.deepcopy(teacher.denoiser)
    with run.locked():
        settings = {
            "distill": config.model_dump(mode="json", exclude={"training"}),
            "labels": recipe.generate.labels,
            "teacher": checkpoint_hash(source),
        }
        task = DistillTask(student, teacher, config, recipe.generate.labels)
        stage.train(task, config.training, "distill", settings)
        on_main_process(lambda: _publish(teacher, student, run, recipe, source))


def _begin(source: Path, out: Path) -> None:
    with atomic_folder(out) as folder:
        for name in KEPT:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name)
            elif (source / name).exists():
                shutil.copyfile(source / name, folder / name)


def _publish(teacher: MicroDopplerPipeline, student: nn.Module, run: Run, recipe: Recipe, source: Path) -> None:
    config = recipe.distill
    flow = teacher.config.process["prediction_type"] == "flow_prediction"
    sampler = "lcm" if config.method == "consistency" else "euler" if flow else "ddim"
    changed: dict[str, Any] = {"sampler": sampler, "steps": config.evaluations, "guidance_scale": 1.0}
    recipe = recipe.model_copy(update={"generate": recipe.generate.model_copy(update=changed)})
    pipeline = MicroDopplerPipeline.assemble(
        teacher.autoencoder, student.cpu(), teacher.conditioning, recipe, list(teacher.config.users)
    )
    pipeline.register_to_config(distilled={"sampler": sampler, "steps": config.evaluations})
    publish(pipeline, run)
    run.record(recipe)
    (run.path / "model_card.md").write_text(
        f"# {run.path.name}\n\nDistilled from `{source.name}` (weights sha256 {checkpoint_hash(source)}) to "
        f"{config.evaluations} evaluations by {sampler}; guidance {config.guidance_scale:g} is folded in and cannot be "
        "changed any more. What was said of that model holds for this one.\n",
        encoding="utf-8",
    )
