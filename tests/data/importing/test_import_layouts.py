"""Folders, names, presets and manifests say whose a file is; what they cannot say is asked for."""

from pathlib import Path

import pytest

from mdgen.data.importing.layouts import list_source
from mdgen.data.importing.presets import PRESETS, find_preset
from mdgen.data.importing.problems import Problems
from mdgen.data.importing.settings import ImportSettings
from mdgen.errors import MdgenError


def listed(root: Path, *files: str, **settings):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    listing = list_source(root, ImportSettings(**settings), Problems())
    return listing.table.set_index("file"), "\n".join(listing.lines)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_its_example_and_no_other(name: str) -> None:
    assert find_preset([PRESETS[name].example]) == name or name == "gestures-dti"
    assert [other for other in PRESETS if PRESETS[other].fits(PRESETS[name].example)] in ([name], [])


def test_the_reference_systems_folders_are_recognised(tmp_path: Path) -> None:
    files = [
        f"{gait}/ID_{u}/ID{u}_case1_1_Doppler{n}.jpg" for gait in ("Bag", "Normal_line") for u in (1, 2) for n in (1, 2)
    ]
    table, text = listed(tmp_path, *files)
    assert "named as the set gait31" in text
    row = table.loc["Normal_line/ID_2/ID2_case1_1_Doppler2.jpg"]
    assert (row.user, row.activity, row.number) == ("ID_2", "Normal_line", 2)


@pytest.mark.parametrize(
    ("files", "user", "session", "split"),
    [
        (("a/1.png", "b/1.png"), "a", "", ""),
        (("train/a/1.png", "test/b/1.png"), "a", "", "train"),
        (("a/monday/1.png", "b/friday/1.png"), "a", "monday", ""),
        (("walk/P1/1.png", "run/P2/1.png"), "P1", "", ""),
        (("ID_1/walk/x/1.png", "ID_2/run/y/1.png"), "ID_1", "walk", ""),
    ],
)
def test_folders_are_taken_as_what_they_look_like(tmp_path: Path, files, user: str, session: str, split: str) -> None:
    table, text = listed(tmp_path, *files)
    row = table.loc[files[0]]
    assert (row.user, row.session, row.split) == (user, session, split)
    assert "folders taken as" in text


def test_patterns_name_everything_they_group(tmp_path: Path) -> None:
    table, _ = listed(
        tmp_path, "x/P01_S2_7.png", "P02_S1_8.png", user_from_name=r"P(?P<user>\d+)_S(?P<session>\d)_(?P<number>\d+)"
    )
    assert table.loc["x/P01_S2_7.png", ["user", "session", "number"]].tolist() == ["01", "2", 7]
    assert listed(tmp_path, user_from_name=r"P(\d+)")[0]["user"].tolist() == ["02", "01"]


def test_flat_files_without_a_pattern_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(MdgenError, match=r"whose is 'x1\.png'\? .* give --user-from-name"):
        listed(tmp_path, "x1.png", "x2.png")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "regular expression"), ("ID", "no group"), ("(XX)", "does not match"), ("(Z?)", "empty")],
)
def test_user_patterns_that_find_nobody_are_refused(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(MdgenError, match=message):
        listed(tmp_path, "ID_1/a1.png", user_from_name=pattern)


def test_names_that_are_numbers_or_na_stay_as_they_are(tmp_path: Path) -> None:
    table, text = listed(tmp_path, "001/1.png", "1/1.png", "NA/1.png", "=cmd/1.png", "😀/1.png", "nan/1.png")
    assert set(table["user"]) == {"001", "1", "NA", "=cmd", "😀", "nan"}
    assert "users '1', '001' differ only in leading zeros; kept apart" in text


def test_users_that_differ_in_case_are_named_and_in_unicode_form_refused(tmp_path: Path) -> None:
    assert "differ only in case" in listed(tmp_path / "a", "Ann/1.png", "ann/1.png")[1]
    with pytest.raises(MdgenError, match="equal but for their Unicode form"):
        listed(tmp_path / "b", "Jos\u00e9/1.png", "Jose\u0301/1.png")


def test_a_manifest_wins_over_folders_and_names_its_own_columns(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "path,subject,visit,split,aspect\na/1.png,007,v1,validation,30\na/2.png,NA,v2,,60\n"
    )
    table, text = listed(tmp_path, "a/1.png", "a/2.png")
    assert table.loc["a/1.png", ["user", "session", "split", "aspect"]].tolist() == ["007", "v1", "val", "30"]
    assert table.loc["a/2.png", "user"] == "NA"
    assert "manifest manifest.csv: 2 rows" in text
