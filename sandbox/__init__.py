"""The agents' door: what runs untrusted code, and what such code sees of the store."""

from sandbox.inject import ConnectedDataStore, connect, inject, serve
from sandbox.isolation import External
from sandbox.limits import RunLimits
from sandbox.result import Event, Operation, RunResult, Stats
from sandbox.runner import Sandbox
from sandbox.tools import ToolContext

__all__ = [
    "ConnectedDataStore",
    "Event",
    "External",
    "Operation",
    "RunLimits",
    "RunResult",
    "Sandbox",
    "Stats",
    "ToolContext",
    "connect",
    "inject",
    "serve",
]
