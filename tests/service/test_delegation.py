"""Delegation: an agent acts within another's scope, and never beyond it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datastore import Grant, Limits, Scope
from datastore.errors import AccessDenied
from datastore.operations import Count
from datastore.service import policy

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SOON, LATER = NOW + timedelta(hours=1), NOW + timedelta(hours=2)


def grant(namespace: str, access: Any = "both", **facts: Any) -> Grant:
    return Grant(namespace=namespace, access=access, **facts)


def scope(*grants: Grant) -> Scope:
    return Scope(user="alice", agent="x", run="run-1", grants=grants, limits=Limits(value_bytes=1000))


@pytest.mark.parametrize(
    ("own", "given"),
    [
        (grant("*"), grant("files:*")),
        (grant("*"), grant("*", "read")),
        (grant("files:*"), grant("files:*")),
        (grant("files:*"), grant("files:a*")),
        (grant("files:*"), grant("files:a")),
        (grant("files:a"), grant("files:a")),
        (grant("a", "read"), grant("a", "read")),
        (grant("a"), grant("a", "write")),
        (grant("a"), grant("a", until=SOON)),
        (grant("a", until=LATER), grant("a", until=SOON)),
        (grant("a", until=SOON), grant("a", until=SOON)),
        (grant("*", space="team"), grant("a*", "read", space="team")),
    ],
)
def test_what_lies_inside_a_grant_can_be_given(own: Grant, given: Grant) -> None:
    child = scope(grant("other", "read"), own).delegate("y", [given])
    assert (child.user, child.agent, child.run, child.grants) == ("alice", "y", "run-1", (given,))
    assert child.limits == Limits(value_bytes=1000)


@pytest.mark.parametrize(
    ("own", "given"),
    [
        (grant("files:*"), grant("*")),
        (grant("files:*"), grant("files*")),
        (grant("files:*"), grant("files:", space="team")),
        (grant("files:a"), grant("files:a*")),
        (grant("files:a"), grant("files:ab")),
        (grant("a", "read"), grant("a")),
        (grant("a", "read"), grant("a", "write")),
        (grant("a", until=SOON), grant("a")),
        (grant("a", until=SOON), grant("a", until=LATER)),
        (grant("a", space="team"), grant("a")),
        (grant("a", space="team"), grant("a", space="team-2")),
        (grant("*"), grant("*", space="team")),
        (grant("*"), grant("self")),
        (grant("*"), grant("self.*")),
        (grant("self.*"), grant("self.*")),
        (grant("self.*"), grant("*")),
    ],
)
def test_what_is_wider_than_every_grant_is_refused_with_the_nearest(own: Grant, given: Grant) -> None:
    with pytest.raises(AccessDenied) as caught:
        scope(own).delegate("y", [given])
    assert given.said() in str(caught.value)
    assert f"the nearest is {own.said()}" in str(caught.value)


def test_the_nearest_grant_is_the_one_that_almost_holds_it() -> None:
    acting = scope(grant("files:*", "read"), grant("*", space="files"), grant("summary:*"))
    with pytest.raises(AccessDenied) as caught:
        acting.delegate("y", [grant("summary:a", "read"), grant("files:a", "write")])
    assert str(caught.value) == (
        "agent 'x' cannot give 'files:a' (write) to agent 'y': that lies inside none of its own grants; "
        "the nearest is 'files:*' (read). Give a part of one of them."
    )


def test_two_grants_together_are_not_one() -> None:
    with pytest.raises(AccessDenied):
        scope(grant("a", "read"), grant("a", "write")).delegate("y", [grant("a")])


def test_no_grants_can_be_given_and_none_gives_none() -> None:
    assert scope().delegate("y", []).grants == ()
    with pytest.raises(AccessDenied, match="it has none"):
        scope().delegate("y", [grant("a")])


def test_a_star_gives_another_agent_no_private_namespace_and_the_same_agent_its_own() -> None:
    acting = scope(Grant.own())
    same, other = acting.delegate("x", [Grant.own()]), acting.delegate("y", [Grant.own()])
    policy.require(same, Count(namespace="self"), NOW)
    policy.require(other, Count(namespace="a"), NOW)
    for name in ("self", "self.notes"):
        with pytest.raises(AccessDenied):
            policy.require(other, Count(namespace=name), NOW)
    with pytest.raises(AccessDenied):
        other.delegate("x", [grant("self")])


@pytest.mark.parametrize("change", [{"agent": "y"}, {"user": "bob"}, {"grants": ()}])
def test_rights_are_settled_when_the_scope_is_made(change: dict[str, Any]) -> None:
    acting = scope(grant("a"))
    with pytest.raises(ValueError, match="another Scope"):
        acting.model_copy(update=change)
    policy.require(acting.model_copy(update={"run": "run-2"}), Count(namespace="a"), NOW)


def test_limits_may_be_lower_and_never_higher() -> None:
    acting = scope(Grant.own())
    assert acting.delegate("y", [], limits=Limits(value_bytes=10)).limits.value_bytes == 10
    with pytest.raises(AccessDenied, match="value_bytes=1,001 is above this scope's own 1,000"):
        acting.delegate("y", [], limits=Limits(value_bytes=1001))


@pytest.mark.parametrize("agent", ["", "@admin/root", "@x"])
def test_an_agents_name_is_checked(agent: str) -> None:
    with pytest.raises(ValueError, match="agent"):
        scope(Grant.own()).delegate(agent, [])
