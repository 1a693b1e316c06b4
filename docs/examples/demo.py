"""Agents of two users at work on real source files, side by side, every run in a sandbox of its own: `make demo`.

Usage: demo.py [URL]. Without a URL: DATASTORE_URL, else a temporary SQLite file.
Every line that begins with "yes" was checked; the exit code is 1 if one of them begins with "NO".
"""

from __future__ import annotations

import asyncio
import http
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, Final

from datastore import DataStoreError, Scope, Store, open_store
from datastore.settings import load
from sandbox import Sandbox, connect

AGENTS: Final = Path(__file__).parent
PROJECT: Final = AGENTS.parents[1]
PART_CHARACTERS: Final = 256 * 1024
HOST_ONLY: Final = "DEMO_HOST_ONLY"
ACTS: Final = ("read_passwd", "list_proc", "write_file", "open_socket", "start_process")

Files = dict[str, str]


@dataclass
class User:
    """Somebody with repositories and a question, and when the runs of their agents began and ended."""

    id: str
    query: str
    repos: dict[str, Files]
    runs: list[tuple[float, float]] = field(default_factory=list)

    @property
    def namespaces(self) -> list[str]:
        """What the user's agents are going to write."""
        return [f"{kind}:{repo}" for kind in ("files", "index", "summary") for repo in self.repos]


def two_users() -> tuple[User, User]:
    """Give alice this project's own sources, and bob three packages of Python's standard library."""
    project = {path: text for part in ("datastore", "sandbox", "admin") for path, text in sources(PROJECT / part)}
    folders = {module.__name__: Path(str(module.__file__)).parent for module in (asyncio, http, json)}
    cpython = {f"cpython/{name}": dict(sources(folder)) for name, folder in folders.items()}
    return User("demo-alice", "access grants", {"agent-data-store": project}), User("demo-bob", "event loop", cpython)


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    """Give path and text of each Python file."""
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(folder.parent).as_posix(), path.read_text(encoding="utf-8")


def parts(files: Files) -> Iterator[Files]:
    """Split files, so that no run gets a large input."""
    part: Files = {}
    for path, text in files.items():
        if part and sum(map(len, part.values())) + len(text) > PART_CHARACTERS:
            yield part
            part = {}
        part[path] = text
    yield part


class Platform:
    """The host: it says for whom each run acts, and no agent can change that."""

    def __init__(self, store: Store, sandbox: Sandbox) -> None:
        self.store = store
        self.sandbox = sandbox
        self.checks: list[bool] = []

    def check(self, fact: str, holds: object) -> None:
        """Say whether a fact holds."""
        self.checks.append(bool(holds))
        print(f"  {'yes' if holds else 'NO '}  {fact}")

    async def run(self, user: User, agent: str, about: str, given: dict[str, Any]) -> Any:
        """Run one of the examples for a user, print a line about it, and return its output."""
        code = (AGENTS / f"{agent}.py").read_text(encoding="utf-8")
        began = time.perf_counter()
        result = await self.sandbox.run(code, given, scope=Scope(user=user.id, agent=agent))
        ended = time.perf_counter()
        if result.outcome != "done":
            raise RuntimeError(f"{agent} of {user.id}: {result.outcome}: {result.error}\n{result.traceback}")
        user.runs.append((began, ended))
        row = f"{user.id:10}  {agent:11} {about:16} {result.outcome:7} {result.stats.calls:10} {ended - began:8.2f}"
        print(f"{row}  {in_words(result.output)}")
        return result.output

    async def learn(self, user: User) -> None:
        """Let three agents hand their work on, through nothing but the user's namespaces."""
        for repo, files in user.repos.items():
            for part in parts(files):
                await self.run(user, "ingest", repo, {"repo": repo, "files": part})
            await self.run(user, "summarise", repo, {"repo": repo})
            await self.run(user, "index", repo, {"repo": repo})

    async def change_a_file(self, user: User) -> Any:
        """Change one file, then let a new run of an agent go on where an earlier one stopped."""
        repo, files = next(iter(user.repos.items()))
        path = next(iter(files))
        files[path] += f"\n# Changed by the demo at {time.time()}.\n"
        await self.run(user, "ingest", repo, {"repo": repo, "files": {path: files[path]}})
        return await self.run(user, "summarise", repo, {"repo": repo})

    async def search(self, user: User) -> Any:
        """Let the user's question be answered."""
        return await self.run(user, "search", repr(user.query), {"query": user.query})

    async def look_around(self, user: User, other: User) -> Any:
        """Let an agent look for the host's things, and for a file that another user stored."""
        repo, files = next(iter(other.repos.items()))
        return await self.run(user, "look_around", "", {"namespace": f"files:{repo}", "key": next(iter(files))})

    async def holds(self, user: User) -> bool:
        """Say whether a user's store holds what is on disk, each file written by the agent `ingest`."""
        with connect(self.store, user=user.id, agent="auditor") as data_store:
            for repo, files in user.repos.items():
                stored = data_store.aio.use_namespace(f"files:{repo}")
                writers = {entry.created_by_agent for path in files if (entry := await stored.get_entry(path))}
                if await stored.get_many(files) != files or writers != {"ingest"}:
                    return False
        return True


def in_words(output: Any) -> str:
    """Return an agent's numbers as words."""
    if isinstance(output, list):
        return f"{len(output)} hits"
    return ", ".join(f"{number} {what}" for what, number in output.items() if isinstance(number, int))


def overlapped(alice: User, bob: User) -> bool:
    """Say whether a run of one user began while one of the other was going on."""
    return any(a < d and c < b for a, b in alice.runs for c, d in bob.runs)


async def demonstrate(platform: Platform) -> None:
    """Let the agents work, then check what came of it."""
    alice, bob = users = two_users()
    print(f"\n{'user':11} {'agent':11} {'about':16} {'outcome':7} operations  seconds  result")
    await asyncio.gather(*map(platform.learn, users))
    again = await asyncio.gather(*map(platform.change_a_file, users))
    found = await asyncio.gather(*map(platform.search, users))
    seen = await asyncio.gather(platform.look_around(alice, bob), platform.look_around(bob, alice))

    print("\nThe work:")
    platform.check("the runs of the two users went on side by side", overlapped(alice, bob))
    platform.check("the store holds every file as it was given", all([await platform.holds(user) for user in users]))
    platform.check("one file changed, and one was summarised again", [each["summarised"] for each in again] == [1, 1])
    check_isolation(platform, seen)
    for user, hits, view in zip(users, found, seen, strict=True):
        check_user(platform, user, hits, view)


def check_isolation(platform: Platform, seen: Sequence[Any]) -> None:
    """Check what agents saw of this machine."""
    view = seen[0]
    print(f"\nAn agent's process: uid {view['uid']}, pid {view['pid']}, environment {' '.join(view['environment'])}.")
    for act in ACTS:
        print(f"  {act.replace('_', ' '):14} {view[act]}")
    platform.check("agents do not run as root", all(each["uid"] != 0 for each in seen))
    platform.check(
        "agents do not see the host's environment", all(HOST_ONLY not in each["environment"] for each in seen)
    )
    platform.check("all of this was refused", all(each[act].startswith("refused") for each in seen for act in ACTS))


def check_user(platform: Platform, user: User, hits: Any, view: Any) -> None:
    """Show what a user's agents found, and check that nothing of another user's is there."""
    print(f"\n{user.id} asks {user.query!r}:")
    for hit in hits:
        print(f"  {hit['repo']}: {hit['path']} ({hit['lines']} lines): {shorten(hit['says'], 70)}")
    platform.check(
        "the answer comes from this user's repositories", hits and {hit["repo"] for hit in hits} <= set(user.repos)
    )
    print(f"{user.id} has {', '.join(view['namespaces'])}.")
    platform.check("these are the user's own namespaces", view["namespaces"] == user.namespaces)
    platform.check("the other user's file is not there", view["other_users_file"] == "nothing there")


async def main(url: str | None) -> int:
    """Open a store and a sandbox, and demonstrate."""
    began = time.perf_counter()
    settings = load(url=url)
    os.environ[HOST_ONLY] = "agents do not see this"
    run_as = settings.run_as or ("nobody" if os.geteuid() == 0 else None)
    with tempfile.TemporaryDirectory() as folder:
        where = settings.url if "url" in settings.model_fields_set else f"sqlite:///{folder}/demo.db"
        print(f"Store: {where.partition('://')[0]}. Isolation: strict, launched by account {run_as or os.getuid()}.")
        async with open_store(where, settings=settings) as store, Sandbox(store, run_as=run_as) as sandbox:
            platform = Platform(store, sandbox)
            await demonstrate(platform)
    held, checks = sum(platform.checks), len(platform.checks)
    print(f"\n{held} of {checks} checks hold, after {time.perf_counter() - began:.1f} seconds.")
    return 0 if held == checks else 1


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None)))
    except (DataStoreError, RuntimeError) as error:
        sys.exit(f"demo: {error}")
