"""The page in a real browser (headless Chromium driven by Playwright): offline, sortable, whole, and on a phone."""

import os
import shutil
from pathlib import Path

import pytest

from tests.validation.reports import USERS, write_tables, write_tiny_report
from validation.report.compare import compare_reports

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (pip install -e '.[dev]')")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium found (apt-get install chromium, or set CHROMIUM)")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return write_tiny_report(tmp_path_factory.mktemp("pages") / "report") / "report.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield chromium
        chromium.close()


class Visit:
    """An opened page with everything it asked for and complained about."""

    def __init__(self, browser, path: Path, **options) -> None:
        self.requests, self.complaints = [], []
        self.page = browser.new_page(**options)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri())


@pytest.fixture
def visit(browser, report):
    visited = Visit(browser, report)
    yield visited
    visited.page.close()


def column(page, number: int) -> list[str]:
    cells = page.locator(f"#users ~ .scroll tbody tr td:nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_it_opens_without_complaints_or_requests(visit, report):
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [report.as_uri()]
    assert visit.page.title().startswith("Not usable")


def test_every_picture_loads(visit):
    widths = visit.page.evaluate("[...document.images].map(image => image.complete * image.naturalWidth)")
    assert len(widths) == 4
    assert min(widths) > 0


def test_hostile_names_are_read_not_run(visit):
    assert set(column(visit.page, 1)) == set(USERS)
    assert visit.page.locator("script").count() == 1
    assert visit.page.evaluate("document.title") != "owned"


def test_an_injected_script_would_not_run(visit):
    visit.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert visit.page.evaluate("window.ran") is None
    assert "Content Security Policy" in visit.complaints[0]


def test_a_click_sorts_and_another_turns_it_round(visit):
    header = visit.page.get_by_role("columnheader", name="Accuracy").first
    assert header.get_attribute("aria-sort") is None
    header.get_by_role("button").click()
    assert column(visit.page, 4) == ["0.100", "0.750", "0.900", "10.500", "–"]
    assert header.get_attribute("aria-sort") == "ascending"
    header.get_by_role("button").click()
    assert column(visit.page, 4) == ["10.500", "0.900", "0.750", "0.100", "–"]
    assert header.get_attribute("aria-sort") == "descending"


def test_the_keyboard_sorts_too_and_only_one_column_says_so(visit):
    visit.page.get_by_role("columnheader", name="Accuracy").first.get_by_role("button").click()
    header = visit.page.get_by_role("columnheader", name="Step (Hz)").first
    header.get_by_role("button").focus()
    visit.page.keyboard.press("Enter")
    assert column(visit.page, 5) == ["-3.000", "0.0001", "1.500", "2.250", "100.2"]
    assert visit.page.locator("#users ~ .scroll th[aria-sort]").count() == 1


def test_failing_users_come_first_until_sorted(visit):
    assert column(visit.page, 2)[0].endswith("fail")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling(browser, report, scheme):
    phone = Visit(browser, report, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    for details in phone.page.locator("details").all():
        details.locator("summary").click()
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    phone.page.close()


def test_paper_gets_all_of_it_but_the_long_tables(visit):
    visit.page.emulate_media(media="print")
    assert not visit.page.locator("details.long").first.is_visible()
    assert visit.page.get_by_text("What to do:").first.is_visible()
    assert visit.page.locator("#provenance").is_visible()
    assert visit.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_a_comparison_opens_the_same_way(browser, report, tmp_path):
    write_tables(tmp_path / "other")
    both = Visit(browser, compare_reports([report.parent, tmp_path / "other"], tmp_path / "both"),
                 viewport={"width": 360, "height": 740})  # fmt: skip
    assert both.complaints == []
    assert len(both.requests) == 1
    assert both.page.evaluate("document.documentElement.scrollWidth") <= 360
    both.page.close()
