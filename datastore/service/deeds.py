"""From an operation and its outcome to what the audit log says of it; never a value, and nothing is asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from datastore import values
from datastore.chain import Deed
from datastore.entry import Entry
from datastore.errors import AccessDenied, DataStoreError, InvalidName
from datastore.grants import space_owner
from datastore.models import Scope
from datastore.operations import (
    Answer,
    Applied,
    Apply,
    Check,
    Clear,
    Copy,
    Found,
    Get,
    Incr,
    Mutation,
    Notices,
    Number,
    Operation,
    Page,
    Put,
    Scan,
    Status,
)
from datastore.service import policy

DONE: Final = "done"
_REFUSALS: Final = (AccessDenied, InvalidName)
"""What the policy raises, before anything is done."""


def most(operation: Operation, *, reads: bool) -> int:
    """Return how many rows `of` makes at most, whatever the outcome."""
    match operation:
        case Apply():
            return len(operation.mutations)
        case Copy():
            return 2
        case Get() if reads:
            return len(operation.keys)
        case Scan() if reads and operation.detail != "key":
            return operation.limit
    return 1


def of(scope: Scope, operation: Operation, outcome: Answer | BaseException, *, reads: bool) -> Iterator[Deed]:
    """Give what was done or refused: a write always, a refusal always, a read where `reads` says so."""
    if isinstance(outcome, _REFUSALS):
        yield _failed(scope, operation, outcome)
        return
    match operation:
        case Apply():
            yield from _changes(scope, operation, outcome, reads=reads)
        case Clear():
            yield _several(scope, operation, outcome)
        case Copy():
            copied = _several(scope, operation, outcome)
            yield replace(copied, operation="copy_from")
            yield replace(copied, operation="copy_to", namespace=_stored(scope, operation.target, operation.space))
        case _ if reads:
            yield from _reads(scope, operation, outcome)


def _base(scope: Scope, operation: Operation) -> Deed:
    return Deed(
        by_user=scope.user,
        by_agent=scope.agent,
        by_run=scope.run,
        owner=scope.user if operation.space is None else space_owner(operation.space),
        namespace=_stored(scope, getattr(operation, "namespace", None), operation.space),
    )


def _stored(scope: Scope, namespace: str | None, space: str | None) -> str | None:
    """Return the stored name; the name that was said where there is none, as in some refusals."""
    try:
        return None if namespace is None else policy.place(scope, namespace, space).namespace
    except DataStoreError:
        return namespace


def _key(operation: Operation) -> str | None:
    """Return the key or prefix that an operation names, if it is one."""
    match operation:
        case Apply(mutations=(only,)):
            return only.key
        case Get(keys=(key,)):
            return key
    return getattr(operation, "prefix", None) or None


def _number(operation: Operation) -> int | None:
    """Return how many keys an operation names, where it is several."""
    match operation:
        case Apply(mutations=named) | Get(keys=named) if len(named) > 1:
            return len(named)
    return None


def _failed(scope: Scope, operation: Operation, outcome: Answer | BaseException) -> Deed:
    """Return the one row for an operation that did not end well, however many keys it names."""
    said = replace(_base(scope, operation), operation=operation.op, outcome=_failure(outcome))
    return replace(said, key=_key(operation), number=_number(operation))


def _failure(outcome: Answer | BaseException) -> str:
    """Return the word for what did not end well; what is no `Exception` cut it off."""
    if isinstance(outcome, DataStoreError):
        return outcome.code
    return "internal" if isinstance(outcome, Exception) else "unknown"


def _changes(scope: Scope, operation: Apply, outcome: Answer | BaseException, *, reads: bool) -> Iterator[Deed]:
    base = _base(scope, operation)
    who = (base.by_user, base.by_agent, base.by_run)
    for index, mutation in enumerate(operation.mutations):
        if isinstance(mutation, Check) and not reads:
            continue
        where = mutation.namespace
        stored = base.namespace if where is None else _stored(scope, where, operation.space)
        size, version, told = _result(mutation, index, outcome)
        yield Deed(*who, mutation.kind, base.owner, stored, mutation.key, size, version, None, told)


def _result(mutation: Mutation, index: int, outcome: Answer | BaseException) -> tuple[int | None, str | None, str]:
    """Return size, version and outcome of one mutation."""
    if not isinstance(outcome, Applied):
        return None, None, _failure(outcome)
    found = outcome.outcomes[index]
    return (_size(mutation), found.version, DONE) if found.applied else (None, found.version, "not_applied")


def _size(mutation: Mutation) -> int | None:
    match mutation:
        case Put():
            return values.size(mutation.content())
        case Incr():
            return values.NUMBER_BYTES
    return None


def _several(scope: Scope, operation: Clear | Copy, outcome: Answer | BaseException) -> Deed:
    if not isinstance(outcome, Number):
        return _failed(scope, operation, outcome)
    said = replace(_base(scope, operation), operation=operation.op, key=_key(operation))
    return replace(said, number=outcome.number, outcome=DONE)


def _reads(scope: Scope, operation: Operation, outcome: Answer | BaseException) -> Iterator[Deed]:
    said = replace(_base(scope, operation), operation=operation.op, outcome=DONE)
    if isinstance(outcome, BaseException):
        yield _failed(scope, operation, outcome)
    elif isinstance(operation, Get) and isinstance(outcome, Found):
        yield from (_seen(said, each) for each in outcome.items)
        looked = set(operation.keys) - {each.key for each in outcome.items} - set(outcome.rest)
        yield from (replace(said, key=each, outcome="absent") for each in operation.keys if each in looked)
    elif isinstance(outcome, Page) and (entries := [each for each in outcome.items if isinstance(each, Entry)]):
        yield from (_seen(said, each) for each in entries)
    else:
        yield replace(said, key=_key(operation), number=_amount(outcome))


def _seen(said: Deed, item: Entry | Status) -> Deed:
    size = item.size_bytes if isinstance(item, Entry) else None
    return replace(said, key=item.key, version=item.version, size_bytes=size)


def _amount(answer: Answer) -> int | None:
    match answer:
        case Number():
            return answer.number
        case Page() | Notices():
            return len(answer.items)
    return None
