"""A process that writes: `python -m tests.contract.writer URL NAME COUNT MARK`.

It makes COUNT changes of ten keys of its own, and prints their keys and versions at the end. Before every MARK of them
it says "mark", and waits for a line.
"""

from __future__ import annotations

import json
import sys

from datastore import Settings
from sandbox import connect
from tests.contract.watcher import Seen


def write(url: str, name: str, count: int, mark: int) -> list[Seen]:
    made: list[Seen] = []
    with connect(url, user="alice", agent=name, settings=Settings(operation_timeout_seconds=60)) as data_store:
        for number in range(count):
            if number % mark == 0:
                print("mark", flush=True)  # noqa: T201 - how it speaks to the test
                sys.stdin.readline()
            key = f"{name}:{number % 10}"
            removed = number % 7 == 0 and data_store.delete(key)
            made.append((key, None if removed else data_store.set(key, number)))
    return made


if __name__ == "__main__":
    print(json.dumps(write(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))  # noqa: T201 - as above
