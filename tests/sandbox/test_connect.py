"""The same data_store without a sandbox: in scripts, threads and event loops, over the same frames."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import inspect
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from datastore import Scope, names, open_store
from datastore.errors import (
    ConfigurationError,
    InvalidArgument,
    InvalidName,
    NotSupported,
    StoreUnavailable,
    ValueNotStorable,
)
from sandbox import ConnectedDataStore, RunLimits, connect, inject, serve
from sandbox.broker import Broker
from sandbox.guest.channel import Channel
from sandbox.guest.verbs import DataStore
from tests.world import REAL, Servers, address


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def store(url: str) -> Iterator[ConnectedDataStore]:
    with connect(url, user="alice", agent="notes") as connected:
        yield connected


def script(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a plain script."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("engine", REAL)
def test_a_script_that_never_closes_loses_nothing(engine: str, tmp_path: Path, servers: Servers) -> None:
    code = """
import sys
from datastore import Settings
from sandbox import connect

settings = Settings(mongo_driver=sys.argv[2], flush_seconds=60)
store = connect(sys.argv[1], user="alice", agent="a", settings=settings)
if sys.argv[3] == "write":
    store.set("k", {"n": 1})
print(store.get("k"), store.get_entry("k").access_count)
"""
    driver = engine if engine in ("motor", "pymongo") else "motor"
    with address(engine, tmp_path, servers) as url:
        for step, counted in (("write", 0), ("read", 2)):
            done = script(code, url, driver, step)
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{{'n': 1}} {counted}\n", "")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "pymongo"])
def test_work_that_is_left_in_an_executor_is_done_before_the_end(engine: str, tmp_path: Path, servers: Servers) -> None:
    """Not with Motor: it works in an executor itself, which takes nothing more then."""
    code = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from datastore import Settings
from sandbox import connect

store = connect(sys.argv[1], user="alice", agent="a", settings=Settings(mongo_driver="pymongo"))

def work():
    for number in range(5):
        time.sleep(0.05)
        store.set(f"k{number}", number)
    print(store.count())

ThreadPoolExecutor().submit(work)
"""
    with address(engine, tmp_path, servers) as url:
        done = script(code, url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5\n", "")


def test_a_script_that_fails_ends_too(url: str) -> None:
    done = script("import sys, sandbox\nsandbox.connect(sys.argv[1], user='a', agent='b')\nraise SystemExit(7)", url)
    assert done.returncode == 7


def test_it_is_usable_from_any_thread(store: ConnectedDataStore) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: store.set(f"k{i:03}", i), range(200)))
        assert list(pool.map(lambda i: store.get(f"k{i:03}"), range(200))) == list(range(200))


def test_it_is_usable_inside_a_running_event_loop(store: ConnectedDataStore) -> None:
    async def main() -> list[Any]:
        store.set("sync", 1)
        await asyncio.gather(*(store.aio.set(f"k{i}", i) for i in range(100)))
        return list(await asyncio.gather(store.aio.count(), asyncio.to_thread(store.get, "sync")))

    assert asyncio.run(main()) == [101, 1]
    assert asyncio.run(main()) == [101, 1]


def test_several_event_loops_and_threads_share_one_connection(store: ConnectedDataStore) -> None:
    async def main(name: int) -> None:
        await asyncio.gather(*(store.aio.set(f"{name}-{i}", i) for i in range(50)))

    threads = [threading.Thread(target=asyncio.run, args=(main(name),)) for name in range(4)]
    for each in threads:
        each.start()
    for i in range(50):
        store.set(f"main-{i}", i)
    for each in threads:
        each.join(60)
    assert store.count() == 250


def test_after_a_fork_it_refuses_and_says_what_to_do(url: str) -> None:
    code = """
import os, sys, sandbox
store = sandbox.connect(sys.argv[1], user="alice", agent="a")
store.set("k", 1)
child = os.fork()
if child == 0:
    try:
        store.get("k")
    except store.NotSupported as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(store.get("k"))
"""
    assert script(code, url).stdout == "this data_store was made before a fork. Connect again in the child.\n1\n"


def test_a_thread_that_connects_after_the_main_thread_has_ended_is_told_so_and_the_process_ends(url: str) -> None:
    code = """
import sys, threading, sandbox

def later():
    threading.main_thread().join()
    try:
        sandbox.connect(sys.argv[1], user="alice", agent="late")
    except Exception as error:
        print(type(error).__name__, error)

store = sandbox.connect(sys.argv[1], user="alice", agent="a")
threading.Thread(target=later).start()
"""
    done = script(code, url)
    said = "the main thread has ended, and connections end with it. Let it wait for this one: thread.join()."
    assert (done.returncode, done.stdout, done.stderr) == (0, f"NotSupported {said}\n", "")


def test_a_connection_that_begins_while_the_main_thread_ends_keeps_no_process_alive(url: str) -> None:
    code = """
import sys, threading, sandbox, sandbox.hosts as hosts
serve, begun = hosts.Hosted._serve, threading.Event()

async def late(self, *arguments):
    begun.set()
    while not self._stopped:
        pass
    await serve(self, *arguments)

hosts.Hosted._serve, held = late, []
threading.Thread(target=lambda: held.append(sandbox.connect(sys.argv[1], user="alice", agent="a"))).start()
begun.wait()
"""
    done = script(code, url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_lock_that_was_released_too_late_is_still_given_back_to_others(url: str) -> None:
    def lease(store: ConnectedDataStore, **facts: Any) -> Any:
        mutation = {"key": names.LEASE + "job", **facts}
        request = {"op": "apply", "namespace": names.LOCKS + "default", "mutations": [mutation]}
        return store._channel.call(request)["outcomes"][0]

    first = {"kind": "put", "value": None, "if_absent": True}
    with connect(url, user="alice", agent="a") as store:
        expired = lease(store, **first, ttl_seconds=1)
        while not (taken := lease(store, **first, ttl_seconds=600))["applied"]:
            pass
        assert not lease(store, kind="delete", if_version=expired["version"])["applied"]
    with connect(url, user="alice", agent="b") as other:
        assert taken["applied"]
        assert lease(other, **first, ttl_seconds=1)["applied"]


def test_a_call_on_a_connection_that_has_ended_is_not_sent(url: str) -> None:
    with connect(url, user="alice", agent="a") as store, connect(url, user="alice", agent="b") as other:
        watch = store.watch()
        store._channel._end("the data_store was closed")
        with pytest.raises(StoreUnavailable, match=r"was closed\. Nothing was written\. .* make a new one") as caught:
            store.set("k", 1)
        assert not caught.value.may_have_written
        with pytest.raises(StoreUnavailable, match="make a new one"):
            next(watch)
        with pytest.raises(StoreUnavailable, match="make a new one"), store.lock("job"):
            pass
        assert other.count() == 0


def test_a_closed_data_store_says_so(url: str) -> None:
    store = connect(url, user="alice", agent="a")
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="was closed"):
        store.get("k")


def test_a_dropped_data_store_leaves_no_thread_and_no_descriptor(url: str) -> None:
    with connect(url, user="alice", agent="warm"):
        pass
    gc.collect()
    before = set(threading.enumerate())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    store = connect(url, user="alice", agent="a")
    store.set("k", 1)
    (host,) = [each for each in threading.enumerate() if each.name == "datastore connection" and each not in before]
    del store
    gc.collect()
    host.join(30)
    assert not host.is_alive()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "connect needs user= and agent=, or scope="),
        ({"user": "a"}, "connect needs user= and agent="),
        ({"user": "a", "agent": "b", "scope": Scope(user="a", agent="b")}, "connect needs"),
        ({"user": "bob", "scope": Scope(user="a", agent="b")}, "connect needs"),
        ({"agent": "b", "scope": Scope(user="a", agent="b")}, "connect needs"),
    ],
)
def test_who_acts_must_be_said_once(url: str, given: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidArgument, match=error):
        connect(url, **given)


@pytest.mark.parametrize("user", ["", "@space", "a\0b", "x" * 257, 5])
def test_an_unusable_user_is_refused_and_never_converted(url: str, user: Any) -> None:
    with pytest.raises(InvalidName, match=r"^user ") as caught:
        connect(url, user=user, agent="a")
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"scheme 'redis'\. Installed: mongodb://, .*, sqlite://"):
        connect("redis://localhost", user="a", agent="b")


def test_inject_puts_it_into_a_dict_of_globals(url: str) -> None:
    namespace: dict[str, Any] = {}
    injected = inject(namespace, url, user="alice", agent="a")
    exec("data_store.set('k', 1)", namespace)  # noqa: S102 - what a host does with it
    assert namespace["data_store"].get("k") == injected.get("k") == 1


async def test_an_open_store_is_shared_by_connections_of_its_loop(url: str) -> None:
    async with open_store(url) as store:
        connected = connect(store, user="alice", agent="a")
        await connected.aio.set("k", 1)
        assert await asyncio.to_thread(connected.get, "k") == 1
        with pytest.raises(NotSupported, match="would hold up the event loop"):
            connected.get("k")
    with pytest.raises(StoreUnavailable):
        await connected.aio.get("k")


async def test_what_does_not_fit_into_the_socket_at_once_does_not_hold_up_the_stores_own_loop(url: str) -> None:
    async with open_store(url) as store, asyncio.timeout(30):
        data_store = connect(store, user="alice", agent="a").aio
        text = "x" * 2_000_000
        await data_store.set("big", text)
        await asyncio.gather(*(data_store.set(f"k{i}", "x" * 20_000) for i in range(100)))
        assert await data_store.get("big") == text
        assert await data_store.count() == 101


async def test_a_connection_after_a_closed_one_may_have_its_descriptor(url: str) -> None:
    """The loop no longer listens to the closed one, though its last call ended in this very turn."""
    async with open_store(url) as store, asyncio.timeout(30):
        descriptors = set()
        for number in range(3):
            with connect(store, user="alice", agent="a") as data_store:
                descriptors.add(data_store._channel._socket.fileno())
                await data_store.aio.set("k", number)
                assert await data_store.aio.get("k") == number
        assert len(descriptors) < 3


def test_an_interrupted_call_ends_the_connection_and_hangs_nobody(store: ConnectedDataStore) -> None:
    """Half a frame is out when the signal comes; what followed would be taken for its other half."""
    previous = signal.signal(signal.SIGUSR1, _interrupt)
    channel = store._channel
    send = channel._socket

    class Interrupted:
        """A socket that is interrupted after the first part of a frame."""

        def __getattr__(self, name: str) -> Any:
            return getattr(send, name)

        def send(self, data: Any, flags: int) -> int:
            if len(data) < 1_000_000:
                return send.send(data, flags)
            sent = send.send(data[:1000], flags)
            os.kill(os.getpid(), signal.SIGUSR1)
            return sent

    channel._socket = Interrupted()  # type: ignore[assignment]  # the same interface
    try:
        with pytest.raises(Interruption):
            store.set("k", "x" * 2_000_000)
        with pytest.raises(StoreUnavailable, match="a call was interrupted while it was being sent"):
            store.exists("k")
    finally:
        signal.signal(signal.SIGUSR1, previous)


class Interruption(BaseException):
    """What Ctrl-C or an agent's own alarm raises, wherever it comes."""


def _interrupt(*_: object) -> None:
    raise Interruption("now")


async def test_serve_is_the_door_of_a_hosts_own_sandbox(url: str) -> None:
    def guest(sock: socket.socket) -> Any:
        channel = Channel(sock)
        try:
            data_store = DataStore(channel)
            data_store.set("k", 1)
            return data_store.get("k")
        finally:
            channel.close()

    async with open_store(url) as store:
        ours, theirs = socket.socketpair()
        serving = asyncio.create_task(serve(theirs, Scope(user="alice", agent="a"), store=store))
        assert await asyncio.to_thread(guest, ours) == 1
        await asyncio.wait_for(serving, 30)


async def test_a_peer_that_comes_while_the_store_is_closed_is_not_served(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach, there, closed = Broker.attach, asyncio.Event(), asyncio.Event()

    async def slow(self: Broker, sock: socket.socket) -> None:
        await attach(self, sock)
        there.set()
        await closed.wait()

    monkeypatch.setattr(Broker, "attach", slow)
    ours, theirs = socket.socketpair()
    with ours:
        async with open_store(url) as store:
            serving = asyncio.create_task(serve(theirs, Scope(user="alice", agent="a"), store=store))
            await there.wait()
        closed.set()
        with pytest.raises(StoreUnavailable, match="the store is closed"):
            await asyncio.wait_for(serving, 30)


async def test_serve_holds_its_budgets(url: str) -> None:
    def guest(sock: socket.socket) -> list[str]:
        channel = Channel(sock)
        found = []
        for _ in range(4):
            with contextlib.suppress(DataStore.RunLimitExceeded):
                DataStore(channel).get("k")
                found.append("ok")
        channel.close()
        return found

    async with open_store(url) as store:
        ours, theirs = socket.socketpair()
        scope = Scope(user="alice", agent="a")
        serving = asyncio.create_task(serve(theirs, scope, store=store, limits=RunLimits(calls=2)))
        assert await asyncio.to_thread(guest, ours) == ["ok", "ok"]
        await asyncio.wait_for(serving, 30)


def test_bool_repr_dir_and_hasattr_do_no_io_and_never_name_the_user(store: ConnectedDataStore) -> None:
    store.close()
    assert bool(store)
    assert repr(store) == "data_store(namespace='default', space=None)"
    assert repr(store.use_namespace("n").aio) == "data_store(namespace='n', space=None)"
    assert {"get", "set", "aio", "use_namespace", "Conflict"} <= set(dir(store))
    assert hasattr(store, "get")
    assert not hasattr(store, "put")
    assert store == store  # noqa: PLR0124 - identity is the fact
    assert store != store.use_namespace("default")
    assert len({store, store.use_namespace("default")}) == 2
    assert repr(store.keys("a")) == "data_store(namespace='default', space=None).keys('a')"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_pickled_or_copied(store: ConnectedDataStore, duplicate: Any) -> None:
    with pytest.raises(ValueNotStorable, match="cannot be pickled"):
        duplicate(store)


def test_it_cannot_be_assigned_to(store: ConnectedDataStore) -> None:
    with pytest.raises(InvalidArgument, match=r"Write data_store\.set\('counter', value\)"):
        store.counter = 1


def test_a_forgotten_await_warns_as_python_does(store: ConnectedDataStore) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store.aio.set("k", 1)  # type: ignore[unused-coroutine]  # the mistake is the case
        gc.collect()
    assert [str(each.message) for each in caught] == [
        (
            "data_store.aio.set('k') was called but never awaited, so nothing was stored. "
            'Write "await data_store.aio.set(...)".'
        )
    ]
    assert store.exists("k") is False


def test_every_verb_is_on_both_faces_with_one_documented_signature(store: ConnectedDataStore) -> None:
    for name in sorted(name for name in dir(DataStore) if name[0].islower() and name not in ("namespace", "space")):
        plain = getattr(store, name)
        if name == "aio":
            continue
        lines = (inspect.getdoc(plain) or "").splitlines()
        assert lines[0].endswith("."), name
        assert any(line.startswith("Example: `") for line in lines), name
        if name not in ("keys", "items", "watch", "atomic", "lock"):
            assert inspect.getdoc(plain) == inspect.getdoc(getattr(store.aio, name))
        assert (
            inspect.signature(plain).parameters.keys() == inspect.signature(getattr(store.aio, name)).parameters.keys()
        )


def test_the_mapping_habits_exist_on_the_sync_face_only(store: ConnectedDataStore) -> None:
    with pytest.raises(InvalidArgument, match=r"await data_store\.aio\.get"):
        store.aio["k"]
    with pytest.raises(InvalidArgument, match="async for key in"):
        iter(store.aio)
