"""How a run ended: read from the guest's last word, which is as untrusted as every other, or from its exit status."""

from __future__ import annotations

import signal
from typing import Any, Final

from datastore import values
from datastore.entry import unpack_value
from datastore.errors import DataStoreError
from sandbox.guest.wire import ProtocolError
from sandbox.limits import RunLimits
from sandbox.result import RunResult

_ENDS: Final = {"store_unavailable": "store_unavailable", "run_limit_exceeded": "limit"}

_COUNTED: Final = 0.75
"""The kernel enforces the limit by counting ticks, which are not exactly the time that it reports afterwards."""

MOST_ERROR: Final = 8 * 1024
MOST_TRACEBACK: Final = 32 * 1024

Message = dict[str, Any]


def of_message(message: Message) -> RunResult:
    """Read the guest's last word.

    Raises:
        ProtocolError: it is neither a result nor an error.
    """
    result, raised = message.get("result"), message.get("raised")
    if isinstance(result, dict) and len(message) == 1:
        try:
            output = values.plain(unpack_value(result), "result")
            values.check_size(values.size(output), values.VALUE_BYTES, "result")
            return RunResult("done", output=output)
        except (DataStoreError, ValueError, TypeError) as error:
            raise ProtocolError("the result is no value") from error
    if not isinstance(raised, dict) or len(message) != 1:
        raise ProtocolError("the last message is neither a result nor an error")
    return _raised(raised)


def _raised(raised: Message) -> RunResult:
    error, trace, code, fields = (raised.get(name) for name in ("error", "traceback", "code", "fields"))
    if not isinstance(error, str) or not isinstance(trace, str):
        raise ProtocolError("the error is no text")
    error, trace = _clean(error, MOST_ERROR), _clean(trace, MOST_TRACEBACK)
    outcome = _ENDS.get(code, "raised") if isinstance(code, str) else "raised"
    limit = None
    if outcome == "limit":
        named = fields.get("limit") if isinstance(fields, dict) else None
        limit = _clean(named, 100) if isinstance(named, str) else "unknown"
    return RunResult(outcome, error=error, traceback=trace, limit=limit)  # type: ignore[arg-type]  # one of _ENDS


def _clean(text: str, most: int) -> str:
    """Return text that can be encoded, cut to `most` characters; an honest guest's text is shorter already."""
    return text[:most].encode("utf-8", "replace").decode()


def of_status(status: int, cpu_seconds: float, limits: RunLimits) -> RunResult:
    """Explain the exit of a guest that said nothing.

    bubblewrap reports a signal as 128 plus its number, as if the agent had ended with that status itself; so an agent
    that does is told the same, with the status.
    """
    number = -status if status < 0 else status - 128
    if number == signal.SIGSYS:
        called = "the agent made a system call of another architecture, and was ended for it"
        return RunResult("limit", limit="system_calls", error=called)
    if number != signal.SIGKILL:
        return RunResult("raised", error=f"the agent's process ended before it gave a result (status {status})")
    if cpu_seconds >= limits.cpu_seconds * _COUNTED:
        used = f"the run used {cpu_seconds:.1f} seconds of processor time, and was ended for it"
        return RunResult("limit", limit="cpu_seconds", error=used)
    killed = f"the run was killed (status {status}), as the kernel does where memory runs out"
    return RunResult("limit", limit="memory_bytes", error=killed)
