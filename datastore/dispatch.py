"""A message and a scope -> a message: where the socket and every later door meet the store.

The scope comes from the host's own object. What is unexpected leaves as `internal` with an id that the host's log
explains; no driver's text crosses.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from datastore.entry import Entry, pack_value
from datastore.errors import MAYBE_WRITTEN, NOTHING_WRITTEN, DataStoreError, InvalidArgument
from datastore.models import Scope, Usage
from datastore.operations import (
    OPERATION,
    Answer,
    Applied,
    Found,
    Names,
    Notices,
    Number,
    Operation,
    Outcome,
    Page,
    Status,
)
from datastore.service.store import Store

_log = logging.getLogger("datastore.dispatch")

Message = dict[str, Any]

_WRITING: Final = frozenset({"apply", "clear", "copy"})
_MOST_FIELDS: Final = 10
"""More than any operation or mutation has: a peer could otherwise make the host explain each of its mistakes."""
_MOST_ECHOED: Final = 100


async def dispatch(store: Store, scope: Scope, message: Mapping[str, Any]) -> Message:
    """Execute one message for a scope; the answer is `{"ok": ...}` or `{"error": {code, message, fields}}`."""
    try:
        operation = parse(message)
        return {"ok": wire(operation, await store.execute(scope, operation))}
    except Exception as error:  # noqa: BLE001 - the boundary: nothing but a described error may leave
        return {"error": describe(error, message)}


def describe(error: Exception, message: Mapping[str, Any]) -> Message:
    """Return an error as it may cross a boundary; an unexpected one becomes `internal` with an id for the log.

    Args:
        error: what was raised.
        message: what was asked for.
    """
    if isinstance(error, DataStoreError):
        return error.as_dict()
    number = secrets.token_hex(4)
    _log.error("internal error %s", number, exc_info=error)
    writes = "tool" in message or str(message.get("op")) in _WRITING
    return DataStoreError(
        f"internal error {number}: the store failed unexpectedly. {MAYBE_WRITTEN if writes else NOTHING_WRITTEN} "
        "If it stays, give the host this number.",
        id=number,
        may_have_written=writes,
    ).as_dict()


def parse(message: Mapping[str, Any]) -> Operation:
    """Return the operation that a message asks for.

    Raises:
        DataStoreError: it is none; names the field.
    """
    if len(message) > _MOST_FIELDS or any(len(each) > _MOST_FIELDS for each in _objects(message)):
        raise InvalidArgument("not an operation: it has more fields than any operation has.")
    try:
        return OPERATION.validate_python(message)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> DataStoreError:
    first = error.errors(include_url=False)[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, DataStoreError):
        return own
    where = ".".join(str(part)[:_MOST_ECHOED] for part in first["loc"])
    return InvalidArgument(f"not an operation: {where or 'the message'}: {first['msg'][:_MOST_ECHOED]}.")


def _objects(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    mutations = message.get("mutations")
    return [each for each in mutations if isinstance(each, dict)] if isinstance(mutations, list) else []


def wire(operation: Operation, answer: Answer) -> Any:
    """Return an answer as JSON, in the detail that the operation asked for."""
    detail = getattr(operation, "detail", "value")
    match answer:
        case Found():
            return {"items": [_item(each, detail) for each in answer.items], "rest": answer.rest}
        case Page():
            return {"items": [_item(each, detail) for each in answer.items], "next": answer.next}
        case Names():
            return {"names": answer.names, "next": answer.next}
        case Number():
            return {"number": answer.number}
        case Applied():
            return {"changed": answer.changed, "outcomes": [_outcome(each) for each in answer.outcomes]}
        case Notices():
            items = [{"key": each.key, "version": each.version, "cursor": each.cursor} for each in answer.items]
            return {"items": items, "cursor": answer.cursor}
        case Usage():
            return answer.model_dump(exclude_none=True)


def _outcome(outcome: Outcome) -> Message:
    told: Message = {"applied": outcome.applied, "version": outcome.version}
    return told if outcome.number is None else {**told, "number": outcome.number}


def _item(item: Entry | Status | str, detail: str) -> Any:
    match item:
        case str():
            return item
        case Status():
            return {"key": item.key, "version": item.version, "expires_in_seconds": item.expires_in_seconds}
        case Entry():
            return item.as_dict() if detail == "entry" else pack_value({"key": item.key, "value": item.value})
