"""Raw frames, past data_store.py, for every operation against every shape of grant."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from datastore import Grant, Scope, Store, open_store
from sandbox import RunLimits
from sandbox.broker import Broker
from sandbox.guest import wire
from tests.world import ManualClock

Frame = dict[str, Any]
READ, WRITE, BOTH = {"read"}, {"write"}, {"read", "write"}
FUTURE, PAST = datetime(2999, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)


def mutate(there: str, kind: str, *, atomic: bool = False, **facts: Any) -> Frame:
    mutation = {"kind": kind, "key": "lease:k" if there.startswith("@locks/") else "k", **facts}
    return {"op": "apply", "namespace": there, "atomic": atomic, "mutations": [mutation]}


def elsewhere(namespace: str) -> Frame:
    """A frame whose only mutation names its own namespace."""
    return mutate("free", "put", atomic=True, namespace=namespace)


def frames(n: str) -> list[tuple[Frame, set[str]]]:
    """Every operation and mutation on a namespace, and what it needs there."""
    return [
        ({"op": "get", "namespace": n, "keys": ["k"]}, READ),
        ({"op": "get", "namespace": n, "keys": ["k"], "detail": "key"}, READ),
        ({"op": "get", "namespace": n, "keys": ["k"], "detail": "entry"}, READ),
        ({"op": "scan", "namespace": n}, READ),
        ({"op": "scan", "namespace": n, "detail": "key"}, READ),
        ({"op": "count", "namespace": n}, READ),
        ({"op": "watch", "namespace": n}, READ),
        ({"op": "watch", "namespace": n, "prefix": "k", "exact": True}, READ),
        ({"op": "clear", "namespace": n, "prefix": "none"}, WRITE),
        ({"op": "copy", "namespace": n, "target": "free"}, READ),
        ({"op": "copy", "namespace": "free", "target": n}, WRITE),
        (mutate(n, "put", value=1), WRITE),
        (mutate(n, "put", value=1, metadata={"a": 1}), WRITE),
        (mutate(n, "put", if_absent=True), BOTH),
        (mutate(n, "put", if_version="v"), BOTH),
        (mutate(n, "put", if_version="v", keep_expiry=True), BOTH),
        (mutate(n, "delete"), WRITE),
        (mutate(n, "delete", if_version="v"), BOTH),
        (mutate(n, "touch"), WRITE),
        (mutate(n, "touch", if_version="v"), BOTH),
        (mutate(n, "incr", by=1), BOTH),
        (mutate(n, "incr", by=1, atomic=True), BOTH),
        (mutate(n, "put", atomic=True), WRITE),
        (mutate(n, "check", version="v", atomic=True), READ),
        (mutate(n, "check", version=None, atomic=True), READ),
        (elsewhere(n), WRITE),
        (mutate(f"@locks/{n}", "put", if_absent=True, ttl_seconds=5.0), WRITE),
        (mutate(f"@locks/{n}", "delete", if_version="v"), WRITE),
        (mutate(f"@locks/{n}", "check", version="v", atomic=True), WRITE),
        ({"op": "get", "namespace": f"@locks/{n}", "keys": ["lease:k"], "detail": "key"}, WRITE),
        ({"op": "watch", "namespace": f"@locks/{n}", "prefix": "lease:k", "exact": True}, WRITE),
    ]


FREE: Final = Grant(namespace="free")
SHAPES: Final[list[tuple[str, list[Grant], set[str]]]] = [
    ("n", [], set()),
    ("n", [Grant.own()], BOTH),
    ("n", [Grant(namespace="*", access="read")], READ),
    ("n", [Grant(namespace="*", access="write")], WRITE),
    ("n", [Grant(namespace="n")], BOTH),
    ("n", [Grant(namespace="n", access="read")], READ),
    ("n", [Grant(namespace="n", access="write")], WRITE),
    ("n", [Grant(namespace="n", access="read"), Grant(namespace="n*", access="write")], BOTH),
    ("nb", [Grant(namespace="n*")], BOTH),
    ("nb", [Grant(namespace="n")], set()),
    ("n", [Grant(namespace="nb*")], set()),
    ("n", [Grant(namespace="self.*")], set()),
    ("n", [Grant(namespace="*", space="team")], set()),
    ("n", [Grant(namespace="n", until=FUTURE)], BOTH),
    ("n", [Grant(namespace="n", until=PAST)], set()),
    ("n", [Grant(namespace="n", until=PAST), Grant(namespace="n", access="read", until=FUTURE)], READ),
    ("self", [Grant.own()], BOTH),
    ("self", [Grant(namespace="self.*", access="read")], READ),
    ("self.notes", [Grant(namespace="self.*")], BOTH),
    ("self.notes", [Grant(namespace="self")], set()),
    ("self", [Grant(namespace="s*")], set()),
    ("self", [Grant(namespace="agent/x*")], set()),
]


TEAM: Final = Grant(namespace="free", space="team")
SPACE_SHAPES: Final[list[tuple[str, list[Grant], set[str]]]] = [
    ("n", [], set()),
    ("n", [Grant.own()], set()),
    ("n", [Grant(namespace="*", space="team-2")], set()),
    ("n", [Grant(namespace="*", space="team")], BOTH),
    ("n", [Grant(namespace="*", access="read", space="team")], READ),
    ("n", [Grant(namespace="n", access="write", space="team")], WRITE),
    ("nb", [Grant(namespace="n*", access="read", space="team"), Grant(namespace="*", access="write")], READ),
    ("n", [Grant(namespace="n", space="team", until=PAST)], set()),
]


class Peer:
    """A raw socket whose other end a broker serves for a scope; it sends a frame and reads its answer."""

    def __init__(self, store: Store, scope: Scope) -> None:
        self.broker = Broker(store, scope, RunLimits())
        self.sock, self._theirs = socket.socketpair()
        self.sock.setblocking(False)
        self._decoder = wire.Decoder(2**24)

    async def start(self) -> None:
        await self.broker.attach(self._theirs)

    async def ask(self, frame: Frame) -> Frame:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.sock, wire.pack({"id": 1, **frame}))
        async with asyncio.timeout(30):
            while True:
                for payload in self._decoder.feed(await loop.sock_recv(self.sock, 65536)):
                    answer: Frame = json.loads(payload)
                    if answer.get("id") == 1:
                        return answer


@asynccontextmanager
async def peer(store: Store, *grants: Grant, agent: str = "x", user: str = "alice") -> AsyncIterator[Peer]:
    made = Peer(store, Scope(user=user, agent=agent, grants=grants))
    await made.start()
    try:
        yield made
    finally:
        made.sock.close()
        await made.broker.close()


def code(answer: Frame) -> str:
    return str(answer["error"]["code"]) if "error" in answer else "ok"


@pytest.mark.parametrize(("namespace", "grants", "given"), SHAPES, ids=lambda each: str(each)[:60])
async def test_a_frame_is_answered_where_all_that_it_needs_is_granted_and_only_there(
    store: Store, namespace: str, grants: list[Grant], given: set[str]
) -> None:
    async with peer(store, FREE, *grants) as raw:
        for frame, needs in frames(namespace):
            denied = code(await raw.ask(frame)) == "access_denied"
            assert denied == (not needs <= given), frame


@pytest.mark.parametrize(("namespace", "grants", "given"), SHAPES, ids=lambda each: str(each)[:60])
async def test_a_refusal_is_decided_before_the_engine_is_asked(
    store: Store, namespace: str, grants: list[Grant], given: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with peer(store, FREE, *grants) as raw:
        with monkeypatch.context() as replaced:
            replaced.setattr(store, "engine", None)  # Whoever asks it fails, and is answered `internal`.
            for frame, needs in frames(namespace):
                if not needs <= given:
                    assert code(await raw.ask(frame)) == "access_denied", frame


@pytest.mark.parametrize(("namespace", "grants", "given"), SPACE_SHAPES, ids=lambda each: str(each)[:60])
async def test_a_frame_about_a_space_is_answered_by_the_grants_on_that_space_alone(
    store: Store, namespace: str, grants: list[Grant], given: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with peer(store, FREE, TEAM, *grants) as raw:
        for frame, needs in frames(namespace):
            denied = code(await raw.ask({**frame, "space": "team"})) == "access_denied"
            assert denied == (not needs <= given), frame
    async with peer(store, FREE, Grant.own()) as raw:
        with monkeypatch.context() as replaced:
            replaced.setattr(store, "engine", None)
            for asked in ({"op": "namespaces"}, {"op": "usage"}):
                assert code(await raw.ask({**asked, "space": "team"})) == "access_denied"


@pytest.mark.parametrize("space", ["", "@team", "@@datastore", "a\0", 7, ["team"], "x" * 257])
async def test_a_frame_about_no_usable_space_is_refused(store: Store, space: Any) -> None:
    async with peer(store, Grant.own(), Grant(namespace="*", space="team")) as raw:
        for frame, _ in [*frames("n"), ({"op": "namespaces"}, READ), ({"op": "usage"}, READ)]:
            assert code(await raw.ask({**frame, "space": space})) in ("invalid_name", "invalid_argument"), frame


async def test_a_space_has_no_private_namespaces_on_the_wire(store: Store) -> None:
    async with peer(store, Grant.own(), Grant(namespace="*", space="team")) as raw:
        for name in ("self", "self.notes"):
            for frame, _ in frames(name):
                assert code(await raw.ask({**frame, "space": "team"})) == "not_supported", frame


@pytest.mark.parametrize(
    "namespace", ["@agent/x", "@agent/y", "@locks/@agent/x", "@locks/@locks/n", "@", "@@datastore", "@team", ""]
)
async def test_the_hosts_own_names_are_refused_whatever_is_granted(store: Store, namespace: str) -> None:
    async with peer(store, Grant.own(), Grant(namespace="self.*")) as raw:
        for frame, _ in frames(namespace):
            assert code(await raw.ask(frame)) == "invalid_name", frame


async def test_locks_are_no_entries_to_scan_or_copy(store: Store) -> None:
    async with peer(store, Grant.own()) as raw:
        for frame in (
            {"op": "scan", "namespace": "@locks/n"},
            {"op": "count", "namespace": "@locks/n"},
            {"op": "clear", "namespace": "@locks/n"},
            {"op": "copy", "namespace": "@locks/n", "target": "n"},
            {"op": "copy", "namespace": "n", "target": "@locks/n"},
        ):
            assert code(await raw.ask(frame)) == "invalid_name"


async def test_lists_and_usage_hold_only_what_may_be_read(store: Store) -> None:
    async with peer(store, Grant.own()) as raw:
        for name in ("a", "b", "self", "self.notes"):
            await raw.ask(mutate(name, "put", value=1))
    shapes: list[tuple[list[Grant], list[str], int]] = [
        ([], [], 0),
        ([Grant.own()], ["a", "b"], 4),
        ([Grant(namespace="*", access="write")], [], 0),
        ([Grant(namespace="a", access="read")], ["a"], 1),
        ([Grant(namespace="a", until=PAST)], [], 0),
        ([Grant(namespace="self.*", access="read")], [], 2),
    ]
    for grants, names, keys in shapes:
        async with peer(store, *grants) as raw:
            assert (await raw.ask({"op": "namespaces"}))["ok"]["names"] == names
            assert (await raw.ask({"op": "usage"}))["ok"]["keys"] == keys


async def test_two_agents_with_their_own_private_namespaces_never_meet(store: Store) -> None:
    """Whatever one of them does to `self` and `self.notes`, the other's entries stand, and are not seen."""
    own = Grant(namespace="self.*")
    async with peer(store, own, FREE, agent="x") as x, peer(store, own, FREE, agent="y") as y:
        for name in ("self", "self.notes"):
            await x.ask(mutate(name, "put", value="of x"))
            assert (await y.ask({"op": "get", "namespace": name, "keys": ["k"]}))["ok"]["items"] == []
            for frame, _ in frames(name):
                assert "of x" not in json.dumps(await y.ask(frame)), frame
            await y.ask({"op": "clear", "namespace": name})
            found = await x.ask({"op": "get", "namespace": name, "keys": ["k"]})
            assert found["ok"]["items"] == [{"key": "k", "value": "of x"}]


async def test_a_grant_ends_by_the_clock_of_the_store(tmp_path: Path) -> None:
    clock = ManualClock()
    grant = Grant(namespace="n", until=clock.now() + timedelta(seconds=10))
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}", clock=clock) as store, peer(store, grant) as raw:
        count = {"op": "count", "namespace": "n"}
        clock.advance(9)
        assert code(await raw.ask(count)) == "ok"
        clock.advance(1)
        assert code(await raw.ask(count)) == "access_denied"


async def test_a_watch_that_outlives_its_grant_tells_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    grant = Grant(namespace="n", until=clock.now() + timedelta(seconds=10))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with open_store(url, clock=clock) as store, peer(store, grant) as raw, peer(store, Grant.own()) as other:
        cursor = (await raw.ask({"op": "watch", "namespace": "n"}))["ok"]["cursor"]
        poll = {"op": "watch", "namespace": "n", "cursor": cursor, "wait_seconds": 20}
        waiting = asyncio.create_task(raw.ask(poll))
        assert code(await other.ask({"op": "count", "namespace": "n"})) == "ok"  # The poll was sent before this.
        clock.advance(10)
        await other.ask(mutate("n", "put", value=1))
        assert code(await waiting) == "access_denied"
