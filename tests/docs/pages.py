"""The pages of the documentation: their fenced blocks, links and headings.

A fence's info string says how its block is executed; CONTRIBUTING.md explains the words to writers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE: Final = re.compile(r"^```(.*)$")
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block. `shown` is the output that the page shows right after it, if any."""

    page: Path
    line: int
    info: str
    text: str
    shown: str | None = None

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def kind(self) -> str:
        """The first word after the language: how the block is executed."""
        return self.info.partition(" ")[2].partition(" ")[0]

    def option(self, name: str) -> str | None:
        """What the info string gives for `name=`; the option `input` reaches to its end."""
        pattern = r"\binput=(.*)$" if name == "input" else rf"\b{name}=(\S+)"
        found = re.search(pattern, self.info)
        return found and found[1]

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """A page's path from the root of the project."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, each with the output that follows it."""
    found: list[Block] = []
    for block in _fences(page):
        if block.info != "output":
            found.append(block)
        elif not found or found[-1].shown is not None:
            raise AssertionError(f"{block}: this output belongs to no block")
        else:
            found[-1] = Block(found[-1].page, found[-1].line, found[-1].info, found[-1].text, block.text)
    return found


def _fences(page: Path) -> Iterator[Block]:
    info, start, lines = None, 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            lines.append(line)
        elif info is None:
            info, start, lines = fence[1].strip(), number, []
        else:
            yield Block(page, start, info, "".join(f"{each}\n" for each in lines))
            info = None
    if info is not None:
        raise AssertionError(f"{name_of(page)}:{start}: this fence is never closed")


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """The targets of a page's links, in order."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The fragments that a link may name: the headings, as GitHub writes them."""
    return {_anchor(heading) for heading in _HEADING.findall(prose(page))}


def headings(page: Path) -> list[str]:
    """The headings of a page, without their marks."""
    return [heading.replace("`", "") for heading in _HEADING.findall(prose(page))]


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
