"""A host that notes writes: `python scribe.py URL NAME HEADS`.

Once it is open it says "ready", and then the number of each write that was acknowledged, and when; its stdin's end
ends it.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

from datastore import Scope, Settings, open_store
from datastore.operations import Apply, Put


async def main(url: str, name: str, heads: str) -> None:
    """Write until nobody wants more."""
    settings = Settings(url=url, audit="writes", audit_heads=heads, operation_timeout_seconds=60)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stopped.set)
    async with open_store(settings=settings) as store:
        print("ready", flush=True)  # noqa: T201 - how it speaks to the test
        for number in itertools.count(1):
            if stopped.is_set():
                return
            put = Put(key=f"k{number}", value=number)
            await store.execute(Scope(user="alice", agent=name), Apply(namespace="notes", mutations=(put,)))
            print(number, time.time(), flush=True)  # noqa: T201 - as above


asyncio.run(main(*sys.argv[1:]))
