"""Any sequence of verbs, on any backend, does what the same sequence does to a plain dict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from datastore.errors import Conflict, LockUnavailable, NotANumber, NotSupported, ValueNotStorable
from sandbox import ConnectedDataStore
from sandbox.guest.lease import Lock
from sandbox.guest.watching import Change
from tests.world import BACKENDS, WAIT_SECONDS, Loop, Servers, World, world

KEYS = st.sampled_from(
    ["a", "a-1", "a:2", "A-2", "b", "é", "/", "%", "$x", "a.b", "\ud7ff", "\U0010ffff", "\U0010ffffz"]
)
PREFIXES = st.sampled_from(["", "a", "a-", "A", "\ud7ff", "\U0010ffff", "$", "zz"])
NAMESPACES = st.sampled_from(["default", "n:1", "n/2"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
OBJECT_KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = (
    st.integers(-3, 3)
    | st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(OBJECT_KEYS, inner, max_size=3),
        max_leaves=5,
    )
    | st.binary(max_size=5)
)
METADATA = st.dictionaries(OBJECT_KEYS, SCALARS, max_size=2)
NUMBERS = st.sampled_from([1, -1, 0.5, 1e308, 2**62, -(2**63)])
LEASE_SECONDS = 90.0
WATCHERS = 3
TTLS = st.none() | st.sampled_from([5.0, 60.0])


def sum_of(standing: Any, by: float) -> Any:
    """Return what an increment makes of a value, or None where it is refused."""
    if isinstance(standing, bool) or not isinstance(standing, (int, float)):
        return None
    total: Any = standing + by
    return total if math.isfinite(total) and (isinstance(total, float) or -(2**63) <= total < 2**63) else None


def by_key(noted: Noted) -> tuple[int, str]:
    """Return what orders operations, and the keys of each, but nothing more: sorting is stable."""
    return noted.operation, noted.key


@dataclass
class Known:
    """What the model knows of an entry."""

    value: Any
    metadata: dict[str, Any]
    version: str
    expires: float | None
    created_by: str
    reads: int = 0


@dataclass(frozen=True)
class Noted:
    """A change, and the operation that made it."""

    operation: int
    namespace: str
    key: str
    version: str | None


@dataclass
class Model:
    """The store as dicts: namespace -> key -> entry."""

    now: float = 0.0
    operation: int = 0
    held: dict[str, dict[str, Known]] = field(default_factory=dict)
    changes: list[Noted] = field(default_factory=list)

    def live(self, namespace: str, prefix: str = "") -> dict[str, Known]:
        found = self.held.setdefault(namespace, {})
        gone = [key for key, each in found.items() if each.expires is not None and each.expires <= self.now]
        for key in gone:
            del found[key]  # Which is no change.
        return {key: found[key] for key in sorted(found) if key.startswith(prefix)}

    def put(
        self,
        namespace: str,
        key: str,
        value: Any,
        metadata: dict[str, Any],
        ttl: float | None,
        version: str,
        agent: str,
    ) -> None:
        known = self.live(namespace).get(key)
        self.note(namespace, key, version)
        expires = None if ttl is None else self.now + ttl
        if known is None:
            self.held[namespace][key] = Known(value, dict(metadata), version, expires, agent)
            return
        known.value, known.version, known.expires = value, version, expires
        known.metadata = {**known.metadata, **metadata}

    def remove(self, namespace: str, keys: Iterable[str]) -> None:
        for key in set(keys) & set(self.live(namespace)):
            del self.held[namespace][key]
            self.note(namespace, key, None)

    def concerned(self, watcher: Watcher) -> list[int]:
        """Return the numbers of the changes that a watcher has not seen yet."""
        return [
            number
            for number, each in enumerate(self.changes)
            if number >= watcher.since and each.namespace == watcher.namespace and each.key.startswith(watcher.prefix)
        ]

    def note(self, namespace: str, key: str, version: str | None) -> None:
        self.changes.append(Noted(self.operation, namespace, key, version))


@dataclass
class Holding:
    """What the model knows of a lock that was taken and not given back."""

    lock: Lock
    agent: str
    token: int
    expires: float


@dataclass
class Watcher:
    """What the model knows of a watch: where it stands, and from which of the model's changes on it has seen none."""

    namespace: str
    prefix: str
    cursor: str
    since: int


class StoreMachine(RuleBasedStateMachine):
    """Two agents of one user against the model; a second user, who must stay empty."""

    open_world: Callable[[ExitStack], World]
    locks = True

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = self.open_world(self.stack)
        self.agents = {name: self.world.agent(agent=name) for name in ("x", "y")}
        self.stranger = self.world.agent(user="stranger")
        self.model = Model()
        self.taken: list[Holding] = []
        self.tokens: dict[str, int] = {}
        self.watchers: list[Watcher] = []

    def teardown(self) -> None:
        try:
            while self.taken:
                self.give_back(len(self.taken) - 1)
            for which in range(len(self.watchers)):
                self.look("y", which, 0)
            assert self.stranger.list_namespaces() == []
            self.world.flush()
            for namespace in list(self.model.held):
                self.check_namespace(namespace)
        finally:
            self.stack.close()

    def at(self, agent: str, namespace: str) -> ConnectedDataStore:
        return self.agents[agent].use_namespace(namespace)

    def check_namespace(self, namespace: str) -> None:
        store, live = self.at("x", namespace), self.model.live(namespace)
        assert store.list_keys() == list(live)
        for key, known in live.items():
            entry = store.get_entry(key)
            assert entry is not None
            assert (entry.value, entry.metadata, entry.version) == (known.value, known.metadata, known.version)
            assert (entry.created_by_agent, entry.access_count) == (known.created_by, known.reads)
            known.reads += 1
        self.world.flush()

    @rule(agent=st.sampled_from(["x", "y"]), namespace=NAMESPACES, key=KEYS, value=VALUES, metadata=METADATA, ttl=TTLS)
    def set(
        self, agent: str, namespace: str, key: str, value: Any, metadata: dict[str, Any], ttl: float | None
    ) -> None:
        version = self.at(agent, namespace).set(key, value, metadata, ttl_seconds=ttl)
        self.model.put(namespace, key, value, metadata, ttl, version, agent)

    @rule(agent=st.sampled_from(["x", "y"]), namespace=NAMESPACES, key=KEYS, value=VALUES, ttl=TTLS)
    def add(self, agent: str, namespace: str, key: str, value: Any, ttl: float | None) -> None:
        store = self.at(agent, namespace)
        absent = key not in self.model.live(namespace)
        assert store.add(key, value, ttl_seconds=ttl) is absent
        if absent:
            entry = store.get_entry(key)
            assert entry is not None
            self.model.put(namespace, key, value, {}, ttl, entry.version, agent)
            self.model.held[namespace][key].reads += 1

    @rule(namespace=NAMESPACES, key=KEYS, value=VALUES, stale=st.booleans())
    def set_if_version(self, namespace: str, key: str, value: Any, stale: bool) -> None:  # noqa: FBT001 - a drawn value
        known = self.model.live(namespace).get(key)
        version = "stale" if stale or known is None else known.version
        store = self.at("x", namespace)
        if known is not None and known.version == version:
            self.model.put(namespace, key, value, {}, None, store.set(key, value, if_version=version), "x")
            return
        with pytest.raises(Conflict) as caught:
            store.set(key, value, if_version=version)
        assert caught.value.version == (known.version if known else None)

    @rule(namespace=NAMESPACES, items=st.dictionaries(KEYS, VALUES, max_size=4), metadata=METADATA, ttl=TTLS)
    def set_many(self, namespace: str, items: dict[str, Any], metadata: dict[str, Any], ttl: float | None) -> None:
        store = self.at("y", namespace)
        assert store.set_many(items, metadata, ttl_seconds=ttl) == len(items)
        for key, value in items.items():
            entry = store.get_entry(key)
            assert entry is not None
            self.model.put(namespace, key, value, metadata, ttl, entry.version, "y")
            self.model.held[namespace][key].reads += 1

    @rule(namespace=NAMESPACES, key=KEYS, by=NUMBERS, initial=NUMBERS, ttl=TTLS)
    def incr(self, namespace: str, key: str, by: float, initial: float, ttl: float | None) -> None:
        store, known = self.at("y", namespace), self.model.live(namespace).get(key)
        total = sum_of(known.value if known else initial, by)
        if total is None or sum_of(initial, by) is None:
            with pytest.raises((NotANumber, ValueNotStorable)):
                store.incr(key, by, initial=initial, ttl_seconds=ttl)
            return
        found = store.incr(key, by, initial=initial, ttl_seconds=ttl)
        assert (found, type(found)) == (total, type(total))
        entry = store.get_entry(key)
        assert entry is not None
        left = None if known is None or known.expires is None else known.expires - self.model.now
        self.model.put(namespace, key, total, {}, ttl or left, entry.version, "y")
        self.model.held[namespace][key].reads += 1

    @rule(namespace=NAMESPACES, key=KEYS, default=VALUES, ttl=TTLS, meanwhile=st.sampled_from(["", "set", "delete"]))
    def update(self, namespace: str, key: str, default: Any, ttl: float | None, meanwhile: str) -> None:
        store, seen = self.at("x", namespace), []

        def function(value: Any) -> Any:
            seen.append(value)
            if (read := self.model.live(namespace).get(key)) is not None:
                read.reads += 1
            if len(seen) == 1 and meanwhile == "set":
                self.set("y", namespace, key, "meanwhile", {}, 60.0)
            elif len(seen) == 1 and meanwhile == "delete":
                self.delete(namespace, key)
            return [len(seen)]

        known = self.model.live(namespace).get(key)
        conflict = meanwhile == "set" or (meanwhile == "delete" and known is not None)
        tries = 1 + conflict
        first = known.value if known else default
        assert store.update(key, function, default, ttl_seconds=ttl) == [tries]
        assert seen == [first, "meanwhile" if meanwhile == "set" else default][:tries]
        known = self.model.live(namespace).get(key)
        left = None if known is None or known.expires is None else known.expires - self.model.now
        entry = store.get_entry(key)
        assert entry is not None
        self.model.put(namespace, key, [tries], {}, ttl or left, entry.version, "x")
        self.model.held[namespace][key].reads += 1

    @rule(
        steps=st.lists(
            st.tuples(NAMESPACES, KEYS, st.sampled_from(["set", "add", "delete", "incr", "check", "stale"])),
            min_size=1,
            max_size=4,
            unique_by=lambda step: step[:2],
        ),
        value=VALUES,
        ttl=TTLS,
    )
    def atomic(self, steps: list[tuple[str, str, str]], value: Any, ttl: float | None) -> None:
        changes = self.agents["x"].atomic()
        holds = [self.gather(changes.use_namespace(step[0]), *step, value, ttl) for step in steps]
        if self.world.backend == "mock" and len(steps) > 1:
            with pytest.raises(NotSupported):
                changes.commit()
            return
        if not all(holds):
            with pytest.raises((Conflict, NotANumber, ValueNotStorable)):
                changes.commit()
            return
        changes.commit()
        for namespace, key, kind in steps:
            self.follow(namespace, key, kind, value, ttl)

    def gather(self, changes: Any, namespace: str, key: str, kind: str, value: Any, ttl: float | None) -> bool:
        """Add one step to what is gathered; say whether its condition holds."""
        known = self.model.live(namespace).get(key)
        if kind in ("set", "add"):
            getattr(changes, kind)(key, value, ttl_seconds=ttl)
        elif kind == "incr":
            changes.incr(key, 1, initial=1, ttl_seconds=ttl)
            return sum_of(known.value if known else 1, 1) is not None
        elif kind == "delete":
            changes.delete(key)
        else:
            changes.check(key, "stale" if kind == "stale" else known.version if known else ConnectedDataStore.ABSENT)
        return kind != "stale" and (kind != "add" or known is None)

    def follow(self, namespace: str, key: str, kind: str, value: Any, ttl: float | None) -> None:
        """Do to the model what a step did."""
        known = self.model.live(namespace).get(key)
        if kind == "delete":
            self.model.remove(namespace, [key])
        if kind in ("check", "delete"):
            return
        entry = self.at("x", namespace).get_entry(key)
        assert entry is not None
        left = None if known is None or known.expires is None else known.expires - self.model.now
        if kind == "incr":
            value, ttl = sum_of(known.value if known else 1, 1), ttl or left
        self.model.put(namespace, key, value, {}, ttl, entry.version, "x")
        self.model.held[namespace][key].reads += 1

    @rule(namespace=NAMESPACES, key=KEYS)
    def get(self, namespace: str, key: str) -> None:
        known = self.model.live(namespace).get(key)
        found = self.at("x", namespace).get(key, "absent")
        assert found == (known.value if known else "absent")
        if known:
            assert type(found) is type(known.value)
            known.reads += 1

    @rule(namespace=NAMESPACES, keys=st.lists(KEYS, max_size=5))
    def get_many(self, namespace: str, keys: list[str]) -> None:
        live = self.model.live(namespace)
        found = self.at("x", namespace).get_many(keys)
        assert found == {key: live[key].value for key in keys if key in live}
        for key in found:
            live[key].reads += 1

    @rule(namespace=NAMESPACES, prefix=PREFIXES)
    def get_all(self, namespace: str, prefix: str) -> None:
        live = self.model.live(namespace, prefix)
        found = self.at("x", namespace).get_all(prefix)
        assert list(found.items()) == [(key, known.value) for key, known in live.items()]
        for known in live.values():
            known.reads += 1

    @rule(
        namespace=NAMESPACES,
        prefix=PREFIXES,
        after=st.none() | KEYS,
        limit=st.none() | st.integers(1, 4),
        down=st.booleans(),
    )
    def list_keys(self, namespace: str, prefix: str, after: str | None, limit: int | None, down: bool) -> None:  # noqa: FBT001 - as above
        keys = sorted(self.model.live(namespace, prefix), reverse=down)
        if after is not None:
            keys = [key for key in keys if (key < after if down else key > after)]
        assert self.at("x", namespace).list_keys(prefix, after=after, limit=limit, reverse=down) == keys[:limit]

    @rule(namespace=NAMESPACES, key=KEYS)
    def delete(self, namespace: str, key: str) -> None:
        assert self.at("y", namespace).delete(key) is (key in self.model.live(namespace))
        self.model.remove(namespace, [key])

    @rule(namespace=NAMESPACES, keys=st.lists(KEYS, max_size=4))
    def delete_many(self, namespace: str, keys: list[str]) -> None:
        gone = set(keys) & set(self.model.live(namespace))
        assert self.at("y", namespace).delete_many(keys) == len(gone)
        self.model.remove(namespace, gone)

    @rule(namespace=NAMESPACES, key=KEYS, ttl=TTLS)
    def touch(self, namespace: str, key: str, ttl: float | None) -> None:
        known = self.model.live(namespace).get(key)
        assert self.at("y", namespace).touch(key, ttl) is (known is not None)
        if known:
            known.expires = None if ttl is None else self.model.now + ttl

    @rule(namespace=NAMESPACES, prefix=PREFIXES)
    def clear(self, namespace: str, prefix: str) -> None:
        live = self.model.live(namespace, prefix)
        assert self.at("x", namespace).clear(prefix) == len(live)
        self.model.remove(namespace, live)

    @rule(source=NAMESPACES, goal=NAMESPACES, prefix=PREFIXES)
    def copy(self, source: str, goal: str, prefix: str) -> None:
        if source == goal:
            return
        live = self.model.live(source, prefix)
        assert self.at("x", source).copy_to(goal, prefix) == len(live)
        for key, known in live.items():
            entry = self.at("x", goal).get_entry(key)
            assert entry is not None
            ttl = None if known.expires is None else known.expires - self.model.now
            self.model.put(goal, key, known.value, {}, ttl, entry.version, "x")
            copied = self.model.held[goal][key]
            copied.metadata, copied.reads = dict(known.metadata), copied.reads + 1

    @precondition(lambda self: self.locks)
    @rule(agent=st.sampled_from(["x", "y"]), namespace=NAMESPACES)
    def take(self, agent: str, namespace: str) -> None:
        lock = self.at(agent, namespace).lock("l", ttl_seconds=LEASE_SECONDS)
        here = [each for each in self.taken if each.lock.namespace == lock.namespace]
        if any(each.agent == agent or each.expires > self.model.now for each in here):
            with pytest.raises(LockUnavailable):
                lock.__enter__()
            return
        self.tokens[namespace] = self.tokens.get(namespace, 0) + 1
        lease = lock.__enter__()
        assert lease.token == self.tokens[namespace]
        self.taken.append(Holding(lock, agent, lease.token, self.model.now + LEASE_SECONDS))

    @precondition(lambda self: self.taken)
    @rule(which=st.integers(0, 5))
    def give_back(self, which: int) -> None:
        mine = self.taken.pop(which % len(self.taken))
        if mine.expires > self.model.now:
            mine.lock.__exit__(None, None, None)
            return
        with pytest.raises(LockUnavailable, match="was lost"):
            mine.lock.__exit__(None, None, None)

    # The mock is looked at now and then, so what happens between two looks shows once.
    @precondition(lambda self: self.world.backend != "mock" and len(self.watchers) < WATCHERS)
    @rule(agent=st.sampled_from(["x", "y"]), namespace=NAMESPACES, prefix=PREFIXES)
    def watch(self, agent: str, namespace: str, prefix: str) -> None:
        cursor = self.at(agent, namespace).watch(prefix).cursor
        assert cursor is not None
        self.watchers.append(Watcher(namespace, prefix, cursor, len(self.model.changes)))

    @precondition(lambda self: self.watchers)
    @rule(agent=st.sampled_from(["x", "y"]), which=st.integers(0, 5), stop=st.integers(0, 100))
    def look(self, agent: str, which: int, stop: int) -> None:
        """Look from a cursor up to a last change; next time from one of those that were seen."""
        watcher = self.watchers[which % len(self.watchers)]
        store = self.at(agent, watcher.namespace)
        last = store.set(watcher.prefix + "end", 0)
        self.model.put(watcher.namespace, watcher.prefix + "end", 0, {}, None, last, agent)
        found = self.seen(store.watch(watcher.prefix, cursor=watcher.cursor, timeout_seconds=WAIT_SECONDS), last)
        numbers = self.model.concerned(watcher)
        made = [self.model.changes[number] for number in numbers]
        told = [
            Noted(known.operation, watcher.namespace, each.key, each.version)
            for each, known in zip(found, made, strict=True)
        ]
        # The changes of one operation come in any order, which is the same for everybody from then on.
        assert sorted(told, key=by_key) == sorted(made, key=by_key)
        for number, each in zip(numbers, told, strict=True):
            self.model.changes[number] = each
        watcher.cursor, watcher.since = found[stop % len(found)].cursor, numbers[stop % len(found)] + 1

    def seen(self, watch: Iterable[Change], last: str) -> list[Change]:
        """Return the changes up to a version."""
        found = []
        for change in watch:
            found.append(change)
            if change.version == last:
                break
        return found

    @precondition(lambda self: self.model.now < 300)  # A real server's clock is not ahead of ours.
    @rule(seconds=st.sampled_from([1.0, 5.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.flush()
        self.world.clock.advance(seconds)
        self.model.now += seconds

    @rule()
    def flush(self) -> None:
        self.world.flush()

    @invariant()
    def counts_and_names_agree(self) -> None:
        self.model.operation += 1
        held = {namespace: self.model.live(namespace) for namespace in list(self.model.held)}
        store = self.agents["x"]
        assert store.list_namespaces() == sorted(name for name, live in held.items() if live)
        assert store.usage()["keys"] == sum(len(live) for live in held.values())


@pytest.fixture(
    params=["sqlite", *(pytest.param(each, marks=pytest.mark.slow) for each in BACKENDS if each != "sqlite")]
)
def machine(
    request: pytest.FixtureRequest,
    host_loop: Loop,
    tmp_path_factory: pytest.TempPathFactory,
    servers: Servers,
) -> type[StoreMachine]:
    def open_world(stack: ExitStack) -> World:
        folder: Path = tmp_path_factory.mktemp("machine")
        return stack.enter_context(world(host_loop, request.param, folder, servers))

    return type("Machine", (StoreMachine,), {"open_world": staticmethod(open_world)})


def run(machine: type[StoreMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_any_sequence_of_verbs_does_what_it_does_to_a_dict(machine: type[StoreMachine]) -> None:
    run(machine, examples=25, steps=30)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_any_long_sequence_of_verbs_does_what_it_does_to_a_dict(machine: type[StoreMachine]) -> None:
    run(machine, examples=200, steps=60)
