"""What the documentation shows: its fenced commands and the code spans in its text."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(str(p.relative_to(ROOT)) for p in (*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_SHELL = ("", "sh", "bash")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str

    def commands(self) -> list[list[str]]:
        """Words of every command of a shell block; comments left out, continued lines joined."""
        lines = self.text.replace("\\\n", " ").splitlines() if self.language in _SHELL else []
        words = (shlex.split(line, comments=True) for line in lines)
        return [part for line in words if line for part in _parts(line)]


def _parts(words: list[str]) -> list[list[str]]:
    """The commands of one line, between its `&&`."""
    if "&&" not in words:
        return [words]
    at = words.index("&&")
    return [words[:at], *_parts(words[at + 1 :])]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    return [Block(language, text) for language, text in _FENCE.findall(read(page))]


def commands(page: str) -> list[list[str]]:
    return [command for block in blocks(page) for command in block.commands()]


def spans(page: str) -> list[str]:
    """Code spans of the text outside fenced blocks; `\\|` is how a table writes a bar."""
    return [span.replace("\\|", "|") for span in _SPAN.findall(_FENCE.sub("", read(page)))]


def mdgen_arguments(command: list[str]) -> list[str] | None:
    """What `mdgen` is given by a command, whoever launches it; None where it is another program."""
    if command[0] == "mdgen":
        return command[1:]
    if command[0] in ("accelerate", "torchrun") and "-m" in command and command[command.index("-m") + 1] == "cli":
        return command[command.index("cli") + 1 :]
    return None
