"""Who may touch what. Asked for every operation, before the engine is; a rule that cannot decide refuses.

An operation or a mutation of a type that is not named here is refused, also to a scope that may do everything.

An agent says `self` or `self.NAME`, and which stored namespace that is follows from the scope alone, as do its rights,
which are on stored names. A name that begins with `@` is made by the host and refused from agents. A grant that has
ended gives nothing, by the time that the store's clock tells.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Never

from datastore import grants, names
from datastore.document import Place
from datastore.errors import AccessDenied, InvalidName, NotSupported
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
_VERBS: Final[dict[Access, str]] = {"read": "reading", "write": "writing"}


def require(scope: Scope, operation: Operation, now: datetime) -> None:
    """Refuse an operation that the scope's grants do not cover at this time.

    Raises:
        AccessDenied: names the namespace, the access that is missing, and what is granted; or the operation is of a
            type that no rule is about.
        InvalidName: a namespace is not one that an agent may name.
    """
    if isinstance(operation, (Namespaces, GetUsage)):
        return _require_any(scope, operation, now)  # Their answers hold only what may be read.
    for namespace, access in _needs(operation):
        there = place(scope, namespace, operation.space)
        if not scope.operator and namespace.startswith(names.LOCKS):
            _require_lock(scope, operation, namespace, now)
        elif not _allowed(scope, there, access, now):
            raise _refused(scope, operation.space, namespace, access, now)
    return None


def _require_any(scope: Scope, operation: Namespaces | GetUsage, now: datetime) -> None:
    """Let whoever has any right in a space ask what it may read there."""
    asked = owner(scope, operation.space)
    known = scope.operator or any(each.owner == asked and not each.grant.ended(now) for each in scope.rights)
    if operation.space is not None and not known:
        raise _refusal(scope, f"space {operation.space!r}", now, space=operation.space)


def _require_lock(scope: Scope, operation: Operation, namespace: str, now: datetime) -> None:
    """Let whoever may write a namespace use its locks, in the ways that lock() does."""
    if not _locks(operation, namespace):
        raise InvalidName(f"{namespace!r} holds locks, which only lock() uses. Write another name.")
    of = namespace.removeprefix(names.LOCKS)
    if not _allowed(scope, place(scope, of, operation.space), "write", now):
        raise _refused(scope, operation.space, of, "write", now)


def _locks(operation: Operation, namespace: str) -> bool:
    """Say whether an operation does to locks what lock() does: nothing else may be kept there, or make tokens fall."""
    match operation:
        case Get():
            return operation.detail == "key"
        case Watch():
            return operation.exact
        case Apply():
            return all(_locks_by(each) for each in operation.mutations if _named(operation, each) == namespace)
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
        case Check():
            return mutation.key.startswith(names.LEASE)
        case _:
            raise _unknown(mutation)


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
            return  # `_require_any` decides about these.
        case _:
            raise _unknown(operation)


def _unknown(asked: Never) -> AccessDenied:
    """Return the refusal of what no rule is about; the type checker finds that it never happens."""
    return AccessDenied(
        f"the access policy has no rule for {type(asked).__name__}, so nothing was read or written. "
        "Use one of the documented operations."
    )


def home(scope: Scope, operation: Apply, mutation: Mutation) -> Place:
    """Return where a mutation changes something."""
    return place(scope, _named(operation, mutation), operation.space)


def _named(operation: Apply, mutation: Mutation) -> str:
    return operation.namespace if mutation.namespace is None else mutation.namespace


def _mutation_needs(operation: Apply, mutation: Mutation) -> Iterator[tuple[str, Access]]:
    namespace = _named(operation, mutation)
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
        case Incr() | Check():
            return True
        case _:
            raise _unknown(mutation)


def _allowed(scope: Scope, there: Place, access: Access, now: datetime) -> bool:
    return scope.operator or any(
        right.covers(there.owner, there.namespace) and right.grant.allows(access, now) for right in scope.rights
    )


def _refused(scope: Scope, space: str | None, namespace: str, access: Access, now: datetime) -> AccessDenied:
    there = f"namespace {namespace!r}{_of(space)}"
    return _refusal(scope, f"{_VERBS[access]} {there}", now, namespace=namespace, access=access)


def _refusal(scope: Scope, what: str, now: datetime, **fields: str) -> AccessDenied:
    granted = [each.said(now) for each in scope.grants[:_SHOWN_GRANTS]]
    return AccessDenied(
        f"{what} is not granted to this agent. "
        f"Granted: {', '.join(granted) or 'nothing'}. Use one of those, or ask the host for a grant.",
        **fields,
    )


def _of(space: str | None) -> str:
    return "" if space is None else f" of space {space!r}"


def owner(scope: Scope, space: str | None) -> str:
    """Return whose data an operation is about: the user's, or the space's.

    Raises:
        NotSupported: an operator, whose scope is on one owner's data, names a space.
    """
    if space is None:
        return scope.user
    if scope.operator:
        raise NotSupported("an operator's scope is on one owner's data. Make one for the space: '@' and its name.")
    return grants.space_owner(space)


def place(scope: Scope, namespace: str, space: str | None = None) -> Place:
    """Return where a namespace, named as the agent names it, is stored.

    Raises:
        InvalidName: the name is empty or is the host's own.
        NotSupported: it is a private namespace, in a space.
    """
    whose = owner(scope, space)
    return Place(whose, _stored(namespace, None if scope.operator else scope.agent, in_space=space is not None))


@functools.lru_cache(maxsize=4096)
def _stored(namespace: str, agent: str | None, *, in_space: bool) -> str:
    """Return the stored name of what an agent, or an operator where that is None, calls a namespace."""
    if agent is None and names.is_reserved(namespace):
        return namespace
    locks = names.LOCKS if namespace.startswith(names.LOCKS) else ""
    named = names.name("namespace", namespace.removeprefix(locks))
    if not grants.is_private(named):
        return locks + named
    if in_space:
        raise NotSupported(f"a space has no private namespaces, so {named!r} is none. Use the user's own data_store.")
    if agent is None:
        raise InvalidName("an operator has no private namespace. Name it in full: '@agent/NAME'.")
    return locks + grants.private(agent, named)


def readable(scope: Scope, stored: Place, now: datetime) -> bool:
    """Say whether the scope may read a stored namespace; of what the host makes, its private ones alone."""
    return _allowed(scope, stored, "read", now)


def listed(scope: Scope, stored: Place, now: datetime) -> bool:
    """Say whether `list_namespaces` shows a stored namespace: never one that the host makes, save to an operator."""
    return scope.operator or (not names.is_reserved(stored.namespace) and readable(scope, stored, now))
