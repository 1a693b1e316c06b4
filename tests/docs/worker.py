"""A process that works through the queue: `python -m tests.docs.worker URL LEASE_SECONDS`.

It runs the example as it stands, but for its `work`: that says which job it has, and goes on when it gets a line, or
when its standard input has ended. It says "ready" and waits for a line before it begins, and prints what the agent
returned. An alarm ends it where a test forgets it or it hangs.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from datastore import Settings
from sandbox import connect
from tests.docs.pages import ROOT

PATTERNS = ROOT / "docs" / "examples" / "patterns"
SETTINGS = Settings(operation_timeout_seconds=60)
LIFE_SECONDS = 120


def agent(name: str, data_store: Any) -> dict[str, Any]:
    """Return the globals of an example that has been loaded with a data_store."""
    path = PATTERNS / f"{name}.py"
    names = {"__name__": "agent", "data_store": data_store}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)  # noqa: S102 - what a host does with an agent
    return names


def say(word: object) -> None:
    print(json.dumps(word), flush=True)  # noqa: T201 - how it speaks to the test


def work(job: object) -> str:
    say({"working": job})
    sys.stdin.readline()
    return f"{job} is done"


if __name__ == "__main__":
    signal.alarm(LIFE_SECONDS)
    with connect(sys.argv[1], user="alice", agent="worker", settings=SETTINGS) as data_store:
        names = agent("queue_work", data_store)
        names["work"] = work
        say("ready")
        sys.stdin.readline()
        say(names["run"]({"lease_seconds": float(sys.argv[2])}, {}))
