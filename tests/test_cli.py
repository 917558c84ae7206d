"""The command line as users meet it: the whole way in small, and every wrong turn with one line and exit code 2."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cli import app
from mdgen.commands import options
from mdgen.data.dataset import write_dataset
from tests.conftest import ridges
from tests.tiny_run import tiny_run

runner = CliRunner()

TINY = [
    *("--set", "autoencoder.training.steps=3"),
    *("--set", "autoencoder.channels=16"),
    *("--set", "denoiser.training.steps=3"),
    *("--set", "denoiser.training.batch_size=4"),
    *("--set", "denoiser.width=32"),
    *("--set", "denoiser.depth=1"),
    *("--set", "generate.per_user=4"),
    *("--set", "generate.steps=2"),
    *("--set", "validate.judge_steps=5"),
    *("--set", "validate.verification_steps=5"),
    *("--set", "validate.encoders=[judge]"),
]


def run(*arguments: object) -> tuple[int, str]:
    result = runner.invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def dataset(tmp_path) -> Path:
    return write_dataset(ridges(), tmp_path / "data")


def test_quickstart_goes_the_whole_way_in_its_time_and_then_only_shows_its_result(tmp_path) -> None:
    command = ["quickstart", "--out", tmp_path / "q", "--users", 3, "--sessions", 4, "--windows", 3, "--size", 32]
    command += ["--quick", *TINY, "--set", "denoiser.training.steps=100000", "--max-minutes", 0.1]
    code, output = run(*command)
    assert code in (1, 3), output  # seconds teach nothing
    assert "verdict:" in output
    summary = json.loads((tmp_path / "q" / "report" / "summary.json").read_text())
    assert {"fid", "inception_score", "user_accuracy", "verification"} <= set(summary["gates"])
    before = (tmp_path / "q" / "report" / "summary.json").stat().st_mtime_ns
    assert run(*command)[0] == code
    assert (tmp_path / "q" / "report" / "summary.json").stat().st_mtime_ns == before
    code, output = run(*command, "--users", 4)
    assert (code, "holds other walkers" in output) == (2, True)


def test_help_answers_in_a_second_without_heavy_imports() -> None:
    heavy = "{'torch', 'torchvision', 'lpips', 'torch_fidelity', 'matplotlib'}"
    probe = f"import sys, cli, mdgen, validation; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "from cli import app; app(['--help'])"], check=True, stdout=subprocess.DEVNULL
    )
    assert time.monotonic() - started < 5  # under 1 s on an idle machine


@pytest.mark.parametrize(
    "command",
    [
        *("simulate", "import", "import-public", "inspect", "train-vae", "train-ldm", "fine-tune", "train-joint"),
        *("train-classifier", "distill", "baseline", "check", "generate", "visualize", "export", "validate"),
        *("augment-study", "quickstart", "benchmark", "doctor"),
    ],
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    code, output = run(command, "--help")
    assert code == 0
    assert f"Example: mdgen {command}" in " ".join(output.split())


def _bad_inputs(tmp_path: Path, dataset: Path) -> dict[str, list[object]]:
    empty, one, text, nan = (tmp_path / name for name in ("empty", "one", "text", "nan"))
    empty.mkdir()
    for folder in (one / "a", text / "a", text / "b", nan / "a", nan / "b"):
        folder.mkdir(parents=True)
        for i in range(8):
            np.save(folder / f"{i}.npy", np.random.default_rng(i).uniform(-1, 1, (16, 16)).astype(np.float32))
        for file in text.rglob("*.npy"):
            file.unlink()
    for user in "ab":
        for i in range(8):
            Image.fromarray(np.full((16, 16), 10 * i, np.uint8)).save(text / user / f"{i}.png")
    (text / "a" / "9.png").write_text("not a picture")
    np.save(nan / "b" / "9.npy", np.full((16, 16), np.nan, np.float32))
    out = tmp_path / "out"
    return {
        "no such": ["import", "--from", tmp_path / "missing", "--out", out],
        "holds no": ["import", "--from", empty, "--out", out],
        "too few for train": ["import", "--from", one, "--out", out],
        "9.png": ["import", "--from", text, "--out", out],
        "9.npy": ["import", "--from", nan, "--out", out],
        "no such data set": ["train-vae", "--data", tmp_path / "missing", "--run", out],
        "unknown key": ["train-vae", "--data", dataset, "--run", out, "--set", "autoencoder.stepz=3"],
        "not a run folder": ["train-ldm", "--data", dataset, "--run", tmp_path / "empty"],
        "no config.yaml": ["generate", "--run", empty, "--out", out],
        "no such recipe": ["train-vae", "--data", dataset, "--run", out, "--config", "gaitt"],
        "judge_stepz": ["train-vae", "--data", dataset, "--run", out, "--set", "validate.judge_stepz=3"],
        "give one of --run and --config": ["check"],
        "not empty": ["simulate", "--out", dataset],
    }


def test_bad_input_gives_one_line_and_exit_code_2_and_leaves_nothing(tmp_path, dataset) -> None:
    for said, command in _bad_inputs(tmp_path, dataset).items():
        result = runner.invoke(app, [str(c) for c in command])
        assert result.exit_code == 2, (said, result.output, result.exception)
        assert said in result.stderr, (said, result.stderr)
        assert sum(not line.startswith("import ") for line in result.stderr.splitlines()) == 1, result.stderr
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "out").exists(), said


def test_simulate_refuses_a_folder_that_is_not_empty_before_it_works(dataset, monkeypatch) -> None:
    monkeypatch.setattr("mdgen.data.simulator.simulate", lambda *_, **__: pytest.fail("simulated first"))
    code, output = run("simulate", "--out", dataset)
    assert code == 2, output


def test_a_full_disk_is_exit_code_4_and_leaves_nothing(tmp_path, monkeypatch) -> None:
    import mdgen.data.formats

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mdgen.data.formats, "write_png16", full)
    result = runner.invoke(
        app,
        ["simulate", "--out", str(tmp_path / "d"), "--users", "2", "--sessions", "4", "--windows", "1", "--size", "16"],
    )
    assert result.exit_code == 4
    assert "No space left" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(MemoryError, 4, "out of memory; use a smaller"), (KeyboardInterrupt, 130, "interrupted; give the same command")],
)
def test_what_ends_a_command_without_words_of_its_own_is_told_with_the_mend(error, code, said, capsys) -> None:
    @options.command
    def end_so() -> None:
        raise error

    with pytest.raises(typer.Exit) as end:
        end_so()
    assert end.value.exit_code == code
    assert said in capsys.readouterr().err


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path, dataset) -> None:
    code, output = run("train-vae", "--data", dataset, "--run", tmp_path / "run", "--dry-run")
    assert code == 0
    assert "M parameters" in output
    assert not (tmp_path / "run").exists()


def test_training_goes_on_in_a_new_run_within_a_time_budget(tmp_path, dataset) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    recipe = [part for o in TINY[1::2] if not o.startswith("validate") for part in ("--set", o)]
    train = ["--data", dataset, "--max-minutes", 10]
    assert run("train-vae", *train, "--run", first, "--no-judge", *recipe)[0] == 0
    code, output = run("train-ldm", *train, "--run", second, "--from", first)
    assert code == 0, output
    assert (second / "model_index.json").exists()
    assert not (first / "model_index.json").exists()
    result = runner.invoke(app, ["train-ldm", "--data", str(dataset), "--run", str(second), "--max-minutes", "0"])
    assert result.exit_code == 2
    assert "--max-minutes 0: must be above 0" in result.stderr


def test_generate_points_to_the_contact_sheet_where_it_draws_one(tmp_path) -> None:
    tiny_run(tmp_path / "run")
    for format_name, drawn in (("png16", True), ("imagefolder", False)):
        out = tmp_path / format_name
        code, output = run("generate", "--run", tmp_path / "run", "--out", out, "--format", format_name)
        assert code == 0, output
        assert (out / "contact_sheet.png").exists() == ("contact_sheet.png" in output) == drawn


def test_the_baseline_goes_from_data_to_samples_and_is_checked(tmp_path, dataset) -> None:
    tiny = ["autoencoder.training.steps=20", "autoencoder.channels=16", "autoencoder.codebook.size=16"]
    tiny += ["prior.training.steps=5", "prior.width=32", "prior.depth=1", "generate.per_user=2"]
    model, out = tmp_path / "model", tmp_path / "synthetic"
    code, output = run("baseline", "--data", dataset, "--run", model, *[p for t in tiny for p in ("--set", t)])
    assert code == 0, output
    assert run("generate", "--run", model, "--out", out)[0] == 0
    assert (out / "contact_sheet.png").exists()
    code, output = run("check", "--run", model)
    assert "16 codes, 16 of them a picture" in output
    assert code == ("fail" in output)
    code, output = run("check", "--config", "quickstart", "--data", dataset, "--set", "denoiser.kind=dit")
    assert code == 0, output
    assert output.count("M parameters") == 2


def test_doctor_prints_what_to_paste() -> None:
    code, output = run("doctor")
    assert code == 0
    assert "auto chooses" in output
