"""Raw frames, past data_store.py, for every operation against every shape of grant."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, Final, cast, get_args

import pytest

from datastore import Grant, Scope, Settings, Store, open_store
from datastore.assembly import open_engine
from datastore.clock import SystemClock
from datastore.operations import Mutation, Operation
from datastore.ports import Engine
from sandbox import RunLimits, Sandbox
from sandbox.broker import Broker
from sandbox.guest import wire
from tests.uids import RUN_AS
from tests.world import ManualClock

Frame = dict[str, Any]
READ, WRITE, BOTH = {"read"}, {"write"}, {"read", "write"}
FUTURE, PAST = datetime(2999, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)


ADD: Final = {"kind": "put", "key": "b", "if_absent": True}


def mutate(there: str, kind: str, *, atomic: bool = False, **facts: Any) -> Frame:
    mutation = {"kind": kind, "key": "lease:k" if there.startswith("@locks/") else "k", **facts}
    return {"op": "apply", "namespace": there, "atomic": atomic, "mutations": [mutation]}


def elsewhere(namespace: str) -> Frame:
    """A frame whose only mutation names its own namespace."""
    return mutate("free", "put", atomic=True, namespace=namespace)


def frames(n: str) -> list[tuple[Frame, set[str]]]:
    """Every operation and mutation on a namespace, and what it needs there: the table that answers are held against."""
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
        (mutate(n, "delete", if_version="v", atomic=True), BOTH),
        (mutate(n, "touch", if_version="v", atomic=True), BOTH),
        ({**mutate(n, "put"), "mutations": [{"kind": "put", "key": "a"}, {"kind": "delete", "key": "b"}]}, WRITE),
        ({**mutate(n, "put"), "mutations": [{"kind": "put", "key": "a"}, ADD]}, BOTH),
        (elsewhere(n), WRITE),
        (mutate(f"@locks/{n}", "put", if_absent=True, ttl_seconds=5.0), WRITE),
        (mutate(f"@locks/{n}", "touch", if_version="v", ttl_seconds=5.0), WRITE),
        (mutate(f"@locks/{n}", "incr", key="token:k", by=1), WRITE),
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
    ("n", [Grant(namespace="n*", access="read")], READ),
    ("nb", [Grant(namespace="n*", access="write")], WRITE),
    ("mn", [Grant(namespace="n*")], set()),
    ("n*", [Grant(namespace="n")], set()),
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
    ("self.notes", [Grant(namespace="self.*", until=PAST)], set()),
    ("self.notes", [Grant(namespace="self.n*", access="write")], WRITE),
    ("selfish", [Grant(namespace="self.*")], set()),
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


def said(each: object) -> str:
    """A parameter's id; the order of a set differs from process to process."""
    return str(sorted(each) if isinstance(each, set) else each)[:60]


class Spy:
    """An engine that takes note of what it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return getattr(self._engine, name)

    @contextmanager
    def left_alone(self, what: object) -> Iterator[None]:
        """Require that it is asked nothing meanwhile."""
        before = len(self.asked)
        yield
        assert self.asked[before:] == [], what


@pytest.fixture
async def spy() -> Spy:
    return Spy(await open_engine("sqlite://", Settings(), SystemClock()))


@pytest.fixture
async def store(spy: Spy) -> AsyncIterator[Store]:
    """In memory, and with an engine that tells whether it was asked."""
    opened = Store(cast("Engine", spy), clock=SystemClock(), flush_seconds=3600)
    yield opened
    await opened.aclose()


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


async def answers_by_the_table(raw: Peer, spy: Spy, namespace: str, given: set[str], **more: Any) -> None:
    """Send every frame: it is denied where the table says that it needs more than is given, and no engine asked."""
    for frame, needs in frames(namespace):
        if needs <= given:
            assert code(await raw.ask({**frame, **more})) != "access_denied", frame
        else:
            with spy.left_alone(frame):
                assert code(await raw.ask({**frame, **more})) == "access_denied", frame


@pytest.mark.parametrize(("namespace", "grants", "given"), SHAPES, ids=said)
async def test_a_frame_is_answered_where_all_that_it_needs_is_granted_and_else_refused_without_asking_the_engine(
    store: Store, spy: Spy, namespace: str, grants: list[Grant], given: set[str]
) -> None:
    async with peer(store, FREE, *grants) as raw:
        await answers_by_the_table(raw, spy, namespace, given)


@pytest.mark.parametrize(("namespace", "grants", "given"), SPACE_SHAPES, ids=said)
async def test_a_frame_about_a_space_is_answered_by_the_grants_on_that_space_alone(
    store: Store, spy: Spy, namespace: str, grants: list[Grant], given: set[str]
) -> None:
    async with peer(store, FREE, TEAM, *grants) as raw:
        await answers_by_the_table(raw, spy, namespace, given, space="team")
    async with peer(store, FREE, Grant.own()) as raw:
        for asked in ({"op": "namespaces"}, {"op": "usage"}):
            with spy.left_alone(asked):
                assert code(await raw.ask({**asked, "space": "team"})) == "access_denied"


def test_the_table_knows_every_operation_and_every_condition_of_every_mutation() -> None:
    sent = [frame for frame, _ in frames("n")]
    operations = {get_args(each.model_fields["op"].annotation)[0] for each in get_args(Operation)}
    assert {frame["op"] for frame in sent} == operations - {"namespaces", "usage"}  # These have tests of their own.
    mutations = [each for frame in sent for each in frame.get("mutations", ())]
    for kind in get_args(get_args(Mutation)[0]):
        name = kind.model_fields["kind"].default
        conditions = {each for each in kind.model_fields if each.startswith("if_")}
        assert conditions <= {each for mutation in mutations if mutation["kind"] == name for each in mutation}
        assert any(mutation["kind"] == name for mutation in mutations)


ACCESSES: Final[list[tuple[Any, set[str]]]] = [(None, set()), ("read", READ), ("write", WRITE), ("both", BOTH)]


@pytest.mark.parametrize(("access_a", "given_a"), ACCESSES, ids=said)
async def test_what_two_namespaces_need_is_asked_of_each_of_them(
    store: Store, spy: Spy, access_a: Any, given_a: set[str]
) -> None:
    """A copy reads at its source and writes at its target; of an atomic operation each part needs its own."""
    add, check = {"kind": "put", "if_absent": True}, {"kind": "check", "version": None}
    table: list[tuple[Frame, set[str], set[str]]] = [
        ({"op": "copy", "namespace": "a", "target": "b"}, READ, WRITE),
        ({"op": "copy", "namespace": "b", "target": "a"}, WRITE, READ),
        (across({"kind": "put"}, {"kind": "put"}), WRITE, WRITE),
        (across({"kind": "put"}, check), WRITE, READ),
        (across(check, {"kind": "delete"}), READ, WRITE),
        (across(add, check), BOTH, READ),
    ]
    for (access_b, given_b), (frame, needs_a, needs_b) in product(ACCESSES, table):
        pairs = (("a", access_a), ("b", access_b))
        grants = [Grant(namespace=name, access=access) for name, access in pairs if access is not None]
        async with peer(store, *grants) as raw:
            if needs_a <= given_a and needs_b <= given_b:
                assert code(await raw.ask(frame)) != "access_denied"
            else:
                with spy.left_alone(frame):
                    assert code(await raw.ask(frame)) == "access_denied", (frame, grants)


def across(at_a: Frame, at_b: Frame) -> Frame:
    """A frame that changes two namespaces and names a third, of which it needs nothing."""
    mutations = [{**at_a, "key": "k", "namespace": "a"}, {**at_b, "key": "k", "namespace": "b"}]
    return {"op": "apply", "namespace": "c", "atomic": True, "mutations": mutations}


@pytest.mark.parametrize(
    "other",
    ["X/y", "x%2Fy", "x", "x/", "x/y/", "x/y ", "x/yz", "x/y*", "*", "x\u2215y", "caf\u00e9", "self.x/y", "agent/x/y"],
)
async def test_a_name_that_only_looks_like_a_granted_one_is_refused(store: Store, spy: Spy, other: str) -> None:
    async with peer(store, Grant(namespace="x/y"), Grant(namespace="cafe\u0301")) as raw:
        assert code(await raw.ask({"op": "count", "namespace": "x/y"})) == "ok"
        with spy.left_alone(other):
            for frame, _ in frames(other):
                if frame.get("target") != "free" and frame["namespace"] != "free":
                    assert code(await raw.ask(frame)) == "access_denied", frame


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


AGENTS: Final = ["x", "X", "xy", "x/y", "x%2Fy", "x%252Fy", "x*"]
WORDS: Final = ["self", "self.", "self.y", "self./y", "self.y/z"]


async def test_no_two_agents_with_their_own_private_namespaces_ever_meet(store: Store) -> None:
    """Whatever one does to its namespaces, each other's entries stand and are not seen, however alike the names are."""
    for agent in AGENTS:
        async with peer(store, Grant(namespace="self.*"), agent=agent) as raw:
            for word in WORDS:
                assert code(await raw.ask(mutate(word, "put", value=[agent, word], if_absent=True))) == "ok"
    for agent in AGENTS:
        async with peer(store, Grant(namespace="self.*"), Grant(namespace="free", access="write"), agent=agent) as raw:
            for word in WORDS:
                found = await raw.ask({"op": "get", "namespace": word, "keys": ["k"]})
                assert found["ok"]["items"] == [{"key": "k", "value": [agent, word]}]
            for frame, _ in frames("self.y"):
                await raw.ask(frame)
            for word in WORDS:
                await raw.ask({"op": "clear", "namespace": word})


GUEST: Final = """
def reach(name):
    try:
        there = data_store.use_namespace(name)
        return [dict(there.items()), there.clear(), there.set("k", "overwritten")]
    except (data_store.AccessDenied, data_store.InvalidName) as error:
        return error.code

def run(names):
    mine = data_store.private()
    found = [mine.get("k"), mine.private("notes").list_keys(), data_store.list_namespaces()]
    mine.set("k", names["own"])
    return found + [reach(each) for each in names["others"]]
"""


async def test_two_agents_in_the_sandbox_never_meet_in_their_private_namespaces(store: Store) -> None:
    tried = ["@agent/x", "@agent/y", "agent/x", "agent/y", "@agent/x/notes", "x", "*", "self*"]
    refused = ["invalid_name", "invalid_name", "access_denied", "access_denied", "invalid_name", *["access_denied"] * 3]
    async with Sandbox(store, run_as=RUN_AS) as sandbox:
        for agent, before in (("x", None), ("y", None), ("x", "of x"), ("y", "of y")):
            scope = Scope(user="alice", agent=agent, grants=(Grant(namespace="self.*"),))
            result = await sandbox.run(GUEST, {"own": f"of {agent}", "others": tried}, scope=scope)
            assert result.output == [before, [], [], *refused], result


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
