"""The store as a host holds it: one process, one loop, opened and closed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope, open_store
from datastore.dispatch import dispatch
from datastore.document import Place, prefix_end
from datastore.errors import ConfigurationError, NotSupported, StoreUnavailable
from datastore.operations import Apply, Count, Get, Put
from datastore.ports import Access

ALICE = Scope(user="alice", agent="a")


async def test_a_store_says_that_it_belongs_to_another_loop(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'a.db'}") as store:

        def elsewhere() -> None:
            asyncio.run(store.execute(ALICE, Count(namespace="n")))

        with pytest.raises(NotSupported, match="opened in another event loop"):
            await asyncio.to_thread(elsewhere)


def test_a_store_says_that_it_was_opened_before_a_fork(tmp_path: Path) -> None:
    code = """
import asyncio, os, sys
from datastore import open_store, Scope
from datastore.operations import Count

async def main():
    async with open_store(sys.argv[1]) as store:
        child = os.fork()
        if child == 0:
            try:
                await store.execute(Scope(user="a", agent="b"), Count(namespace="n"))
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'a.db'}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == (
        "NotSupported this store was opened before a fork. Open one in the child: open_store(url).\n"
    )


async def test_closing_writes_what_was_counted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    async with open_store(url) as store:
        await store.execute(ALICE, Apply(namespace="n", mutations=(Put(key="k", value=1),)))
        await store.execute(ALICE, Get(namespace="n", keys=("k",)))
    async with open_store(url) as store:
        found: Any = await store.execute(ALICE, Get(namespace="n", keys=("k",), detail="entry"))
        assert found.items[0].access_count == 1


@pytest.mark.parametrize("url", ["", "store.db", "redis://h", "://", "sqlite:/a"])
async def test_a_url_of_no_installed_backend_is_refused(url: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Installed: mongodb://, mongodb\+srv://, .*postgresql://, .*sqlite://"
    ):
        async with open_store(url or "nothing"):
            pass


async def test_entries_with_large_metadata_are_paged_too(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        puts = tuple(Put(key=f"k{i:03}", value=1, metadata={"m": "x" * 16_000}) for i in range(200))
        await store.execute(ALICE, Apply(namespace="n", mutations=puts))
        seen: list[str] = []
        after: str | None = None
        for _ in range(10):
            message = {"op": "scan", "namespace": "n", "detail": "entry", "after": after}
            page = (await dispatch(store, ALICE, message))["ok"]
            assert len(page["items"]) < 70
            seen += [item["key"] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert seen == [f"k{i:03}" for i in range(200)]
        found = (await dispatch(store, ALICE, {"op": "get", "namespace": "n", "keys": seen, "detail": "entry"}))["ok"]
        assert [item["key"] for item in found["items"]] + list(found["rest"]) == seen
        assert found["rest"]


@pytest.mark.parametrize(
    ("owner", "namespace", "key", "expected"),
    [
        ("alice", "default", "k", "alice:default:aw=="),
        ("a", "b:c", "k", "a:b:c:aw=="),
        ("a:b", "c", "k", "a%3Ab:c:aw=="),
        ("a%3Ab", "c", "k", "a%253Ab:c:aw=="),
        ("@team", "n", "é/?>", "@team:n:w6kvPz4="),
    ],
)
def test_an_id_is_owner_namespace_and_key_and_never_ambiguous(
    owner: str, namespace: str, key: str, expected: str
) -> None:
    assert Place(owner, namespace).id(key) == expected


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        ("a", "b"),
        ("a-", "a."),
        ("\ud7ff", "\ue000"),
        ("a\ud7ff", "a\ue000"),
        ("\U0010ffff", None),
        ("a\U0010ffff", "b"),
        ("\ud7ff\U0010ffff", "\ue000"),
        ("", None),
    ],
)
def test_a_prefix_ends_before_the_first_string_beyond_it(prefix: str, end: str | None) -> None:
    assert prefix_end(prefix) == end


async def test_reads_are_counted_once_although_their_writing_was_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine has written them, and its answer is on its way."""
    async with open_store(f"sqlite:///{tmp_path / 'a.db'}") as store:
        await store.execute(ALICE, Apply(namespace="n", mutations=(Put(key="k", value=1),)))
        record, written, answer = store.engine.record, asyncio.Event(), asyncio.Event()

        async def slow(accesses: Sequence[Access]) -> None:
            await record(accesses)
            written.set()
            await answer.wait()

        monkeypatch.setattr(store.engine, "record", slow)
        await store.execute(ALICE, Get(namespace="n", keys=("k",)))
        flushing = asyncio.create_task(store.flush())
        await written.wait()
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        answer.set()
        await store.flush()
        found: Any = await store.execute(ALICE, Get(namespace="n", keys=("k",), detail="entry"))
        assert found.items[0].access_count == 1


async def test_nothing_new_may_use_a_store_that_is_closed() -> None:
    class Dependent:
        async def close(self) -> None:
            """Nothing is open."""

    async with open_store("sqlite://") as store:
        pass
    with pytest.raises(StoreUnavailable, match="Open it again"):
        store.attach(Dependent())
