"""What the report says and what it must never do, on made-up findings about users with hostile names."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from mdgen.errors import MdgenError
from tests.validation.reports import (
    GATES,
    SCRIPT,
    USERS,
    drawing,
    findings,
    users_table,
    write_tables,
    write_tiny_report,
)
from validation.report.compare import compare_reports, short_names
from validation.report.page import cell, gate_names, listed, prose, scale, sort_key, words
from validation.report.report import column_groups, draw_sections, open_questions, verdict_sentence
from validation.results import DECISIVE, Gate, Summary


class Elements(HTMLParser):
    """Every element of a page with its attributes, and all text outside script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.text, self.inside = [], "", ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_report(tmp_path_factory.mktemp("reports") / "first")


@pytest.fixture(scope="module")
def page(folder) -> Elements:
    return Elements((folder / "report.html").read_text(encoding="utf-8"))


def test_every_drawing_becomes_one_file_and_one_picture(folder, page):
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert drawn == {"accuracy", "texture", "gallery_01", "gallery_02"}
    assert len([tag for tag, _ in page.tags if tag == "img"]) == len(drawn)


def test_a_report_leaves_matplotlib_as_its_user_has_it(tmp_path):
    import matplotlib
    from matplotlib import pyplot

    with matplotlib.rc_context({"figure.dpi": 77, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        write_tiny_report(tmp_path / "report")
        assert dict(matplotlib.rcParams) == before
        assert not pyplot.get_fignums()


def test_the_page_carries_everything_itself(page):
    sources = [value for _, given in page.tags for name, value in given.items() if name in ("src", "href", "srcset")]
    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "form", "base")]


def test_names_notes_and_warnings_are_text_only(page):
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 1
    assert not [given for _, given in page.tags if any(name.startswith("on") for name in given)]
    for user in USERS:
        assert user in page.text
    assert f"users that fail: {SCRIPT}".replace("users", "Users") in page.text
    assert f"{SCRIPT} has few images." in page.text


def test_the_policy_names_the_one_script_of_the_page(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert re.search(
        r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]+'", text
    )


def test_a_gate_shows_its_question_numbers_note_and_what_to_do(page):
    text = " ".join(page.text.split())
    assert "Are the synthetic images recognised as their user" in text
    assert "0.610 95 %: 0.550 to 0.680" in text
    assert "What to do: Raise the guidance scale" in text
    assert "Five points of equal error rate" in text
    assert "What to do: As for user accuracy" not in text


def test_gates_that_need_a_reader_come_first(page):
    order = [given["id"] for tag, given in page.tags if tag == "article"]
    assert order == ["gate-user_accuracy", "gate-texture", "gate-verification", "gate-fid"]


def test_the_failing_user_is_named_before_the_table(page):
    assert page.text.index("1 of 5 users fail") < page.text.index("Step (Hz)")


def test_the_verdict_names_gates_and_users():
    summary = Summary(list(GATES)).as_dict()
    assert verdict_sentence(summary, users_table()) == f"They fail user accuracy, for 1 of 5 users by name ({SCRIPT})."
    decided = [Gate(name, "pass") for name in DECISIVE[1:]]
    undecided = Summary([*decided, Gate("texture", "inconclusive", 0.9)]).as_dict()
    assert verdict_sentence(undecided, users_table().iloc[:0]).endswith("suffice for texture and user accuracy.")
    good = Summary([Gate(name, "pass") for name in DECISIVE]).as_dict()
    assert "none failed" in verdict_sentence(good, users_table().iloc[:0])


def test_what_was_not_measured_is_said():
    missing = " ".join(open_questions({"memorisation": {"status": "pass"}, "kinematics": {"status": "unavailable"}}))
    for said in ("human body", "among real ones", "spliced"):
        assert said in missing
    assert "copied" not in missing


def test_columns_stand_under_the_finding_they_come_from():
    assert column_groups(users_table(), findings()) == [("", 3), ("Recognition", 1), ("Texture", 1)]


def test_two_drawings_of_one_name_are_refused(tmp_path):
    twice = [replace(finding, drawings=[drawing("same")]) for finding in findings()]
    with pytest.raises(ValueError, match="same"):
        draw_sections(tmp_path, twice)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (pd.NA, "–"), (0.0, "0.000"), (0.12345, "0.123"), (0.00012, "0.00012"),
        (1234, "1,234"), (123.456, "123.5"), (True, "yes"), ("<b>", "<b>"),
    ],
)  # fmt: skip
def test_numbers_are_short_and_missing_ones_a_dash(value, text):
    assert cell(value) == text


def test_sorting_uses_all_digits_and_knows_what_is_missing():
    assert [sort_key(v) for v in (0.12345, 7, None, float("nan"), "b")] == ["0.12345", "7.0", "", "", "b"]


def test_words_lists_and_scales():
    assert [words(n) for n in ("eer", "speed_mps", "ci_low", "fid", "db")] == [
        "EER", "Speed (m/s)", "CI low", "FID (Inception)", "DB",
    ]  # fmt: skip
    assert gate_names("user_accuracy, tstr") == "user accuracy, TSTR"
    assert listed(["a", "b", "c", "d"], most=2) == "a, b and 2 more"
    assert listed(["a", "b"]) == "a and b"
    assert scale({"value": 2.0, "threshold": 1.0, "floor": 3.0, "ceiling": None}) == {
        "value": 50.0, "threshold": 0.0, "floor": 100.0,
    }  # fmt: skip
    assert scale({"value": None, "threshold": 1.0}) == {}


def test_backticks_mark_code_and_nothing_else_gets_through():
    assert prose("use `--sift` on <b>`<i>`</b>") == (
        "use <code>--sift</code> on &lt;b&gt;<code>&lt;i&gt;</code>&lt;/b&gt;"
    )


def test_reports_side_by_side_show_every_gate_and_user_of_each(folder, tmp_path):
    fewer = (replace(GATES[0], status="fail"),)
    write_tables(tmp_path / "other", fewer, real={"fingerprint": "another"})
    written = compare_reports([folder, tmp_path / "other"], tmp_path / "both")
    page = Elements(written.read_text(encoding="utf-8"))
    assert "real data differ" in page.text
    assert "not in this report" in page.text
    for name in (*USERS, "first", "other"):
        assert name in page.text
    gates = pd.read_csv(written.parent / "gates.csv")
    assert len(gates) == len(GATES) + len(fewer)
    assert gates[gates["gate"] == "verification"]["status"].tolist() == ["pass", "fail"]
    users = pd.read_csv(written.parent / "users.csv", dtype=str)
    assert {"001", "'=cmd()"} <= set(users["user"])


def test_a_folder_that_is_not_a_report_is_refused(folder, tmp_path):
    with pytest.raises(MdgenError, match=r"not a report, it has no summary\.json"):
        compare_reports([folder, tmp_path], tmp_path / "out")
    (tmp_path / "summary.json").write_text("[]")
    (tmp_path / "per_user.csv").write_text("user,status\n")
    with pytest.raises(MdgenError, match="not the summary of a report"):
        compare_reports([folder, tmp_path], tmp_path / "out")
    with pytest.raises(MdgenError, match="at least two reports"):
        compare_reports([folder, folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_short_names_tell_folders_apart(tmp_path):
    assert short_names([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert short_names([tmp_path / "a" / "report", tmp_path / "b" / "report"]) == ["a/report", "b/report"]


def test_a_name_no_font_can_write_is_told_by_its_numbers(monkeypatch):
    figures = pytest.importorskip("validation.report.figures")
    monkeypatch.setattr(figures, "writable", str.isascii)
    assert figures.label("张 $1") == r"<5f20> \$1"


def test_latin_names_are_written_as_they_are():
    figures = pytest.importorskip("validation.report.figures")
    assert figures.label("Jörg-ß") == "Jörg-ß"
