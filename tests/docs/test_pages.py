"""Every block of every page does what the page says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from datastore.settings import Settings
from tests.docs.pages import PAGES, ROOT, anchors, blocks, links, name_of
from tests.docs.playing import Player
from tests.world import Loop

LONG: Final = {
    f"docs/{name}.md"
    for name in (
        "administration",
        "archive",
        "audit",
        "command-line",
        "cross-agent",
        "embedding",
        "erasure",
        "quotas",
        "troubleshooting",
    )
}
"""Pages whose blocks start many processes."""


def of_a_page(page: Path) -> Any:
    return pytest.param(page, id=name_of(page), marks=[pytest.mark.slow] if name_of(page) in LONG else [])


@pytest.fixture
def player(tmp_path: Path, host_loop: Loop, packages: Path) -> Iterator[Player]:
    made = Player(tmp_path, host_loop, packages)
    yield made
    made.close()


@pytest.mark.parametrize("page", [of_a_page(each) for each in PAGES])
def test_every_block_of_a_page_does_what_the_page_says(player: Player, page: Path) -> None:
    play(player, page)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_page_and_a_heading_that_exist(page: Path) -> None:
    for link in links(page):
        if "://" not in link:
            path, _, fragment = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{link} leads nowhere"
            assert not fragment or fragment in anchors(target), f"{link} names no heading of that page"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_a_page_makes_is_used_by_a_command_or_script_of_it(page: Path) -> None:
    typed = "".join(block.text for block in blocks(page) if block.language == "console" or block.kind == "host")
    made = [name for block in blocks(page) if (name := block.option("file"))]
    assert [name for name in made if name not in typed] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_command_of_a_page_is_a_target_of_the_makefile(page: Path) -> None:
    typed = "".join(block.text for block in blocks(page) if block.language == "console")
    named = set(re.findall(r"^\$ make (\S+)", typed, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert named <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_yaml_block_is_a_file_of_settings(page: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            Settings.model_validate(yaml.safe_load(block.text))


def test_every_page_of_docs_is_reachable_from_the_readme() -> None:
    seen, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        targets = {(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link}
        waiting += [target for target in targets - seen if target.suffix == ".md" and target.exists()]
    assert sorted(set(PAGES) - seen) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python data_store\ndata_store.count()  # -> 7\n```\n", "the page shows\n7"),
        ("```python data_store\nprint(1)\n```\n```output\n2\n```\n", "the page shows\n2"),
        ("```python data_store\nprint(1)\n```\n", "but the block says\n1"),
        ("```python data_store\ndata_store.get(3)\n```\n", "InvalidName: key must be a string"),
        ("```python data_store\nx = 1  # -> 1\n```\n", "only an expression can keep a promise"),
        ("```python data_store\n# -> 1\n```\n", "nothing keeps their promises"),
        ("```python agent\ndef run():\n    return 1\n```\n```output\n2\n```\n", "the page shows\n2"),
        ("```python host\nraise SystemExit(3)\n```\n", "it ended with 3"),
        ("```console\n$ echo right\nwrong\n```\n", "the page shows\nwrong"),
        ("```python\nx = 1\n```\n", "write ```python agent or host or data_store"),
        ("```output\n1\n```\n", "belongs to no block"),
        ("```python host\n", "never closed"),
    ],
)
def test_a_page_that_is_wrong_is_noticed(player: Player, tmp_path: Path, text: str, complaint: str) -> None:
    page = tmp_path / "wrong.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        play(player, page)


def play(player: Player, page: Path) -> None:
    for block in blocks(page):
        player.play(block)
