"""Runs at every level while their store is away."""

from __future__ import annotations

import asyncio
import os
from typing import Final

import pytest

from datastore import Scope, open_store
from sandbox import Sandbox
from tests.faults.wires import BOUND_SECONDS, ENGINES, agent, answering, over_a_wire
from tests.uids import RUN_AS, uids

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("forgetful_driver")]

LEVELS: Final[dict[str, str | None]] = (
    {"strict": RUN_AS, "landlock": uids(700, 80)} if os.geteuid() == 0 else {"strict": RUN_AS}
)
CODE: Final = """
def run(input_dict, tools):
    tools["ready"]()
    try:
        data_store.set("during", 1)
    except data_store.StoreUnavailable as error:
        return [str(error), error.may_have_written]
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("level", LEVELS)
async def test_a_run_is_told_of_an_outage_and_the_next_one_works(engine: str, level: str, url: str) -> None:
    async with (
        asyncio.timeout(BOUND_SECONDS),
        over_a_wire(engine, url) as (store, wire),
        Sandbox(store, isolation=level, run_as=LEVELS[level]) as sandbox,
    ):
        scope = Scope(user="alice", agent="writer")
        result = await sandbox.run(CODE, scope=scope, tools={"ready": wire.leave})
        assert (result.outcome, result.output[1]) == ("done", False), result
        assert "Nothing was written" in result.output[0]
        lost = await sandbox.run("def run(input_dict, tools): data_store.set('k', 1)", scope=scope)
        assert lost.outcome == "store_unavailable"
        wire.come_back()
        await answering(store)
        again = await sandbox.run(CODE, scope=scope, tools={"ready": lambda: None})
        assert (again.outcome, again.output) == ("done", None)
    async with open_store(url) as whole:
        with agent(whole) as data_store:
            assert await data_store.aio.get_all() == {"during": 1}
