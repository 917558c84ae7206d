"""The comparison with other libraries on a tiny set: each learns something, and its row says what it cost."""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import peer_systems
import peers
import torch

from mdgen.data.dataset import read_dataset, write_dataset
from mdgen.training.schedule import Budget
from tests.conftest import ridges

REQUIRED = {
    "diffusers_pixels": ("diffusers",),
    "lucidrains_pixels": ("denoising_diffusion_pytorch", "ema_pytorch"),
    "monai_latents": ("monai", "einops"),
}


@pytest.mark.parametrize("name", peer_systems.SYSTEMS)
def test_each_system_gives_pictures_of_the_users_that_are_asked_for(name, tmp_path) -> None:
    for module in REQUIRED.get(peer_systems.SYSTEMS[name][0], ()):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install '.[peers]'")
    task = peer_systems.Task.prepare(ridges(2, 4, 32), tmp_path, 1.5, 0)
    assert set(task.real.table["split"]) == {"train"}
    sampler = peer_systems.load(name).train(task)
    made = peer_systems.draw(sampler, task.users, 2, 0)
    assert made.images.shape == (4, 1, 32, 32)
    assert made.table["user"].tolist() == ["ID_1", "ID_1", "ID_2", "ID_2"]
    assert np.isfinite(made.images).all()
    assert abs(made.images).max() <= 1
    assert len({image.tobytes() for image in made.images}) == 4
    write_dataset(made, tmp_path / "synthetic")
    assert read_dataset(tmp_path / "synthetic").users == task.users


def test_batches_are_epochs_of_the_training_rows_until_processor_time_is_up(tmp_path) -> None:
    task = peer_systems.Task.prepare(ridges(3, 4, 16), tmp_path, 0.3, 0)
    seen = list(task.batches(task.clock, 5))
    progress = [share for _, _, share in seen]
    assert progress == sorted(progress)
    assert 0 <= progress[0] < progress[-1] < 1 <= task.clock.progress
    epoch = torch.cat([labels for _, labels, _ in seen[:3]])
    assert epoch.bincount().tolist() == [4, 4, 4]


def test_a_budget_of_ours_counts_processor_seconds() -> None:
    with peer_systems.processor_clock():
        budget = Budget.of(1.0)
        before = budget.left_s
        time.sleep(0.5)
        assert before - budget.left_s < 0.2
    assert time.monotonic is not time.process_time


def row(system: str, **changes: object) -> dict[str, object]:
    made = {"data": "gait", "system": system, "budget_minutes": 10.0, "precision": "float32", "seed": 0}
    made |= {
        "versions": {"torch": "2"},
        "images_per_processor_s": 3.0,
        "peak_memory_gb": 1.0,
        "lines": 9,
        "failed": "texture",
    }
    made |= {name: 0.5 for column in peers.COLUMNS for name in (column, f"{column}_real")}
    return made | changes


def test_a_row_takes_the_place_of_its_predecessor_and_every_file_holds_all_rows(tmp_path) -> None:
    results = tmp_path / "peers"
    peers.record(row("mdgen", texture=0.1), results)
    peers.record(row("other", texture=None), results)
    peers.record(row("mdgen", texture=0.25), results)
    table = pd.read_csv(results.with_suffix(".csv"))
    assert table.set_index("system")["texture"].to_dict() == pytest.approx(
        {"other": np.nan, "mdgen": 0.25}, nan_ok=True
    )
    page = results.with_suffix(".md").read_text()
    assert page.count("| mdgen |") == 1
    assert "0.25" in page
    assert page.count("real data, as many") == 1
    peers.record(row("mdgen", precision="bfloat16"), results)
    page = results.with_suffix(".md").read_text()
    assert page.count("| mdgen |") == page.count("real data, as many") == 2


def test_lines_are_those_of_the_module_without_blank_ones() -> None:
    for name, (module, _) in peer_systems.SYSTEMS.items():
        text = (Path(peer_systems.__file__).parent / f"{module}.py").read_text()
        assert peer_systems.lines(name) == len([line for line in text.split("\n") if line.strip()])
