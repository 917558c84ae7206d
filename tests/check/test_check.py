"""`mdgen check`: sound recipes and runs pass, and every fault made on purpose is found, with its mend."""

import json
import shutil

import pytest

from mdgen.check.recipe import check_recipe, stand_in
from mdgen.check.remarks import Remark, exit_code, graded
from mdgen.check.run import _scheduler, check_run
from mdgen.data.dataset import SpectrogramSet
from mdgen.errors import MdgenError
from mdgen.pipeline import MicroDopplerPipeline
from mdgen.run import Run
from mdgen.training.autoencoder import train_autoencoder
from mdgen.training.checkpoint import replacing_folder
from mdgen.training.denoiser import train_denoiser
from mdgen.training.distill import distill
from tests.conftest import ridges, tiny_recipe, walks
from tests.tiny_run import tiny_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    recipe = tiny_recipe("autoencoder.latent_channels=16", "autoencoder.training.steps=40")
    run = Run(tmp_path_factory.mktemp("runs") / "tiny")
    train_autoencoder(ridges(), run, recipe, device="cpu", identity_retention=lambda a, b: 1.0)
    train_denoiser(ridges(), run, recipe, device="cpu")
    return run


@pytest.fixture
def run(trained, tmp_path) -> Run:
    shutil.copytree(trained.path, tmp_path / "run")
    return Run(tmp_path / "run")


def changed(run: Run, part: str, **config: object) -> None:
    """Rewrite the configuration of a part as if it had been saved like that."""
    source = run.path / part
    name = "scheduler_config.json" if part == "scheduler" else "config.json"
    facts = {k: v for k, v in json.loads((source / "manifest.json").read_text()).items() if k != "files"}
    with replacing_folder(source, facts) as folder:
        for file in source.iterdir():
            if file.name != "manifest.json":
                shutil.copyfile(file, folder / file.name)
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **config}))


def bad(remarks: list[Remark]) -> list[Remark]:
    return [remark for remark in remarks if remark.level != "pass"]


def test_straight_paths_are_not_judged_by_a_schedule_they_do_not_have(tmp_path) -> None:
    run, _ = tiny_run(tmp_path / "run", "diffusion.objective=edm")
    remarks = _scheduler(MicroDopplerPipeline.load(run.path), "dpm++", 4)
    assert not any("signal left" in remark.what for remark in remarks)


def test_a_sound_run_passes(trained) -> None:
    remarks = check_run(trained)
    assert bad(remarks) == []
    said = "\n".join(remark.line() for remark in remarks)
    for part in ("3 users", "PSNR", "latents in use", "latents (16, 4, 4) decode", "DPMSolver", "it samples"):
        assert part in said


def test_a_sound_distilled_run_passes_whatever_its_steps(trained, tmp_path) -> None:
    recipe = tiny_recipe("distill.evaluations=2", "distill.teacher_steps=4", "distill.training.steps=1")
    distill(trained.path, tmp_path / "student", recipe, device="cpu")
    assert bad(check_run(Run(tmp_path / "student"))) == []


def test_a_torn_file_is_found(run) -> None:
    file = next((run.path / "denoiser").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    (remark,) = bad(check_run(run))
    assert remark.level == "fail"
    assert "denoiser: not as it was written" in remark.what
    assert "train-ldm" in remark.mend


def test_other_users_are_found_in_the_run_and_in_the_data(run) -> None:
    data = ridges()
    renamed = SpectrogramSet(data.images, data.table.replace({"user": {"ID_1": "ID_9"}}), "renamed")
    assert any("renamed has other users" in f.what for f in bad(check_run(run, renamed, lambda a, b: 1.0)))
    (run.path / "users.json").write_text(json.dumps(["ID_2", "ID_1", "ID_3"]))
    assert any("users.json names other users" in remark.what for remark in bad(check_run(run)))


def test_an_autoencoder_that_was_replaced_after_stage_2_is_found(run) -> None:
    changed(run, "autoencoder", latents_std=[3.0] * 16)
    what = [remark.what for remark in bad(check_run(run))]
    assert any("another autoencoder, or at another scaling" in said for said in what)
    assert any("latent cache is of another autoencoder" in said for said in what)


def test_latents_at_the_wrong_scale_are_found_on_data(run) -> None:
    changed(run, "autoencoder", latents_std=[0.18215] * 16)
    failures = [f.what for f in check_run(run, ridges(), lambda a, b: 1.0) if f.level == "fail"]
    assert any("latents as stage 2 sees them" in said for said in failures)


def test_reconstructions_that_lose_the_user_are_found_by_the_judge(run) -> None:
    for kept, level in ((0.97, None), (0.9, "warn"), (0.5, "fail")):
        found = [f.level for f in bad(check_run(run, ridges(), lambda a, b, kept=kept: kept)) if "identity" in f.what]
        assert found == ([] if level is None else [level])


def test_a_collapsed_autoencoder_is_found(run) -> None:
    file = run.path / "logs" / "autoencoder_check.json"
    measured = json.loads(file.read_text())
    file.write_text(json.dumps({**measured, "active_dimensions": 0.01, "psnr_db": 9.0}))
    failures = [remark for remark in check_run(run) if remark.level == "fail"]
    assert {f.what.split(":")[0] for f in failures} == {"latents in use", "reconstruction"}
    assert any("lower kl_weight" in f.mend for f in failures)


def test_a_scheduler_that_was_changed_is_found(run) -> None:
    changed(run, "scheduler", solver_order=3)
    (remark,) = bad(check_run(run))
    assert "solver_order" in remark.what


def test_a_folder_without_model_says_what_comes_next(tmp_path) -> None:
    with pytest.raises(MdgenError, match="not a run folder"):
        check_run(Run(tmp_path))
    run = Run(tmp_path / "run")
    run.claim(tiny_recipe(), ridges())
    assert any("train-vae" in f.mend for f in check_run(run) if f.level == "fail")
    train_autoencoder(ridges(), run, tiny_recipe(), device="cpu")
    assert any("train-ldm" in f.mend for f in check_run(run) if f.level == "warn")


def test_a_sound_recipe_passes_and_says_what_it_takes() -> None:
    remarks = check_recipe(tiny_recipe(), stand_in(16))
    assert exit_code(remarks) == 0
    assert sum("M parameters" in remark.what for remark in remarks) == 2


@pytest.mark.parametrize(
    ("overrides", "level", "said"),
    [
        (
            ["generate.sampler=heun", "diffusion.objective=v_prediction"],
            "fail",
            "cannot sample a model of v_prediction",
        ),
        (["diffusion.condition_dropout=0"], "fail", "null user"),
        (["autoencoder.downsample=8", "denoiser.patch=4"], "fail", "does not divide latents"),
        (["autoencoder.adversarial.weight=1"], "fail", "receptive_field"),
        (["autoencoder.kind=vq", "autoencoder.codebook.size=9000"], "warn", "9000 codes for"),
        (["autoencoder.latent_channels=32"], "warn", "for 0.5 pixels"),
        (["autoencoder.training.checkpoint_every=100"], "warn", "no checkpoint before the end"),
        (["autoencoder.kl_weight=2"], "warn", "blurs"),
        (["generate.guidance_scale=20"], "warn", "costs variety"),
    ],
)
def test_what_will_not_go_together_is_said_before_training(overrides, level, said) -> None:
    found = [f for f in check_recipe(tiny_recipe(*overrides), stand_in(16)) if said in f"{f.what} {f.mend}"]
    assert [remark.level for remark in found] == [level]
    assert found[0].mend
    assert exit_code(found) == (level == "fail")


def test_windows_that_would_be_cut_out_of_phase_are_said() -> None:
    aligned = walks([0.3] * 6, hop=32)
    said = bad(check_recipe(tiny_recipe("data.augment.time_shift=true"), aligned))
    assert any("one phase of a step" in remark.what and "time_shift=auto" in remark.mend for remark in said)
    assert not any("phase" in remark.what for remark in check_recipe(tiny_recipe(), aligned))


def test_a_value_is_graded_between_its_limits_in_either_direction() -> None:
    assert [graded("", "", v, good=20, bad=14).level for v in (25, 20, 17, 13)] == ["pass", "pass", "warn", "fail"]
    assert [graded("", "", v, good=0.2, bad=0.7).level for v in (0.1, 0.5, 0.9)] == ["pass", "warn", "fail"]
