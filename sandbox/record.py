"""What a run has done and used so far: its calls, its log, its budgets. Bounded, whatever the guest does."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final

from datastore.errors import RunLimitExceeded
from sandbox.limits import PREVIEW, RunLimits
from sandbox.result import Event, Operation

_log = logging.getLogger("datastore.run")

_MOST_RECORDED: Final = 10_000
_MOST_SHOWN: Final = PREVIEW // 3 + 1
"""Of the keys of one call: more do not fit, since each takes a character at least, and what is between them two."""
_GRACE_CALLS: Final = 1_000
_GRACE_BYTES: Final = 16 * 1024 * 1024
_PREVIEW_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Record:
    """The account of one run.

    Args:
        limits: its budgets.
        keep: whether ended calls are noted; else they are only counted.
        on_event: told of every piece of log and every ended call; what it raises is logged and goes no further.
    """

    def __init__(
        self, limits: RunLimits, on_event: Callable[[Event], None] | None = None, *, keep: bool = True
    ) -> None:
        self._limits = limits
        self._on_event = on_event
        self._keep = keep
        self.calls = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.operations: list[Operation] = []
        self.operations_dropped = 0
        self._log: list[str] = []
        self._log_left = limits.log_bytes
        self.log_dropped = False
        self._notes = 0

    def begin(self, size: int) -> None:
        """Count a call of `size` bytes.

        Raises:
            RunLimitExceeded: a budget is used up.
        """
        self.calls += 1
        self.spend(size, 0)
        for name, used, limit in (
            ("calls", self.calls, self._limits.calls),
            ("bytes", self.bytes_in + self.bytes_out, self._limits.bytes),
        ):
            if used > limit:
                raise RunLimitExceeded(
                    f"this run has used up its {limit:,} {name}. Use batches (get_many, set_many), fetch less, "
                    f"or ask the host for a run with more {name}.",
                    limit=name,
                    value=limit,
                )

    def spend(self, bytes_in: int, bytes_out: int) -> None:
        """Count bytes of the connection."""
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out

    def flooded(self, size: int) -> bool:
        """Say whether a frame of `size` bytes comes from a peer that goes on long after it was told to stop.

        What is refused costs the host too, so it is only answered for a while. An honest guest never comes here: it
        hears of its budget with every further call, and keeps to the log's own bound.
        """
        limits = self._limits
        return (
            self.calls > limits.calls + _GRACE_CALLS
            or self.bytes_in + size > limits.bytes + _GRACE_BYTES
            or self._notes > limits.log_bytes + _GRACE_CALLS
        )

    def log(self, text: str, size: int) -> None:
        """Keep a piece of the log, which came in `size` bytes, while there is room; note that more came."""
        self._notes += 1
        self.spend(size, 0)
        if self.log_dropped:
            return
        kept = text.encode("utf-8", "replace")[: max(self._log_left, 0)].decode("utf-8", "ignore")
        self._log_left -= len(text.encode("utf-8", "replace"))
        self.log_dropped = self.log_dropped or self._log_left < 0
        if kept:
            self._log.append(kept)
            self._tell(Event(log=kept))

    def text(self) -> str:
        """Return the log, ending with a note where some was dropped."""
        note = f"\n[log cut at {self._limits.log_bytes:,} bytes]\n" if self.log_dropped else ""
        return "".join(self._log) + note

    def called(self, message: dict[str, Any], answer: dict[str, Any], seconds: float) -> None:
        """Note a call that ended."""
        if not self._keep:
            return
        name = message.get("op") or f"tool {str(message.get('tool')).partition(':')[2]}"
        namespace, space = message.get("namespace"), message.get("space")
        operation = Operation(
            name=_cut(name),
            namespace=None if namespace is None else _cut(namespace),
            keys=_cut(", ".join(map(_cut, _named(message)))),
            value=_value(message),
            outcome="ok" if "ok" in answer else answer["error"]["code"],
            seconds=seconds,
            space=None if space is None else _cut(space),
        )
        if len(self.operations) < _MOST_RECORDED:
            self.operations.append(operation)
        else:
            self.operations_dropped += 1
        self._tell(Event(operation=operation))

    def _tell(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - a broken observer must not break the run it watches
            _log.exception("on_event raised")


def _cut(text: object) -> str:
    return text[:PREVIEW] if isinstance(text, str) else type(text).__name__


def _named(message: dict[str, Any]) -> list[object]:
    """Return the first of what a message names, of any shape: keys, the mutations' keys, or a prefix."""
    if isinstance(keys := message.get("keys"), list):
        return keys[:_MOST_SHOWN]
    if isinstance(mutations := message.get("mutations"), list):
        return [each.get("key") for each in mutations[:_MOST_SHOWN] if isinstance(each, dict)]
    prefix = message.get("prefix")
    return [_cut(prefix) + "*"] if isinstance(prefix, str) and prefix else []


def _value(message: dict[str, Any]) -> str | None:
    if "tool" in message:
        return _preview(message.get("args"))
    mutations = message.get("mutations")
    if not isinstance(mutations, list) or len(mutations) != 1 or not isinstance(mutations[0], dict):
        return None
    return _preview(mutations[0]["value"]) if "value" in mutations[0] else None


def _preview(value: object) -> str:
    """Return the beginning of a value as JSON, without encoding the rest."""
    shown = ""
    try:
        for piece in _PREVIEW_ENCODER.iterencode(value):
            shown += piece[:PREVIEW]
            if len(shown) >= PREVIEW:
                break
    except RecursionError:
        shown += "..."
    return shown[:PREVIEW]
