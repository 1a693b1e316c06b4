"""Grants and names, decided without an engine: who may name what, and where it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import pytest
from pydantic import ValidationError

from datastore import Grant, Limits, Scope
from datastore.document import Place
from datastore.errors import AccessDenied, InvalidName
from datastore.models import operator_scope
from datastore.operations import (
    Apply,
    Clear,
    Copy,
    Count,
    Delete,
    Get,
    GetUsage,
    Mutation,
    Named,
    Namespaces,
    Operation,
    Put,
    Scan,
    Touch,
)
from datastore.service import policy

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def scope(*grants: Grant, agent: str = "x") -> Scope:
    return Scope(user="alice", agent=agent, grants=grants)


def change(mutation: Put | Delete | Touch) -> Apply:
    return Apply(namespace="n", mutations=(mutation,))


READS: list[Operation] = [Get(namespace="n", keys=("k",)), Scan(namespace="n"), Count(namespace="n")]
WRITES: list[Operation] = [
    change(Put(key="k")),
    change(Delete(key="k")),
    change(Touch(key="k")),
    Clear(namespace="n"),
]
BOTH: list[Operation] = [
    change(Put(key="k", if_absent=True)),
    change(Put(key="k", if_version="v")),
    change(Delete(key="k", if_version="v")),
    Copy(namespace="n", target="n2"),
]
FREE: list[Operation] = [Namespaces(), GetUsage()]


@pytest.mark.parametrize(
    ("access", "allowed", "refused"),
    [
        ("read", READS + FREE, WRITES + BOTH),
        ("write", WRITES + FREE, READS + BOTH),
        ("both", READS + WRITES + BOTH, []),
    ],
)
def test_each_operation_needs_the_access_that_it_uses(
    access: Any, allowed: list[Operation], refused: list[Operation]
) -> None:
    acting = scope(Grant(namespace="n*", access=access))
    for operation in allowed:
        policy.require(acting, operation, NOW)
    for operation in refused:
        with pytest.raises(AccessDenied):
            policy.require(acting, operation, NOW)


@pytest.mark.parametrize("operation", READS + WRITES + BOTH, ids=lambda each: each.op)
def test_without_a_grant_nothing_is_allowed(operation: Operation) -> None:
    for grants in ((), (Grant(namespace="other"),), (Grant(namespace="nn*"),), (Grant(namespace="self.*"),)):
        with pytest.raises(AccessDenied):
            policy.require(scope(*grants), operation, NOW)


class Peek(Named):
    """An operation that no rule of the policy is about."""

    op: Literal["peek"] = "peek"
    namespace: str = "n"


class Swap(Named):
    """A mutation that no rule of the policy is about."""

    kind: Literal["swap"] = "swap"
    namespace: str | None = None
    key: str = "k"


def holding(mutation: object, namespace: str = "n") -> Apply:
    """Return an `Apply` as no parser makes it."""
    return Apply.model_construct(namespace=namespace, mutations=(cast("Mutation", mutation),))


UNKNOWN = [
    pytest.param(cast("Operation", Peek()), "Peek", id="operation"),
    pytest.param(holding(Swap()), "Swap", id="mutation"),
    pytest.param(holding(Swap(), "@locks/n"), "Swap", id="mutation of a lock"),
]
SCOPES = [
    pytest.param(scope(Grant(namespace="*")), id="everything granted"),
    pytest.param(scope(), id="nothing granted"),
    pytest.param(operator_scope("alice", "operator"), id="operator"),
]


@pytest.mark.parametrize(("operation", "name"), UNKNOWN)
@pytest.mark.parametrize("acting", SCOPES)
def test_what_the_policy_does_not_know_is_refused(operation: Operation, name: str, acting: Scope) -> None:
    with pytest.raises(AccessDenied, match=rf"no rule for {name}, so nothing was read or written"):
        policy.require(acting, operation, NOW)


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("*", ["a", "files:x", "self", "self.notes", "*"], []),
        ("files:*", ["files:", "files:a/b"], ["files", "file", "Files:a", "self"]),
        ("a*", ["a", "ab"], ["ba", "A"]),
        ("a", ["a"], ["ab", "a*"]),
        ("a*b", ["a*b"], ["axb", "a"]),
        ("a**", ["a*", "a*b"], ["a", "ab"]),
        ("s*", ["s", "sel", "selfish"], ["self", "self.x"]),
        ("self", ["self"], ["selfish", "self.x"]),
        ("self.*", ["self", "self.x", "self."], ["sel", "selfish"]),
        ("self.x", ["self.x"], ["self", "self.xy"]),
        ("self.x*", ["self.x", "self.xy"], ["self", "self.y"]),
        ("[a]", ["[a]"], ["a"]),
        (".*", [".", ".x"], ["a"]),
    ],
)
def test_a_pattern_is_literal_but_for_a_trailing_star(pattern: str, inside: list[str], outside: list[str]) -> None:
    acting = scope(Grant(namespace=pattern, access="read"))
    assert [name for name in inside if not reaches(acting, name)] == []
    assert [name for name in outside if reaches(acting, name)] == []


def reaches(acting: Scope, namespace: str) -> bool:
    try:
        policy.require(acting, Count(namespace=namespace), NOW)
    except AccessDenied:
        return False
    return True


def test_a_grant_gives_nothing_from_its_end_on() -> None:
    acting = scope(Grant(namespace="n", until=NOW))
    policy.require(acting, Count(namespace="n"), NOW - timedelta(milliseconds=1))
    for later in (NOW, NOW + timedelta(days=1)):
        with pytest.raises(AccessDenied, match=r"'n' \(both, ended 2026-11-20T00:00:00\+00:00\)"):
            policy.require(acting, Count(namespace="n"), later)


@pytest.mark.parametrize(
    "facts",
    [
        {"namespace": "self*"},
        {"namespace": "self", "space": "team"},
        {"namespace": "self.*", "space": "team"},
        {"namespace": "n", "space": "@team"},
        {"namespace": "n", "space": ""},
        {"namespace": "n", "until": datetime(2026, 11, 20)},  # noqa: DTZ001 - a naive time is the case
        {"namespace": "n", "until": "2026-11-20T00:00:00Z"},
        {"namespace": "n", "access": "all"},
        {"namespace": "n", "user": "bob"},
    ],
    ids=str,
)
def test_a_grant_that_could_be_misread_cannot_be_made(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Grant(**facts)


@pytest.mark.parametrize("pattern", ["", "@agent/x", "@*", "@", "a\0", "\ud800", "x" * 300])
def test_a_pattern_that_names_nothing_an_agent_may_name_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        Grant(namespace=pattern)


@pytest.mark.parametrize(
    "facts",
    [
        {"grants": None},
        {"grants": [Grant.own()]},
        {"grants": "*"},
        {"user": ""},
        {"user": "@team"},
        {"user": None},
        {"user": "a\0"},
        {"agent": ""},
        {"agent": "@admin/root"},
        {"run": "@run"},
        {"run": ""},
        {"limits": Limits, "user": "a"},
        {"owner": "bob"},
    ],
    ids=str,
)
def test_a_scope_that_could_mean_everyone_cannot_be_made(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Scope(**{"user": "alice", "agent": "x", **facts})


def test_a_scope_is_frozen() -> None:
    acting = scope()
    with pytest.raises(ValidationError):
        acting.user = "bob"  # type: ignore[misc]  # the attempt is the case


@pytest.mark.parametrize(
    ("agent", "namespace", "stored"),
    [
        ("x", "notes", "notes"),
        ("x", "self", "@agent/x"),
        ("x", "self.y", "@agent/x/y"),
        ("x", "self.y/z", "@agent/x/y/z"),
        ("x", "self.", "@agent/x/"),
        ("x", "selfish", "selfish"),
        ("x/y", "self", "@agent/x%2Fy"),
        ("x%2Fy", "self", "@agent/x%252Fy"),
    ],
)
def test_a_namespace_is_stored_under_a_name_that_only_its_owner_can_say(
    agent: str, namespace: str, stored: str
) -> None:
    acting = scope(Grant.own(), agent=agent)
    assert policy.place(acting, namespace) == Place("alice", stored)
    assert policy.readable(acting, Place("alice", stored), NOW)


def test_another_agents_private_namespace_is_shown_to_nobody_else() -> None:
    others = ["@agent/y", "@agent/y/notes", "@agent/xy", "@agent/x%2F", "@locks/n", "@"]
    acting = scope(Grant.own(), Grant(namespace="self.*"))
    assert not any(policy.readable(acting, Place("alice", stored), NOW) for stored in others)
    assert not any(policy.listed(acting, Place("alice", stored), NOW) for stored in [*others, "@agent/x"])


def test_an_operator_names_the_hosts_own_namespaces_and_only_an_operator() -> None:
    assert policy.place(operator_scope("alice", "root"), "@agent/x") == Place("alice", "@agent/x")
    with pytest.raises(InvalidName):
        policy.place(scope(Grant.own()), "@agent/x")
    with pytest.raises(InvalidName):
        policy.place(operator_scope("alice", "root"), "self")


@pytest.mark.parametrize("owner", ["", "@", "@@datastore", "a\0"])
def test_an_operator_needs_a_real_owner(owner: str) -> None:
    with pytest.raises(InvalidName):
        operator_scope(owner, "root")


def test_a_refusal_names_what_is_granted() -> None:
    acting = scope(Grant(namespace="files:*", access="read"), Grant(namespace="out", access="write"))
    with pytest.raises(AccessDenied) as caught:
        policy.require(acting, Get(namespace="secret", keys=("k",)), NOW)
    assert str(caught.value) == (
        "reading namespace 'secret' is not granted to this agent. "
        "Granted: 'files:*' (read), 'out' (write). Use one of those, or ask the host for a grant."
    )
