"""What the host does with a peer that does not keep to the protocol: answers what is refused, ends what is broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from datastore import Limits, Scope, Store
from sandbox import RunLimits
from sandbox.broker import Broker
from sandbox.guest import wire

Frame = dict[str, Any]
LENGTH = struct.Struct(">I")


class Peer:
    """A raw socket whose other end a broker serves."""

    def __init__(self, store: Store, limits: RunLimits, user: str = "alice") -> None:
        self.broker = Broker(store, Scope(user=user, agent="a", limits=Limits(value_bytes=10_000)), limits)
        self.sock, self._theirs = socket.socketpair()
        self.sock.setblocking(False)
        self._decoder = wire.Decoder(2**31)
        self._payloads: list[bytes] = []

    async def start(self) -> None:
        await self.broker.attach(self._theirs)

    async def send(self, *frames: Frame | bytes) -> None:
        loop = asyncio.get_running_loop()
        for frame in frames:
            await loop.sock_sendall(self.sock, frame if isinstance(frame, bytes) else wire.pack(frame))

    async def receive(self) -> Frame | None:
        """Return the next frame, or None at the end."""
        async with asyncio.timeout(30):
            while not self._payloads:
                try:
                    data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                self._payloads += self._decoder.feed(data)
        frame: Frame = json.loads(self._payloads.pop(0))
        return frame


@pytest.fixture
async def peer(store: Store) -> AsyncIterator[Peer]:
    made = Peer(store, RunLimits(in_flight=4))
    await made.start()
    yield made
    made.sock.close()
    await made.broker.close()


def apply(*mutations: Frame) -> Frame:
    return {"op": "apply", "namespace": "n", "mutations": list(mutations)}


def put(fields: Frame) -> Frame:
    return apply({"kind": "put", "key": "k", **fields})


def payload(data: bytes) -> bytes:
    return LENGTH.pack(len(data)) + data


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (LENGTH.pack(2**32 - 1), "a frame of 4,294,967,295 bytes was announced; the limit is 78,872"),
        (LENGTH.pack(78_873), "a frame of 78,873 bytes was announced"),
        (payload(b"not json"), "a frame is not JSON"),
        (payload(b""), "a frame is not JSON"),
        (payload(b"[1]"), "a frame is not a JSON object"),
        (payload(b'"\xff"'), "a frame is not JSON"),
        (payload(b'{"id": 1, "op": NaN}'), "a frame is not JSON"),
        (payload(b'{"a":' * 12_000 + b"1" + b"}" * 12_000), "a frame is not JSON"),
        (payload(b'{"id":1,"x":' + b"9" * 5000 + b"}"), "a frame is not JSON"),
        (payload(b"{}"), "a frame is no request"),
        (payload(b'{"id": true, "op": "usage"}'), "a request has no usable id"),
        (payload(b'{"id": -1, "op": "usage"}'), "a request has no usable id"),
        (payload(b'{"id": "1", "op": "usage"}'), "a request has no usable id"),
        (payload(b'{"id": 1.0, "op": "usage"}'), "a request has no usable id"),
        (payload(b'{"result": {"value": 1}}'), "a frame is no request"),
        (payload(b'{"log": "x"}'), "a frame is no request"),
    ],
)
async def test_a_broken_protocol_ends_the_connection_with_a_reason(peer: Peer, frame: bytes, reason: str) -> None:
    await peer.send(frame)
    assert await peer.receive() is None
    assert peer.broker.violation is not None
    assert reason in peer.broker.violation


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"op": "nothing"}, "invalid_argument"),
        ({}, "invalid_argument"),
        ({"op": "get"}, "invalid_argument"),
        ({"op": "get", "namespace": "n", "keys": ["a"], "user": "bob"}, "invalid_argument"),
        ({"op": "get", "namespace": "n", "keys": ["a"], "scope": {"user": "bob"}}, "invalid_argument"),
        ({"op": "get", "namespace": "n", "keys": "abc"}, "invalid_argument"),
        ({"op": "get", "namespace": "n", "keys": []}, "invalid_argument"),
        ({"op": "get", "namespace": "n", "keys": ["k"] * 1001}, "invalid_argument"),
        ({"op": "get", "namespace": "n", "keys": [{"$gt": ""}]}, "invalid_argument"),
        ({"op": "get", "namespace": {"$ne": 1}, "keys": ["k"]}, "invalid_argument"),
        ({"op": "get", "namespace": "@agent/other", "keys": ["k"]}, "invalid_name"),
        ({"op": "get", "namespace": "@@datastore", "keys": ["k"]}, "invalid_name"),
        ({"op": "get", "namespace": "", "keys": ["k"]}, "invalid_name"),
        ({"op": "get", "namespace": "n", "keys": ["\ud800"]}, "invalid_name"),
        ({"op": "scan", "namespace": "n", "limit": 1001}, "invalid_argument"),
        ({"op": "scan", "namespace": "n", "limit": True}, "invalid_argument"),
        ({"op": "scan", "namespace": "n", "detail": "all"}, "invalid_argument"),
        ({"op": "scan", "namespace": "n", "prefix": {"$regex": ".*"}}, "invalid_argument"),
        (apply({"kind": "drop"}), "invalid_argument"),
        (put({"value": 2**64}), "value_not_storable"),
        (put({"value": "x" * 10_000}), "value_too_large"),
        (put({"value_base64": "%"}), "invalid_argument"),
        (apply({"kind": "put", "key": "k"}, {"kind": "put", "key": "k"}), "invalid_argument"),
        (put({"ttl_seconds": 0}), "invalid_argument"),
        (put({"ttl_seconds": "5"}), "invalid_argument"),
        (put({"if_absent": True, "if_version": "v"}), "invalid_argument"),
        (put({"metadata": {"a": "x" * 20_000}}), "value_too_large"),
        ({"op": "copy", "namespace": "n", "target": "@agent/a"}, "invalid_name"),
        ({"tool": "tools:anything", "args": [], "kwargs": {}}, "invalid_argument"),
        ({"tool": 5}, "invalid_argument"),
    ],
    ids=lambda part: repr(part)[-60:],
)
async def test_a_refused_request_is_answered_and_the_connection_goes_on(peer: Peer, request_: Frame, code: str) -> None:
    frame = json.dumps({"id": 7, **request_}).encode()
    await peer.send(payload(frame), {"id": 8, "op": "usage"})
    answers = [await peer.receive(), await peer.receive()]
    found = {answer["id"]: answer for answer in answers if answer}
    assert found[7]["error"]["code"] == code
    assert "\n" not in found[7]["error"]["message"]
    assert found[8]["ok"]["keys"] == 0


async def test_many_containers_in_a_frame_are_refused_before_they_are_decoded(store: Store) -> None:
    peer = Peer(store, RunLimits())
    peer.broker._decoder.limit = 10**7
    await peer.start()
    await peer.send(payload(b'{"id":1,"op":[' + b"[]," * 100_000 + b"[]]}"))
    assert await peer.receive() is None
    assert peer.broker.violation == "a frame holds more than 200,000 values"
    peer.sock.close()
    await peer.broker.close()


async def test_commas_inside_strings_are_no_containers() -> None:
    text = ",[{" * 100_000 + '\\"'
    assert wire.unpack(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize(
    "frame",
    [
        b'{"a":"' + b"," * 200_001 + b'\\"' * 2_600_000,
        b'{"a":[' + b'"",' * 200_001 + b'""' * 2_000_000,
        b'{"a":"' + b"," * 200_001 + b"\\" * 5_000_000,
        '{"log":1,"x":["\u2201",'.encode("utf-16-le") + "[],".encode("utf-16-le") * 400_000,
        ('{"log":1,"x":["\u2201",' + "[]," * 400_000 + '""]}').encode("utf-16-le"),
    ],
    ids=["escaped quotes", "empty strings", "backslashes", "utf-16 cut", "utf-16"],
)
async def test_a_frame_made_to_be_slow_is_refused_at_once(store: Store, frame: bytes) -> None:
    """Quadratic work on one of these took hours; the bounded wait is many times what linear work takes."""
    peer = Peer(store, RunLimits())
    peer.broker._decoder.limit = 10**7
    await peer.start()
    async with asyncio.timeout(10):
        sending = asyncio.create_task(peer.send(payload(frame)))
        assert await peer.receive() is None
        await asyncio.gather(sending, return_exceptions=True)
    assert peer.broker.violation is not None
    peer.sock.close()
    await peer.broker.close()


@pytest.mark.parametrize(
    ("limits", "frame"),
    [
        (RunLimits(calls=10), {"id": 1, "op": "usage"}),
        (RunLimits(calls=10), {"id": 1, "op": "nothing"}),
        (RunLimits(bytes=1000), {"id": 1, "op": "x" * 40_000}),
    ],
)
async def test_who_goes_on_long_after_the_budget_is_used_up_is_cut_off(
    store: Store, limits: RunLimits, frame: Frame
) -> None:
    peer = Peer(store, limits)
    await peer.start()

    async def flood() -> None:
        with contextlib.suppress(OSError):
            await peer.send(*[frame] * 2_000)

    async with asyncio.timeout(30):
        flooding = asyncio.create_task(flood())
        while await peer.receive() is not None:
            pass
        await flooding
    assert peer.broker.violation == "it went on calling after its budget was used up"
    assert peer.broker.record.calls <= 1_100
    peer.sock.close()
    await peer.broker.close()


async def test_a_mistake_is_explained_in_few_words_however_large_it_is(peer: Peer) -> None:
    await peer.send({"id": 1, "op": "x" * 50_000}, {"id": 2, "op": "usage", **{f"f{i}": 1 for i in range(1000)}})
    answers = {answer["id"]: answer for answer in [await peer.receive(), await peer.receive()] if answer}
    assert all(len(json.dumps(answer)) < 600 for answer in answers.values())
    assert answers[2]["error"]["message"] == "not an operation: it has more fields than any operation has."


async def test_a_reused_id_is_the_peers_own_confusion_and_harms_nobody(peer: Peer) -> None:
    await peer.send(*({"id": 1, "op": "usage"} for _ in range(3)))
    assert [(await peer.receive() or {}).get("id") for _ in range(3)] == [1, 1, 1]


async def test_frames_may_come_byte_by_byte(peer: Peer) -> None:
    frame = wire.pack({"id": 1, "op": "count", "namespace": "n"})
    for index in range(len(frame)):
        await peer.send(frame[index : index + 1])
    assert await peer.receive() == {"id": 1, "ok": {"number": 0}}


async def test_no_more_than_the_granted_calls_are_in_flight(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forced with an engine that answers nobody until all that may come have come."""
    running, most = 0, 0
    full, go_on = asyncio.Event(), asyncio.Event()
    real = store.engine.count

    async def count(*args: Any) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 4:
            full.set()
        await go_on.wait()
        running -= 1
        return await real(*args)

    monkeypatch.setattr(store.engine, "count", count)
    peer = Peer(store, RunLimits(in_flight=4))
    await peer.start()
    await peer.send(*({"id": i, "op": "count", "namespace": "n"} for i in range(1, 41)))
    async with asyncio.timeout(30):
        await full.wait()
    for _ in range(100):  # Room for a fifth to begin, if it may.
        await asyncio.sleep(0)
    assert running == 4
    go_on.set()
    assert {(await peer.receive() or {})["id"] for _ in range(40)} == set(range(1, 41))
    assert most == 4
    peer.sock.close()
    await peer.broker.close()


async def test_calls_one_after_another_need_one_task_and_leave_none(peer: Peer) -> None:
    before = len(asyncio.all_tasks())
    for number in range(1, 6):
        await peer.send({"id": number, "op": "nothing"})
        await peer.receive()
        assert len(asyncio.all_tasks()) == before + 1
    peer.sock.close()
    await peer.broker.close()
    assert len(asyncio.all_tasks()) == before


async def test_a_peer_that_never_reads_is_not_read_from_any_more(store: Store) -> None:
    """Its replies would fill the host's memory; instead it fills its own end of the socket."""
    peer = Peer(store, RunLimits(in_flight=4, bytes=2**40, calls=10**9))
    await peer.start()
    await peer.send(
        {"id": 1, "op": "apply", "namespace": "n", "mutations": [{"kind": "put", "key": "k", "value": "x" * 9000}]}
    )
    await peer.receive()
    frame = wire.pack({"id": 2, "op": "get", "namespace": "n", "keys": ["k"]})
    flooding = asyncio.create_task(peer.send(*[frame] * 20_000))
    done, _ = await asyncio.wait({flooding}, timeout=3)
    assert not done
    assert peer.broker._transport is not None
    assert peer.broker._transport.get_write_buffer_size() < 2 * 1024 * 1024
    assert peer.broker.record.calls < 2_000
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)
    peer.sock.close()
    await peer.broker.close()


async def test_an_unexpected_failure_leaves_as_a_number_that_the_log_explains(
    store: Store, peer: Peer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> int:
        raise KeyError("driver text with secrets")

    monkeypatch.setattr(store.engine, "count", broken)
    await peer.send({"id": 1, "op": "count", "namespace": "n"})
    answer = await peer.receive()
    assert answer is not None
    assert answer["error"]["code"] == "internal"
    number = answer["error"]["fields"]["id"]
    assert "secrets" not in json.dumps(answer)
    assert number in caplog.text
    assert "driver text with secrets" in caplog.text


def test_another_protocol_number_is_refused_by_the_guest() -> None:
    from sandbox.guest.channel import Channel  # noqa: PLC0415 - the guest's side, here alone

    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(wire.pack({"hello": {"protocol": 2, "limits": {}}}))
        with pytest.raises(wire.ProtocolError, match="the host speaks protocol 2, not 1"):
            Channel(ours)
