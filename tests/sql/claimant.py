"""A process that claims keys: `python -m tests.sql.claimant URL NAME`.

It says "ready", waits for a line, and prints what it won.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.sql.words import Clock, apply, opened, put

KEYS = 100


async def claim(url: str, name: str) -> list[str]:
    store = await opened(url, Clock())
    print("ready", flush=True)  # noqa: T201 - how it speaks to the test
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    wins = []
    for number in range(KEYS):
        key = f"claim:{number}"
        if (await apply(store, put(key, name, if_absent=True))).changed:
            wins.append(key)
    await store.aclose()
    return wins


if __name__ == "__main__":
    print(json.dumps(asyncio.run(claim(*sys.argv[1:]))))  # noqa: T201 - as above
