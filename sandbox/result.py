"""What the platform gets back from a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["done", "raised", "limit", "store_unavailable", "no_slot"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that the run made, of the store or of a tool, in the order of their answers.

    `keys` and `value` are cut at 200 characters; `outcome` is `ok` or the error's code; `space` is None for the user's
    own data.
    """

    name: str
    namespace: str | None
    keys: str
    value: str | None
    outcome: str
    seconds: float
    space: str | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """What the run used.

    `queue_seconds` is how long it waited for its turn, `start_seconds` how long for its guest's start (nothing, with a
    warm one), `run_seconds` how long it ran. `peak_memory_bytes` is the most that its guest held in memory, by the
    kernel's account; None where that is not known: the guest ended before it could be read.
    """

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    queue_seconds: float = 0.0
    start_seconds: float = 0.0
    run_seconds: float = 0.0
    peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    `outcome` is done (with `output`), raised (with `error` and `traceback`), limit (`limit` names it),
    store_unavailable, or no_slot (nothing was run; `error` says why). `log` is what the agent printed; `log_dropped`
    says that more was. `operations` are the first 10,000 calls, and `operations_dropped` counts those beyond.
    """

    outcome: Outcome
    output: Any = None
    error: str | None = None
    traceback: str | None = None
    limit: str | None = None
    log: str = ""
    log_dropped: bool = False
    operations: tuple[Operation, ...] = ()
    operations_dropped: int = 0
    stats: Stats = field(default_factory=Stats)


@dataclass(frozen=True, slots=True)
class Event:
    """What `on_event` is told while a run goes on: a piece of the log, or an operation that ended."""

    log: str | None = None
    operation: Operation | None = None
