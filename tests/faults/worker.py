"""A host under faults: `python -m tests.faults.worker URL FOLDER NAME SECONDS DEADLINE SKEW DRIVER`.

It opens a store of its own, does every role at once for so many seconds, and writes its history to FOLDER/NAME.jsonl.
Roles never stop for an error of the store. The clock of its store is SKEW seconds ahead.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, cast

from datastore import Settings, open_store
from tests.faults.histories import Recorder
from tests.faults.roles import ROLES, Host

_OPENING_SECONDS: Final = 60.0


class SkewedClock:
    """The machine's time, and some seconds more."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


async def work(url: str, folder: Path, name: str, seconds: float, settings: Settings, skew: float) -> None:
    with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
        async with open_store(url, settings=settings, clock=SkewedClock(skew)) as store:
            print("ready", flush=True)  # noqa: T201 - how it speaks to the test
            await asyncio.to_thread(sys.stdin.readline)  # Until all hosts are ready.
            host = Host(store, name, Recorder(file), seconds)
            async with asyncio.TaskGroup() as group:
                for role in ROLES:
                    group.create_task(role(host))
        host.recorder.note("closed")


def main(url: str, folder: str, name: str, seconds: str, deadline: str, skew: str, driver: str) -> None:
    settings = Settings(
        mongo_driver=cast('Literal["motor", "pymongo"]', driver),
        operation_timeout_seconds=float(deadline),
        connect_timeout_seconds=_OPENING_SECONDS,
        audit="writes",
    )
    asyncio.run(work(url, Path(folder), name, float(seconds), settings, float(skew)))


if __name__ == "__main__":
    main(*sys.argv[1:])
