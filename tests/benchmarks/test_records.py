"""Benchmarks write past the store what the store itself writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from datastore import open_store, values
from datastore.backends.mongo import documents
from datastore.backends.sql import rows
from datastore.document import Place, moment
from datastore.entry import NEVER
from datastore.ports import Actor, Write
from datastore.settings import Settings
from sandbox import connect
from tests.admin.words import environment, process
from tests.benchmarks import bare_mongo, bare_sql, records
from tests.benchmarks.records import AGENT, COLUMNS, RUN, DataSet, Record, Writer
from tests.servers.postgres import fresh_postgres
from tests.world import Servers

DATA = DataSet.of(8)


@pytest.fixture
def record() -> Record:
    return Writer("alice", "files:repo").record("é.py", DATA.values[0])


def test_a_data_set_is_the_same_every_time() -> None:
    assert DataSet.of(8) == DATA
    assert {len(each) for each in DATA.values} == {20}
    assert list(DATA.keys) == sorted(DATA.keys)


def test_a_row_is_that_of_a_put(record: Record) -> None:
    write = Write(record.key, record.value, values.size(record.value), record.version, NEVER)
    actor = Actor(AGENT, RUN, moment(record.now))
    made = rows.created(Place(record.owner, record.namespace), write, actor)
    assert dict(zip(COLUMNS, records.row(record), strict=True)) == made


async def test_a_document_is_that_of_an_entry(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        with connect(store, user="alice", agent=AGENT) as data_store:
            await data_store.aio.set("k", DATA.values[0])
            entry = await data_store.aio.get_entry("k")
    assert entry is not None
    made = Record("alice", "default", "k", entry.value, records.text(entry.value), entry.version, entry.created_at)
    named = {"_id": Place("alice", "default").id("k"), "userId": "alice", "namespace": "default", "key": "k"}
    acted = {"createdByRun": RUN, "updatedByRun": RUN}
    assert records.document(made) == named | documents.fields(entry) | acted


@pytest.mark.parametrize("driver", ["motor", "pymongo"])
async def test_the_store_reads_what_a_bare_mongo_writes(servers: Servers, driver: str) -> None:
    key, other = DATA.keys[:2]
    settings = Settings(mongo_driver="pymongo" if driver == "pymongo" else "motor")
    with servers("mongodb").lent() as url:
        async with open_store(url, settings=settings) as store, bare_mongo.mongo(driver, url, DATA) as bare:
            with connect(store, user="alice", agent=AGENT) as data_store:
                await bare.set(key, DATA.values[0])
                await bare.set_many({other: DATA.values[1]})
                written = await data_store.aio.get_entry(key)
                assert [await bare.get(key), *await bare.get_many([other])] == list(DATA.values[:2])
                assert written is not None
                assert (written.value, written.size_bytes) == (DATA.values[0], values.size(DATA.values[0]))
                await bare.set(key, DATA.values[0])
                renewed = await data_store.aio.get_entry(key)
                assert renewed is not None
                assert (renewed.created_at, renewed.version == written.version) == (written.created_at, False)
        assert process(["admin", "check"], environment(DATASTORE_URL=url)).code == 0


async def test_bare_sql_reads_what_it_writes(tmp_path: Path, postgres_server: str) -> None:
    key, other = DATA.keys[:2]
    async with bare_sql.sqlite(tmp_path, DATA) as lite:
        lite.set(key, 1)
        lite.set_many({other: 2})
        assert (lite.get(key), lite.get("nothing"), lite.get_many([key, other])) == (1, None, [1, 2])
    with fresh_postgres(postgres_server) as url:
        async with bare_sql.postgres(url, DATA) as pg:
            await pg.set(key, 1)
            await pg.set_many({other: 2})
            assert (await pg.get(key), await pg.get("nothing"), await pg.get_many([key, other])) == (1, None, [1, 2])
            assert await pg.of("bob").get(key) is None
