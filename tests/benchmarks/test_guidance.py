"""The guidance benchmark asks about every scale, and draws what it was told."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import guidance

from mdgen.config import GenerateConfig
from tests.tiny_run import tiny_run


def test_a_sweep_asks_the_judge_about_every_scale_and_draws_what_it_says(tmp_path) -> None:
    run, recipe = tiny_run(tmp_path / "run")
    settings = GenerateConfig.model_validate({**recipe.generate.model_dump(), "per_user": 2})

    def opinion(data) -> dict[str, float]:
        return {"accuracy": float(data.table["guidance_scale"].iloc[0]), "diversity": float(data.images.std())}

    table = guidance.sweep(run.path, settings, (1.0, 2.0, 4.0), [(0.0, 1.0)], opinion)
    assert table["accuracy"].tolist() == [1.0, 2.0, 4.0]
    assert table["diversity"].nunique() == 3
    guidance.draw(table, 0.9, tmp_path / "guidance.png")
    assert (tmp_path / "guidance.png").stat().st_size > 5000
