"""The example agents do what their first lines say, at the isolation level `strict`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from datastore import Scope, open_store
from sandbox import RunResult, Sandbox
from tests.docs.pages import ROOT
from tests.uids import RUN_AS

EXAMPLES: Final = ROOT / "docs" / "examples"
LOOP: Final = 'import os\nfrom . import events\n\nclass BaseLoop:\n    """Runs."""\n\n    def run_forever(self): ...\n'
FILES: Final = {
    "loop.py": f'"""The event loop.\n\nMore about it."""\n{LOOP}',
    "broken.md": "# Notes\n\nNothing here.\n",
    "empty.py": "",
}


class Agents:
    """Runs the examples for a user."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def end(self, agent: str, user: str = "alice", /, **given: Any) -> RunResult:
        code = (EXAMPLES / f"{agent}.py").read_text(encoding="utf-8")
        return await self._sandbox.run(code, given, scope=Scope(user=user, agent=agent))

    async def run(self, agent: str, user: str = "alice", /, **given: Any) -> Any:
        result = await self.end(agent, user, **given)
        assert result.outcome == "done", result.traceback
        return result.output

    async def learn(self, user: str, repo: str, files: dict[str, str]) -> None:
        await self.run("ingest", user, repo=repo, files=files)
        await self.run("summarise", user, repo=repo)
        await self.run("index", user, repo=repo)

    async def see(self, user: str, expression: str) -> Any:
        """What an expression over the user's data_store gives."""
        code = f"def run():\n    return {expression}"
        return (await self._sandbox.run(code, scope=Scope(user=user, agent="test"))).output


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store, Sandbox(store, run_as=RUN_AS) as sandbox:
        yield Agents(sandbox)


async def test_ingest_stores_each_file_with_its_language_and_lines(agents: Agents) -> None:
    assert await agents.run("ingest", repo="r", files=FILES) == {"files": 3, "stored": 3}
    assert await agents.see("alice", 'data_store.use_namespace("files:r").get_all()') == dict(sorted(FILES.items()))
    metadata = 'data_store.use_namespace("files:r").get_entry("loop.py").metadata'
    assert await agents.see("alice", metadata) == {"language": "python", "lines": 10}


async def test_ingest_leaves_unchanged_files_alone(agents: Agents) -> None:
    await agents.run("ingest", repo="r", files=FILES)
    version = 'data_store.use_namespace("files:r").get_entry("loop.py").version'
    before = await agents.see("alice", version)
    assert await agents.run("ingest", repo="r", files={**FILES, "empty.py": "import os"}) == {"files": 3, "stored": 1}
    assert await agents.see("alice", version) == before


async def test_summarise_says_what_a_file_defines_imports_and_is_about(agents: Agents) -> None:
    await agents.run("ingest", repo="r", files=FILES)
    assert await agents.run("summarise", repo="r") == {"summarised": 3, "unchanged": 0, "forgotten": 0}
    summaries = await agents.see("alice", 'data_store.use_namespace("summary:r").get_all()')
    assert summaries["loop.py"] == {
        "lines": 10,
        "docstring": "The event loop.\n\nMore about it.",
        "definitions": ["BaseLoop", "run_forever"],
        "imports": [".", "os"],
    }
    assert summaries["broken.md"] == {"lines": 3, "docstring": "Notes", "definitions": [], "imports": []}
    assert summaries["empty.py"]["docstring"] == ""


async def test_summarise_skips_what_has_not_changed_and_forgets_what_is_gone(agents: Agents) -> None:
    await agents.run("ingest", repo="r", files=FILES)
    await agents.run("summarise", repo="r")
    await agents.run("ingest", repo="r", files={"empty.py": "import os"})
    await agents.see("alice", 'data_store.use_namespace("files:r").delete("broken.md")')
    assert await agents.run("summarise", repo="r") == {"summarised": 1, "unchanged": 1, "forgotten": 1}


async def test_summarise_ends_with_the_error_of_a_file_that_is_no_python(agents: Agents) -> None:
    await agents.run("ingest", repo="r", files={"wrong.py": "def"})
    result = await agents.end("summarise", repo="r")
    assert result.outcome == "raised"
    assert str(result.error).startswith("SyntaxError")


async def test_index_lists_the_files_of_each_word_and_drops_words_that_are_gone(agents: Agents) -> None:
    await agents.learn("alice", "r", FILES)
    index = await agents.see("alice", 'data_store.use_namespace("index:r").get_all()')
    assert index["loop"] == {"loop.py": 3}
    assert index["forever"] == {"loop.py": 1}
    await agents.run("ingest", repo="r", files={"loop.py": ""})
    await agents.run("summarise", repo="r")
    assert (await agents.run("index", repo="r"))["removed"] == len(
        {"event", "more", "about", "base", "run", "forever", "the", "it"}
    )
    assert await agents.see("alice", 'data_store.use_namespace("index:r").get("forever")') is None


async def test_search_finds_every_index_and_ranks_rare_words_first(agents: Agents) -> None:
    await agents.learn("alice", "one", {"a.py": '"""Event loop."""', "b.py": '"""Event."""'})
    await agents.learn("alice", "two", {"c.py": '"""Nothing of interest."""'})
    hits = await agents.run("search", query="Event loop")
    assert [(hit["repo"], hit["path"], hit["score"]) for hit in hits] == [("one", "a.py", 1.5), ("one", "b.py", 0.5)]
    assert hits[0] == {"repo": "one", "path": "a.py", "score": 1.5, "lines": 1, "says": "Event loop."}
    assert [hit["repo"] for hit in await agents.run("search", query="interest")] == ["two"]
    assert await agents.run("search", query="event", limit=1) == [{**hits[0], "score": 0.5}]
    assert await agents.run("search", query="unheard") == []


async def test_search_finds_nothing_of_another_user(agents: Agents) -> None:
    await agents.learn("alice", "r", FILES)
    assert await agents.run("search", "bob", query="event loop") == []


async def test_nearest_finds_the_vectors_that_its_user_remembers(tmp_path: Path, packages: Path) -> None:
    vectors = {"cat": [1.0, 0.2], "dog": [0.9, 0.4], "car": [0.1, 1.0]}
    async with (
        open_store(f"sqlite:///{tmp_path / 'store.db'}") as store,
        Sandbox(store, run_as=RUN_AS, site_packages=packages) as sandbox,
    ):
        agents = Agents(sandbox)
        assert await agents.run("nearest", remember=vectors) == {"remembered": 3}
        found = await agents.run("nearest", query=[0.1, 0.9], limit=2)
    assert found == [{"name": "car", "closeness": 1.0}, {"name": "dog", "closeness": 0.505}]


async def test_look_around_is_refused_everything_and_sees_no_other_users_file(agents: Agents) -> None:
    await agents.run("ingest", "bob", repo="r", files=FILES)
    view = await agents.run("look_around", namespace="files:r", key="loop.py")
    assert view["uid"] != 0
    assert view["environment"] == ["HOME", "LANG", "MALLOC_ARENA_MAX", "PATH", "PWD"]
    acts = ("read_passwd", "list_proc", "write_file", "open_socket", "start_process")
    assert [view[act] for act in acts if not view[act].startswith("refused")] == []
    assert (view["other_users_file"], view["namespaces"]) == ("nothing there", [])
