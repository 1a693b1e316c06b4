"""A process that opens a store: `python -m tests.sql.starter URL`. It says "ready", waits for a line, opens, writes."""

from __future__ import annotations

import asyncio
import os
import sys

from tests.sql.words import Clock, apply, opened, put


async def start(url: str) -> None:
    print("ready", flush=True)  # noqa: T201 - how it speaks to the test
    sys.stdin.readline()
    store = await opened(url, Clock())
    await apply(store, put(f"by {os.getpid()}"))
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(start(sys.argv[1]))
