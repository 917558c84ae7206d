"""The data card: one page and a ready recipe, whatever the users are called."""

from dataclasses import replace

import pytest

from mdgen.config import load_recipe
from mdgen.data.dataset import make_table, read_dataset, write_dataset
from mdgen.data.simulator import simulate
from mdgen.errors import MdgenError
from tests.validation.striders import striders
from validation.report.card import data_card

NAME = "<b>=cmd|$x$"


def quiet(line: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module", autouse=True)
def fast_judge():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("validation.report.card.JUDGE_STEPS", 20)
        yield


@pytest.fixture(scope="module")
def folder_and_card(tmp_path_factory, fast_judge):
    out = tmp_path_factory.mktemp("card") / "card"
    data = striders()
    table = data.table.assign(user=data.table["user"].replace("ann", NAME).tolist())
    return out, data_card(replace(data, table=table), out, 0, quiet)


@pytest.fixture(scope="module")
def folder(folder_and_card):
    return folder_and_card[0]


def test_the_page_carries_itself_and_takes_names_for_text(folder):
    page = (folder / "card.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>=cmd" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png;base64") == 1


def test_its_recipe_loads(folder):
    assert load_recipe(folder / "recipe.yaml").name == "recommended"


def test_what_can_be_decided_is_told(folder_and_card):
    card = folder_and_card[1]
    status = card.gates.set_index("gate")["status"]
    assert status["kinematics"] == "pass"
    assert status["fid"] == "inconclusive"
    needs = card.gates.set_index("gate")["needs"]
    assert needs[["tstr", "diversity"]].str.split().str[0].tolist() == ["5", "6"]
    assert "recognised by a small judge" in card.shortcut[0]


def test_a_folder_without_any_table_has_a_card_too(tmp_path):
    data = simulate(2, 4, 3, 32, 0)
    bare = replace(data, table=make_table(user=data.table["user"].tolist()))
    write_dataset(bare, tmp_path / "bare")
    card = data_card(read_dataset(tmp_path / "bare"), None, 0, quiet)
    assert any("unknown" in text for text in card.inspection.warnings)
    assert "not measured" in card.shortcut[0]


def test_nothing_is_overwritten(folder):
    with pytest.raises(MdgenError, match="already exists"):
        data_card(striders(), folder, 0, quiet)
