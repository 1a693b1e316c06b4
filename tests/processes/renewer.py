"""A host that renews entries about the time when they expire: `python -m tests.processes.renewer URL`.

It is told each race as a line of JSON: the namespace, how many keys it has, and the time at which they expire, in
seconds since 1970. It prints "ready" at first, and after each race the keys that it renewed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any, Final

from datastore import Scope, Store, open_store
from datastore.operations import Applied, Apply, Touch
from tests.processes.racing import LIMITS, key

TOGETHER: Final = 10
"""How many keys one operation renews: an engine may renew them one after another."""
EARLY_SECONDS: Final = 0.5
LATE_SECONDS: Final = 0.05


async def renew(store: Store, namespace: str, keys: list[str], at: float) -> list[str]:
    """Renew keys in one operation that begins at a time; return those that were renewed."""
    await asyncio.sleep(max(0.0, at - time.time()))
    touches = tuple(Touch(key=each, ttl_seconds=60) for each in keys)
    scope = Scope(user="alice", agent="renewer", limits=LIMITS)
    answer = await store.execute(scope, Apply(namespace=namespace, mutations=touches))
    assert isinstance(answer, Applied)
    return [each for each, outcome in zip(keys, answer.outcomes, strict=True) if outcome.applied]


async def race(store: Store, namespace: str, number: int, ends: float) -> list[str]:
    """Renew every key, at moments around the time when they expire."""
    keys = [key(each) for each in range(number)]
    groups = [keys[start : start + TOGETHER] for start in range(0, number, TOGETHER)]
    moments = [random.uniform(ends - EARLY_SECONDS, ends + LATE_SECONDS) for _ in groups]  # noqa: S311 - no secret
    renewed = await asyncio.gather(*(renew(store, namespace, *each) for each in zip(groups, moments, strict=True)))
    return [each for group in renewed for each in group]


def tell(told: Any) -> None:
    print(json.dumps(told), flush=True)  # noqa: T201 - how it speaks to the test


async def work(url: str) -> None:
    async with open_store(url) as store:
        tell("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            tell(await race(store, *json.loads(line)))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
