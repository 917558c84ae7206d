"""README.zh-CN.md says what README.md says: the same commands, links, names and measured figures."""

from __future__ import annotations

import re

from tests.docs.pages import blocks, read, spans

ENGLISH, CHINESE = "README.md", "README.zh-CN.md"


def test_both_show_the_same_commands() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_both_have_the_same_sections_and_tables() -> None:
    def shape(page: str) -> list[str]:
        return re.findall(r"^(#+|\|[-|]+\|$)", read(page), re.MULTILINE)

    assert shape(CHINESE) == shape(ENGLISH)


def test_both_link_to_the_same_pages_and_to_each_other() -> None:
    def targets(page: str) -> set[str]:
        return set(re.findall(r"\]\(([^)]+)\)", read(page)))

    assert targets(ENGLISH) - {CHINESE} == targets(CHINESE) - {ENGLISH}
    assert CHINESE in targets(ENGLISH)
    assert ENGLISH in targets(CHINESE)


def test_both_name_the_same_commands_options_and_files() -> None:
    assert set(spans(CHINESE)) == set(spans(ENGLISH))


def test_both_give_the_same_figures() -> None:
    def rows(page: str) -> list[list[str]]:
        tables = [line for line in read(page).splitlines() if line.startswith("|")]
        return [re.findall(r"[+\d.]*\d", line) for line in tables]

    assert rows(CHINESE) == rows(ENGLISH)
