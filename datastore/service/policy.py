"""Who may touch what. Asked for every operation, before the engine is; a rule that cannot decide refuses.

An agent says `self` or `self.NAME`, and which stored namespace that is follows from the scope alone, as do its rights,
which are on stored names. A name that begins with `@` is made by the host and refused from agents. A grant that has
ended gives nothing, by the time that the store's clock tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from datastore import grants, names
from datastore.document import Place
from datastore.errors import AccessDenied, InvalidName
from datastore.grants import Access
from datastore.models import Scope
from datastore.operations import (
    Apply,
    Check,
    Clear,
    Copy,
    Count,
    Delete,
    Get,
    GetUsage,
    Incr,
    Mutation,
    Namespaces,
    Operation,
    Put,
    Scan,
    Touch,
    Watch,
)

_SHOWN_GRANTS = 10


def require(scope: Scope, operation: Operation, now: datetime) -> None:
    """Refuse an operation that the scope's grants do not cover at this time.

    Raises:
        AccessDenied: names the namespace, the access that is missing, and what is granted.
        InvalidName: a namespace is not one that an agent may name.
    """
    for namespace, access in _needs(operation):
        place(scope, namespace)
        if not scope.operator and namespace.startswith(names.LOCKS):
            _require_lock(scope, operation, namespace, now)
        else:
            _require(scope, namespace, access, now)


def _require(scope: Scope, namespace: str, access: Access, now: datetime) -> None:
    if not _allowed(scope, place(scope, namespace), access, now):
        raise AccessDenied(_refusal(scope, namespace, access, now), namespace=namespace, access=access)


def _require_lock(scope: Scope, operation: Operation, namespace: str, now: datetime) -> None:
    """Let whoever may write a namespace use its locks, in the ways that lock() does."""
    if not _locks(operation, namespace):
        raise InvalidName(f"{namespace!r} holds locks, which only lock() uses. Write another name.")
    _require(scope, namespace.removeprefix(names.LOCKS), "write", now)


def _locks(operation: Operation, namespace: str) -> bool:
    """Say whether an operation does to locks what lock() does: nothing else may be kept there, or make tokens fall."""
    match operation:
        case Get():
            return operation.detail == "key"
        case Watch():
            return operation.exact
        case Apply():
            return all(_locks_by(each) for each in operation.mutations if home(operation, each) == namespace)
    return False


def _locks_by(mutation: Mutation) -> bool:
    match mutation:
        case Incr():
            return mutation.key.startswith(names.TOKEN) and (mutation.by, mutation.initial, mutation.ttl_seconds) == (
                1,
                0,
                None,
            )
        case Put():
            claims = mutation.if_absent and mutation.value is None
            confirms = mutation.if_version is not None and _is_token(mutation.value)
            plain = mutation.metadata is None and mutation.value_base64 is None and mutation.ttl_seconds is not None
            return mutation.key.startswith(names.LEASE) and plain and (claims or confirms)
        case Touch():
            kept = mutation.if_version is not None and mutation.ttl_seconds is not None
            return mutation.key.startswith(names.LEASE) and kept
        case Delete():
            return mutation.key.startswith(names.LEASE) and mutation.if_version is not None
    return mutation.key.startswith(names.LEASE)  # A check.


def _is_token(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"token"} and isinstance(value["token"], int)


def _needs(operation: Operation) -> Iterator[tuple[str, Access]]:
    match operation:
        case Get() | Scan() | Count() | Watch():
            yield operation.namespace, "read"
        case Apply():
            yield from dict.fromkeys(need for each in operation.mutations for need in _mutation_needs(operation, each))
        case Clear():
            yield operation.namespace, "write"
        case Copy():
            yield operation.namespace, "read"
            yield operation.target, "write"
        case Namespaces() | GetUsage():
            return  # Their answers hold only what may be read.


def home(operation: Apply, mutation: Mutation) -> str:
    """Return the namespace of a mutation, as the agent names it."""
    return operation.namespace if mutation.namespace is None else mutation.namespace


def _mutation_needs(operation: Apply, mutation: Mutation) -> Iterator[tuple[str, Access]]:
    namespace = home(operation, mutation)
    if not isinstance(mutation, Check):
        yield namespace, "write"
    if _asks(mutation):
        yield namespace, "read"


def _asks(mutation: Mutation) -> bool:
    """Say whether a mutation's outcome tells what stands there."""
    match mutation:
        case Put():
            return mutation.if_version is not None or mutation.if_absent
        case Delete() | Touch():
            return mutation.if_version is not None
    return isinstance(mutation, (Incr, Check))


def _allowed(scope: Scope, there: Place, access: Access, now: datetime) -> bool:
    return scope.operator or any(
        right.covers(there.owner, there.namespace) and right.grant.allows(access, now) for right in scope.rights
    )


def _refusal(scope: Scope, namespace: str, access: Access, now: datetime) -> str:
    granted = [each.said(now) for each in scope.grants[:_SHOWN_GRANTS]]
    verb = "reading" if access == "read" else "writing"
    return (
        f"{verb} namespace {namespace!r} is not granted to this agent. "
        f"Granted: {', '.join(granted) or 'nothing'}. Use one of those, or ask the host for a grant."
    )


def place(scope: Scope, namespace: str) -> Place:
    """Return where a namespace, named as the agent names it, is stored.

    Raises:
        InvalidName: the name is empty or is the host's own.
    """
    if scope.operator and namespace.startswith(names.RESERVED):
        return Place(scope.user, namespace)
    if namespace.startswith(names.LOCKS):
        return Place(scope.user, names.LOCKS + _stored(scope, namespace.removeprefix(names.LOCKS)))
    return Place(scope.user, _stored(scope, namespace))


def _stored(scope: Scope, namespace: str) -> str:
    named = names.name("namespace", namespace)
    if not grants.is_private(named):
        return named
    if scope.operator:
        raise InvalidName("an operator has no private namespace. Name it in full: '@agent/NAME'.")
    return grants.private(scope.agent, named)


def readable(scope: Scope, stored: Place, now: datetime) -> bool:
    """Say whether the scope may read a stored namespace; of what the host makes, its private ones alone."""
    return _allowed(scope, stored, "read", now)


def listed(scope: Scope, stored: Place, now: datetime) -> bool:
    """Say whether `list_namespaces` shows a stored namespace: never one that the host makes, save to an operator."""
    return scope.operator or (not names.is_reserved(stored.namespace) and readable(scope, stored, now))
