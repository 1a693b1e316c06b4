"""Agents that flood their host, each in a way of its own; the flood and the neighbour tests let them loose.

They speak to the host's socket by themselves, since the honest client would not let them.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = """
import os, signal, socket, stat, struct, threading, time
from sandbox.guest import wire

def is_socket(descriptor):
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False

peer = socket.socket(fileno=os.dup(next(each for each in range(3, 64) if is_socket(each))))

def get(number):
    return wire.pack({"id": number, "op": "get", "namespace": "default", "keys": ["k"]})

def put(number, value):
    mutation = {"kind": "put", "key": "big", "value": value}
    return wire.pack({"id": number, "op": "apply", "namespace": "default", "mutations": [mutation]})

def read():
    while peer.recv(2**20):
        pass

def talk(data):
    threading.Thread(target=read, daemon=True).start()
    while True:
        peer.sendall(data)

print("attempted", flush=True)
"""

_BODIES: Final = {
    "calls": """
def run():
    talk(b"".join(map(get, range(1, 200))))
""",
    "logs": """
def run():
    talk(wire.pack({"log": "x", "stream": "stdout"}) * 1000)
""",
    "prints": """
def run():
    while True:
        print("x" * 1000)
""",
    "biggest frames": """
def run():
    talk(put(1, {str(number): number for number in range(99_000)}))
""",
    "biggest answers": """
def run():
    peer.sendall(put(1, {str(number): number for number in range(99_000)}))
    talk(b"".join(wire.pack({"id": 2, "op": "get", "namespace": "default", "keys": ["big"]}) for _ in range(100)))
""",
    "half of a big frame": """
def run():
    whole = put(1, "x" * 4_000_000)
    peer.sendall(whole[:-1])
    time.sleep(60)
""",
    "answers left unread": """
def run():
    peer.sendall(put(1, "x" * 100_000))
    while True:
        peer.sendall(wire.pack({"id": 2, "op": "get", "namespace": "default", "keys": ["big"]}) * 100)
""",
    "calls left unanswered": """
async def run(_, tools):
    for _ in range(100):
        asyncio.ensure_future(tools["never"]())
    await asyncio.sleep(0.05)
    return "gone"
""",
    "long polls": """
def run():
    polls = [{"id": number, "op": "watch", "namespace": "default", "wait_seconds": 30} for number in range(1, 17)]
    peer.sendall(b"".join(map(wire.pack, polls)))
    read()
""",
    "scans": """
def run():
    mutations = [{"kind": "put", "key": str(number), "value": number} for number in range(1000)]
    peer.sendall(wire.pack({"id": 1, "op": "apply", "namespace": "many", "mutations": mutations}))
    talk(b"".join(wire.pack({"id": 2, "op": "scan", "namespace": "many"}) for _ in range(100)))
""",
    "death in a frame": """
def run():
    peer.sendall(get(1)[:-1])
    os._exit(1)
""",
    "death by signal": """
def run():
    peer.sendall(get(1) * 10)
    import ctypes
    ctypes.string_at(0)
""",
    "a socket kept open": """
def run():
    threading.Thread(target=lambda: [peer.sendall(get(each)) for each in range(1, 10**9)], daemon=True).start()
    time.sleep(0.01)
    return "kept"
""",
    "memory": """
def run():
    while True:
        held = [bytearray(2**20) for _ in range(100)]
""",
    "processors": """
import hashlib
def run():
    for _ in range(8):
        threading.Thread(target=lambda: [hashlib.sha256(bytes(2**20)) for _ in range(10**9)]).start()
""",
}

HOSTILE: Final = {name: HEAD + body for name, body in _BODIES.items()}
