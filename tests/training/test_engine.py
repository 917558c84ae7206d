"""One optimizer step: the same whatever the micro-batch, precision with a scaler, memory saved, memory run out."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import DistributedType
from torch.torch_version import TorchVersion
from torch.utils._pytree import tree_map_only

from mdgen.config import Recipe, TrainingConfig
from mdgen.data.windows import WindowCutter
from mdgen.errors import MachineError, MdgenError
from mdgen.models.autoencoder import build_autoencoder
from mdgen.models.conditioning import UserConditioning
from mdgen.models.denoiser import build_denoiser
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.autoencoder_task import AutoencoderTask
from mdgen.training.denoiser import DenoiserTask
from mdgen.training.engine import Batches, Engine
from mdgen.training.latents import RandomLatents
from mdgen.training.task import Task
from tests.conftest import ridges, tiny_recipe
from tests.training.toys import Line


def autoencoder_task(*overrides: str) -> AutoencoderTask:
    recipe = tiny_recipe("autoencoder.latent_noise=0.1", *overrides)
    data = ridges().role("train")
    torch.manual_seed(0)
    windows = WindowCutter.of(data, recipe.data.augment)
    task = AutoencoderTask(build_autoencoder(recipe.autoencoder, (1, 16, 16)), windows, recipe.autoencoder)
    for parameter in task.autoencoder.parameters():  # away from the silent start
        parameter.data += 0.05 * torch.randn_like(parameter)
    return task


def denoiser_task(*overrides: str) -> DenoiserTask:
    recipe = tiny_recipe(*overrides)
    data = ridges().role("train")
    torch.manual_seed(0)
    denoiser = build_denoiser(recipe.denoiser, 4, (4, 4))
    conditioning = UserConditioning(3, denoiser.condition_dim, 0.1)
    windows = WindowCutter.of(data, recipe.data.augment)
    ids = torch.tensor([[data.users.index(user)] for user in windows.users])
    task = DenoiserTask(denoiser, conditioning, windows, RandomLatents((4, 4, 4)), ids, recipe.diffusion, 1e-3)
    for parameter in task.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return task


ADVERSARIAL = (
    "autoencoder.adversarial.weight=0.1",
    "autoencoder.adversarial.start=0",
    "autoencoder.adversarial.ramp=0",
    "autoencoder.adversarial.receptive_field=16",
    "autoencoder.adversarial.channels=8",
    "autoencoder.adversarial.r1=0.1",
    "autoencoder.adversarial.lecam=0.1",
)
VQ = ("autoencoder.kind=vq", "autoencoder.codebook.size=16")
TASKS = {
    "line": lambda: Line(dropout=0),
    "autoencoder": autoencoder_task,
    "kl": lambda: autoencoder_task("autoencoder.kind=kl"),
    "adversarial": lambda: autoencoder_task(*ADVERSARIAL),
    "vq": lambda: autoencoder_task(*VQ),
    "vq-ema": lambda: autoencoder_task(*VQ, "autoencoder.codebook.update=ema"),
    "vector": lambda: autoencoder_task("autoencoder.kind=vector"),
    "transformer": denoiser_task,
    "unet": lambda: denoiser_task("denoiser.kind=unet", "denoiser.levels=[1, 2]"),
}


def engine(task: Task, **settings: object) -> Engine:
    config = TrainingConfig.model_validate({"steps": 10, "batch_size": 12, "learning_rate": 1e-3, **settings})
    return Engine(task, config, seed=3, device="cpu")


def gradients(made: Engine) -> dict[str, torch.Tensor]:
    """Of the first step, by name."""
    made._backward(made.batches(0), 0, 0.5)
    return {name: p.grad.clone() for name, p in made.task.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", [n for n in TASKS if n != "adversarial"])
@pytest.mark.parametrize("micro", [5, 3])
def test_gradients_gathered_over_micro_batches_are_those_of_the_whole_batch(name: str, micro: int) -> None:
    whole, pieces = gradients(engine(TASKS[name]())), gradients(engine(TASKS[name](), micro_batch_size=micro))
    assert whole.keys() == pieces.keys()
    for key, gradient in whole.items():
        torch.testing.assert_close(pieces[key], gradient, rtol=2e-3, atol=2e-5, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("name", TASKS)
def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(name: str) -> None:
    def kept_and_gradients(**settings: object) -> tuple[int, dict[str, torch.Tensor]]:
        made, sizes = engine(TASKS[name](), **settings), [0]

        def note(tensor: torch.Tensor) -> torch.Tensor:
            sizes[0] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            losses = made.model(made.batches(0), 0.5)
            size = sizes[0]
            losses["total"].backward()
        return size, {n: p.grad for n, p in made.task.named_parameters() if p.grad is not None}

    full, plain = kept_and_gradients()
    less, recomputed = kept_and_gradients(gradient_checkpointing=True)
    assert plain.keys() == recomputed.keys()
    for key, gradient in plain.items():
        torch.testing.assert_close(recomputed[key], gradient, rtol=1e-4, atol=1e-6)
    if name != "line":  # a discriminator keeps what it has
        assert less < (0.99 if name == "adversarial" else 0.8) * full


class Hungry(Line):
    """Runs out of memory above so many samples at a time."""

    limit = 3

    def forward(self, batch, progress):
        if len(batch["x"]) > self.limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return super().forward(batch, progress)


def test_after_running_out_of_memory_the_micro_batch_halves_and_the_step_is_the_same(capsys) -> None:
    small, plain = engine(Hungry(dropout=0)), engine(Line(dropout=0))
    for step in range(3):
        first, second = small.step(step, 0.0, 1.0), plain.step(step, 0.0, 1.0)
        assert first.values["total"] == pytest.approx(second.values["total"], rel=1e-5)
    assert small.micro_batch_size == 3
    assert "out of memory at 12 samples a time; going on with 6" in capsys.readouterr().err
    for a, b in zip(small.task.parameters(), plain.task.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    again = engine(Hungry(dropout=0))
    again.load_state_dict(small.state_dict())
    assert again.micro_batch_size == 3


def test_memory_that_runs_out_for_good_is_exit_code_4_with_a_way_out() -> None:
    class Starving(Hungry):
        limit = 0

    with pytest.raises(MachineError, match=r"out of memory at 1 samples.*memory_saver=true"):
        engine(Starving()).step(0, 0.0, 1.0)
    with pytest.raises(MachineError, match=r"out of memory at 8 samples.*micro_batch_size=4"):
        engine(Hungry(), micro_batch_size=8).step(0, 0.0, 1.0)


def test_other_errors_are_not_taken_for_memory() -> None:
    class Broken(Line):
        def forward(self, batch, progress):
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        engine(Broken()).step(0, 0.0, 1.0)


def test_fp16_finds_its_scale_without_calling_that_trouble_and_then_learns() -> None:
    task = Line(dropout=0)
    made = engine(task, precision="fp16", learning_rate=1e-2)
    made.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30)
    results = [made.step(step, 0.0, 1.0) for step in range(60)]
    assert not results[0].applied
    assert not any(result.lost for result in results)
    assert sum(result.applied for result in results) > 30
    assert results[-1].values["total"] < results[0].values["total"]
    assert made.state_dict()["scaler"]["scale"] < 2.0**30


def test_moments_come_back_in_the_weights_order_of_dimensions() -> None:
    """A GPU trains convolutions channels last, and the fused optimizer goes through all memory alike."""

    def convolutions() -> Task:
        return autoencoder_task("autoencoder.kind=kl").to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    whole, first, second = engine(convolutions()), engine(convolutions()), engine(convolutions())
    for step in range(4):
        whole.step(step, 0.0, 1.0)
        if step == 2:
            state = first.state_dict()
            contiguous = tree_map_only(
                torch.Tensor, lambda value: value.clone(memory_format=torch.contiguous_format), state
            )
            second.load_state_dict(contiguous)
        (first if step < 2 else second).step(step, 0.0, 1.0)
    for a, b in zip(whole.task.parameters(), second.task.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_had_no_scale_goes_on_in_fp16() -> None:
    """As `precision: auto` has it where a run moves to an older GPU."""
    before, after = engine(Line(dropout=0)), engine(Line(dropout=0), precision="fp16")
    before.step(0, 0.0, 1.0)
    after.load_state_dict(before.state_dict())
    before.load_state_dict(after.state_dict())
    assert after.scaler.get_scale() > 1


def test_precision_is_that_of_the_matrix_products_and_weights_stay_fp32() -> None:
    seen = []

    class Spy(Line):
        def forward(self, batch, progress):
            seen.append(self.layer(batch["x"]).dtype)
            return super().forward(batch, progress)

    for precision in ("fp32", "bf16", "fp16"):
        task = Spy()
        engine(task, precision=precision).step(0, 0.0, 1.0)
        assert all(p.dtype == torch.float32 for p in task.parameters())
    assert seen == [torch.float32, torch.bfloat16, torch.float16]


def test_each_part_is_clipped_on_its_own() -> None:
    class Two(Line):
        def parts(self):
            return {"first": (list(self.layer[0].parameters()), 0.1), "last": (list(self.layer[2].parameters()), 0.2)}

    made = engine(Two(dropout=0), clip_norm=1e-3)
    before = [p.detach().clone() for p in made.task.parameters()]
    result = made.step(0, 0.0, 0.5)
    assert {"gradient_norm/first", "gradient_norm/last"} <= set(result.values)
    moved = [float((p.detach() - b).abs().max()) for p, b in zip(made.task.parameters(), before, strict=True)]
    assert moved[:2] == pytest.approx([0.05, 0.05], rel=0.05)
    assert moved[2:] == pytest.approx([0.1, 0.1], rel=0.05)


def test_the_memory_saver_is_one_switch_that_single_settings_override() -> None:
    saver = TrainingConfig(memory_saver=True)
    assert (saver.gradient_checkpointing, saver.micro_batch_size, saver.average_on_cpu) == (True, 8, True)
    assert engine(Line(dropout=0), memory_saver=True, batch_size=4).micro_batch_size == 4
    assert not TrainingConfig(memory_saver=True, gradient_checkpointing=False).gradient_checkpointing


def test_a_batch_is_a_function_of_the_step_whatever_was_drawn_before() -> None:
    walked, jumped = Batches(Line(), 4, 1), {}
    for step in (8, 3, 0, 7):
        jumped[step] = Batches(Line(), 4, 1)(step)["x"]
    for step in (0, 1, 2, 3, 7, 8, 3):
        drawn = walked(step)["x"]
        assert torch.equal(drawn, jumped.get(step, drawn))
    assert not torch.equal(jumped[0], jumped[7])


def test_the_memory_saver_trains_the_real_thing(data, tmp_path) -> None:
    from mdgen.run import Run

    recipe: Recipe = tiny_recipe("autoencoder.training.memory_saver=true", "autoencoder.training.steps=2")
    assert train_autoencoder(data, Run(tmp_path / "run"), recipe, device="cpu").images > 0


def test_sharding_on_a_cpu_is_refused_where_torch_cannot_do_it(monkeypatch):
    two = SimpleNamespace(distributed_type=DistributedType.MULTI_CPU, device=torch.device("cpu"), num_processes=2)
    monkeypatch.setattr("mdgen.training.engine.Accelerator", lambda **_: two)
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.8.0"))
    with pytest.raises(MdgenError, match=r"torch 2\.9 or later"):
        Engine(Line(dropout=0), TrainingConfig(sharded=True), 0, "cpu")
