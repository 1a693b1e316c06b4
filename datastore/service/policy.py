"""Who may touch what. Asked for every operation, before the engine is; a rule that cannot decide refuses.

Grants speak of namespaces as the agent names them. A name that begins with `@` is made by the host and refused from
agents, so no pattern can reach another agent's private namespace: an agent says `self` or `self.NAME`, and which
namespace that is follows from the scope alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from datastore import names
from datastore.document import Place
from datastore.errors import AccessDenied, InvalidName
from datastore.models import Access, Scope
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

SELF = "self"
_SHOWN_GRANTS = 10


def require(scope: Scope, operation: Operation) -> None:
    """Refuse an operation that the scope's grants do not cover.

    Raises:
        AccessDenied: names the namespace, the access that is missing, and what is granted.
        InvalidName: a namespace is not one that an agent may name.
    """
    for namespace, access in _needs(operation):
        place(scope, namespace)
        if not scope.operator and namespace.startswith(names.LOCKS):
            _require_lock(scope, operation, namespace)
        elif not _allowed(scope, namespace, access):
            raise AccessDenied(_refusal(scope, namespace, access), namespace=namespace, access=access)


def _require_lock(scope: Scope, operation: Operation, namespace: str) -> None:
    """Let whoever may write a namespace use its locks, in the ways that lock() does."""
    if not _locks(operation, namespace):
        raise InvalidName(f"{namespace!r} holds locks, which only lock() uses. Write another name.")
    locked = namespace.removeprefix(names.LOCKS)
    if not _allowed(scope, locked, "write"):
        raise AccessDenied(_refusal(scope, locked, "write"), namespace=locked, access="write")


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


def _allowed(scope: Scope, namespace: str, access: Access) -> bool:
    return scope.operator or any(grant.covers(namespace, access) for grant in scope.grants)


def _refusal(scope: Scope, namespace: str, access: Access) -> str:
    granted = [f"{each.namespace!r} ({each.access})" for each in scope.grants[:_SHOWN_GRANTS]]
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
    if named == SELF or named.startswith(SELF + "."):
        return _private(scope.agent, named)
    return named


def _private(agent: str, named: str) -> str:
    """Return `@agent/NAME`, or `@agent/NAME/X` for `self.X`; the agent's own slashes are escaped so that none meet."""
    if agent.startswith(names.RESERVED):
        raise InvalidName("an operator has no private namespace. Name it in full: '@agent/NAME'.")
    own = "@agent/" + agent.replace("%", "%25").replace("/", "%2F")
    return own + named.removeprefix(SELF).replace(".", "/", 1)


def shown(scope: Scope, stored: str) -> str | None:
    """Return a stored namespace as the scope names it if it may read it, else None."""
    if scope.operator:
        return stored
    if not stored.startswith(names.RESERVED):
        return stored if _allowed(scope, stored, "read") else None
    own = _private(scope.agent, SELF)
    if stored != own and not stored.startswith(own + "/"):
        return None
    named = SELF + stored.removeprefix(own).replace("/", ".", 1)
    return named if _allowed(scope, named, "read") else None


def listed(scope: Scope, stored: str) -> bool:
    """Say whether `list_namespaces` shows a stored namespace: never one that the host makes, save to an operator."""
    return scope.operator or (not stored.startswith(names.RESERVED) and _allowed(scope, stored, "read"))
