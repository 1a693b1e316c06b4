"""Records a store of each engine, written by the code of today, and every field that this code reads of it.

    python -m tests.migrations.recording LAYOUT-DATE [ENGINE...]

for example `2-2026-11-22`. Run it once when the layout has changed: a test opens `recorded/LAYOUT-DATE.*` from then on.
A recorded store is never made again.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from datastore import Scope, Settings, open_store
from datastore.document import Place, Span
from datastore.ports import Engine
from sandbox import ConnectedDataStore, connect
from tests.migrations.dumps import ENDINGS, dump
from tests.servers.fresh import fresh
from tests.servers.mongo import own_mongod
from tests.servers.postgres import Server

RECORDED: Final = Path(__file__).with_name("recorded")
OWNERS: Final = ("alice", "bob", "tenant:7%", "@team", "@@datastore")
YEARS: Final = 9 * 365 * 86400.0
VALUES: Final[dict[str, Any]] = {
    "text": 'näïve \U0001f600 \\ "quoted" \n tab\t',
    "empty": "",
    "null": None,
    "true": True,
    "zero": 0,
    "least": -(2**63),
    "most": 2**63 - 1,
    "float": 0.1,
    "huge": 1e308,
    "whole float": 1.0,
    "list": [1, [2, [None, "x"]], {}],
    "object": {"b": 1, "a": {"nested": [True, 1.5]}},
    "field names": {"": 1, "a.b": 2, "$set": 3, "$ref": "c", "$id": 4},
    "bytes": bytes(range(256)),
    "no bytes": b"",
    "ключ/%:key ": "a key of many kinds",
}


def fill(url: str) -> None:
    """Write with all that agents can do."""
    with as_agent(url, "alice", "writer", "run-1") as writer:
        _write(writer)
    for user in ("bob", "tenant:7%"):  # The same names, to be kept apart.
        with as_agent(url, user, "writer", "run-2") as other:
            other.set("text", f"of {user}")
            other.use_namespace("files:apache/my-repo").set("src/app.py", f"print({user!r})")
    with as_agent(url, "alice", "reader", "run-3") as reader:
        reader.get_many(list(VALUES))
        reader.get("text")
        reader.set("object", {"changed": True})
    for later in (_coordinate, _share, _limit):
        later(url)


def _write(store: ConnectedDataStore) -> None:
    for key, value in VALUES.items():
        store.set(key, value)
    store.set("described", 1, {"source": "crm", "tags": {"a.b": ["$x"], "": None}})
    store.set("described", 2, {"more": True})
    store.set("lasting", "for years", ttl_seconds=YEARS)
    store.set("gone", "in a second", ttl_seconds=1)
    store.set("deleted", 1)
    store.delete("deleted")
    store.add("added", {"once": True})
    store.use_namespace("files:apache/my-repo").set_many({"src/app.py": "print(1)", "README.md": "# Hi"})
    store.use_namespace("files:apache/my-repo").copy_to("backup")
    store.private().set("note", "of the writer")
    store.private("plans").set("note", "of the writer, too")


def _coordinate(url: str) -> None:
    """Count, change together, lock and watch, where that is known yet."""
    if not hasattr(ConnectedDataStore, "atomic"):
        return
    with as_agent(url, "alice", "writer", "run-4") as store:
        store.incr("count", 3)
        store.incr("ratio", 0.5)
        store.update("described", lambda value: value + 1)
        with store.atomic() as change:
            change.check("absent", store.ABSENT)
            change.set("together", 1)
            change.delete("added")
        with store.lock("door", ttl_seconds=60):
            store.set("guarded", True)
        for _ in store.watch(timeout_seconds=0.1):
            break


def _share(url: str) -> None:
    """Write in a space, where that is known yet."""
    if not hasattr(ConnectedDataStore, "shared"):
        return
    from datastore import Grant  # noqa: PLC0415 - spaces came with what it says of them

    for user in ("alice", "bob"):
        grants = (Grant.own(), Grant(namespace="*", space="team"))
        with connect(url, scope=Scope(user=user, agent="writer", run="run-5", grants=grants)) as store:
            shared = store.shared("team")
            shared.set("latest", f"by {user}")
            shared.add(f"first of {user}", user)


def _limit(url: str) -> None:
    """Do what operators do, where that is known yet: limit, block, erase, and note all of it."""
    try:
        from admin.cli import erasing  # noqa: F401, PLC0415 - as above
        from admin.cli.main import main  # noqa: PLC0415 - as above
    except ImportError:
        return
    for words in (
        ("quota", "set", "--user", "bob", "--bytes", "100000", "--keys", "100"),
        ("block", "--user", "mallory"),
        ("set", "--user", "gone", "k", '"soon"'),
        ("erase", "--user", "gone", "--yes"),
    ):
        code = main(["admin", *words, "--url", url])
        assert code == 0, words
    settings = Settings(audit="all")
    with connect(url, scope=Scope(user="bob", agent="writer", run="run-6"), settings=settings) as store:
        store.set("counted", "x" * 100)
        store.get("counted")


@contextmanager
def as_agent(url: str, user: str, agent: str, run: str) -> Iterator[ConnectedDataStore]:
    """Yield a data_store that acts as an agent of a user."""
    with connect(url, scope=Scope(user=user, agent=agent, run=run)) as store:
        yield store


async def entries(url: str) -> list[dict[str, Any]]:
    """Return what stands in a store; nothing is counted."""
    async with open_store(url) as store:
        return await stored(store.engine, datetime.now(UTC))


async def stored(engine: Engine, now: datetime) -> list[dict[str, Any]]:
    """Return what stands in every namespace, every field of it, as the engine reads it."""
    found = []
    for owner in OWNERS:
        for namespace in await engine.namespaces(owner, "", now):
            page, after = await engine.scan(Place(owner, namespace), Span(), now)
            assert after is None
            found += [{"owner": owner, **each.as_dict()} for each in page]
    return found


def record(name: str, engine: str, url: str) -> None:
    """Write one store, and the two files of it."""
    fill(url)
    time.sleep(1.1)  # So that what was to expire has.
    expected = {"recorded_at": datetime.now(UTC).isoformat(), "entries": asyncio.run(entries(url))}
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (RECORDED / f"{name}.{engine}.expected.json").write_text(text + "\n", encoding="utf-8")
    dump(engine, url, RECORDED / f"{name}.{ENDINGS[engine]}")


def main() -> None:
    """Record a store of each engine."""
    name, engines = sys.argv[1], sys.argv[2:] or list(ENDINGS)
    with ExitStack() as stack:

        def server(engine: str) -> str:
            return (
                stack.enter_context(Server.made()).url if engine == "postgresql" else stack.enter_context(own_mongod())
            )

        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for engine in engines:
            record(name, engine, stack.enter_context(fresh(engine, folder, server)))


if __name__ == "__main__":
    main()
