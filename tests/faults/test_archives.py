"""Exports, imports and copies to or from a server that leaves."""

from __future__ import annotations

import asyncio
import io
from typing import Any, Final

import pytest

from admin.actions import archive, copying
from admin.actions.archive import Arrival
from admin.actions.copying import Move
from admin.actions.subject import Owner
from datastore.entry import Entry
from datastore.errors import DataStoreError, StoreUnavailable
from datastore.service.store import Store
from tests.faults.wires import ENGINES, MANY, agent, answering, whole_and_wired

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("forgetful_driver")]

ALICE: Final = Owner("user", "alice")


async def contents(store: Store, user: str) -> dict[str, Any]:
    with agent(store, user) as data_store:
        keys = await data_store.aio.list_keys()
        entries = await asyncio.gather(*(data_store.aio.get_entry(key) for key in keys))
        return {each.key: _kept(each) for each in entries if each is not None}


def _kept(entry: Entry) -> dict[str, Any]:
    return {name: each for name, each in entry.as_dict().items() if "access" not in name}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["import", "copy"])
async def test_an_import_that_failed_says_so_and_can_be_repeated(engine: str, how: str, url: str) -> None:
    async with whole_and_wired(engine, url) as (whole, store, wire):
        with agent(whole) as data_store:
            await data_store.aio.set_many(MANY)
        archived = io.BytesIO()
        await archive.export(whole, ALICE, None, archived, lambda _: None)
        told = 0

        def fail(more: int) -> None:
            """Leave when everything is checked, and a part of it is written."""
            nonlocal told
            told += more
            if told > checked + len(MANY) // 3:
                wire.leave()

        async def arrive() -> archive.Restored:
            if how == "copy":
                return await copying.copy(whole, Move(ALICE, None, Owner("user", "carol"), url, "skip"), store, fail)
            archived.seek(0)
            return await archive.load(store, Arrival(Owner("user", "carol"), archived, "the archive", "skip"), fail)

        checked = len(MANY) * (2 if how == "copy" else 1)
        with pytest.raises(StoreUnavailable, match=r"^[\d,]+ entries were written; then: ") as caught:
            await arrive()
        assert caught.value.may_have_written
        assert caught.value.done <= await _count(whole, "carol") < len(MANY)

        wire.come_back()
        await answering(store)
        told = -(10**9)
        done = await arrive()
        assert (done.restored + done.unchanged, done.skipped) == (len(MANY), 0)
        assert await contents(whole, "carol") == await contents(whole, "alice")


async def _count(store: Store, user: str) -> int:
    with agent(store, user) as data_store:
        return await data_store.aio.count()


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_export_that_fails_is_no_archive(engine: str, url: str) -> None:
    async with whole_and_wired(engine, url) as (whole, store, wire):
        with agent(whole) as data_store:
            await data_store.aio.set_many(MANY)
        archived = io.BytesIO()
        with pytest.raises(StoreUnavailable, match="Nothing was written"):
            await archive.export(store, ALICE, None, archived, lambda _: wire.leave())
        archived.seek(0)
        with pytest.raises(DataStoreError, match="without its footer: it was cut"):
            await archive.load(whole, Arrival(Owner("user", "carol"), archived, "the archive", "skip"), lambda _: None)
        assert await _count(whole, "carol") == 0
