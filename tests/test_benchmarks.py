"""`mdgen benchmark`: a public set from files to one row of a table, on stand-ins in the set's own file format."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from mdgen.benchmarks import BENCHMARKS, benchmark_data, scaled_recipe
from mdgen.config import load_recipe
from mdgen.data.public import PUBLIC_SETS
from mdgen.errors import MdgenError
from tests.test_cli import TINY, run
from validation.report.row import append_row, report_row

#: Words that a row must not borrow from other networks.
INCEPTION = ("fid", "inception_score")


@pytest.fixture
def fashion(tmp_path):
    """Garments of ten classes, each a bar of its own, as the files Fashion-MNIST comes in."""
    folder = tmp_path / "root" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 120), ("t10k", 40)):
        labels = torch.arange(count, dtype=torch.uint8) % 10
        pictures = torch.randint(0, 240, (count, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        pictures[torch.arange(count), 2 * labels.long() + 5] = 250
        for name, kind, values in (("images-idx3", 3, pictures), ("labels-idx1", 1, labels)):
            head = bytes([0, 0, 8, kind]) + b"".join(int(n).to_bytes(4, "big") for n in values.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(head + values.numpy().tobytes())
    return tmp_path / "root"


def test_a_benchmark_goes_the_whole_way_and_leaves_one_row_however_often_it_is_given(fashion, tmp_path) -> None:
    out, table = tmp_path / "out", tmp_path / "results" / "table.csv"
    command = ["benchmark", "fashion-mnist", "--data-root", fashion, "--out", out, "--results", table, "--quick"]
    command += [*TINY, "--set", "validate.encoders=[judge,pixels_pca64]"]
    code, output = run(*command)
    assert code in (1, 3), output  # three steps teach nothing
    assert run(*command)[0] == code
    rows = pd.read_csv(table)
    assert len(rows) == 1
    row = rows.iloc[0]
    assert (row["benchmark"], row["recipe"], row["per_user"]) == ("fashion-mnist", "mnist", 4)
    assert row[[f"{name}_status" for name in INCEPTION]].tolist() == ["unavailable", "unavailable"]
    assert row[list(INCEPTION)].isna().all()
    assert row[["kid_pixels_pca64", "kid_pixels_pca64_real", "frechet_distance_judge"]].notna().all()
    assert 0 <= row["user_accuracy"] <= 1
    code, output = run("benchmark", "cifar10", *command[2:])
    assert code == 2
    assert "holds {'benchmark': 'fashion-mnist'" in output
    with pytest.raises(MdgenError, match="choose another --out"):
        benchmark_data("fashion-mnist", fashion, out, limit=20)


def test_a_command_that_goes_on_finds_the_very_data_it_began_with(fashion, tmp_path) -> None:
    imported, found = (benchmark_data("fashion-mnist", fashion, tmp_path / "out") for _ in range(2))
    assert imported.fingerprint() == found.fingerprint()


def test_a_fingerprint_of_digits_alone_is_no_number(tmp_path) -> None:
    for _ in range(2):
        append_row(tmp_path / "table.csv", {"synthetic": "012345678901"})
    assert (tmp_path / "table.csv").read_text() == "synthetic\n012345678901\n"


def test_a_row_of_another_model_is_appended_and_a_foreign_table_is_left_alone(tmp_path) -> None:
    table = tmp_path / "table.csv"
    append_row(table, {"synthetic": "a", "kid": 1.0})
    append_row(table, {"synthetic": "b", "fid": 2.0})
    append_row(table, {"synthetic": "a", "kid": 3.0})
    assert pd.read_csv(table).set_index("synthetic")["kid"].dropna().to_dict() == {"a": 3.0}
    assert len(pd.read_csv(table)) == 2
    table.write_text("no,results\n1,2\n")
    with pytest.raises(MdgenError, match="not a table of results"):
        append_row(table, {"synthetic": "a"})
    assert table.read_text() == "no,results\n1,2\n"
    with pytest.raises(MdgenError, match="is not a report"):
        report_row(tmp_path)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_name_known_sets_and_recipes_and_scale_both_stages(name) -> None:
    known = BENCHMARKS[name]
    assert known.public_set in PUBLIC_SETS
    whole, tenth = load_recipe(known.recipe), scaled_recipe(known.recipe, ["seed=3"], 0.1)
    assert tenth.seed == 3
    for part in ("autoencoder", "denoiser"):
        steps = getattr(whole, part).training.steps
        assert getattr(tenth, part).training.steps == round(0.1 * steps)


def test_what_does_not_exist_is_said(tmp_path) -> None:
    code, output = run("benchmark", "imagenet", "--data-root", tmp_path, "--out", tmp_path / "out")
    assert code == 2
    assert "known are cifar10, fashion-mnist, celeba64" in output
    code, output = run("benchmark", "cifar10", "--data-root", tmp_path, "--out", tmp_path / "out", "--steps-scale", 0)
    assert code == 2
    assert "must be above 0" in output
    assert not (tmp_path / "out").exists()
