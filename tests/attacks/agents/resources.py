"""Attacks on what a machine has little of: threads, memory, descriptors, processor time. Each is bounded by itself."""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import resource
import signal
import socket
import threading
from typing import Final

from tests.attacks.agents.attempt import Attempt

THREADS: Final = 100
DESCRIPTORS: Final = 200
PIECE: Final = 64 * 1024 * 1024
PIECES: Final = 32
SIGNALS: Final = 500
PIPE_BYTES: Final = 1024 * 1024


def thread_bomb(attempt: Attempt) -> str:
    """Threads with stacks so small that memory for them is not what runs out."""
    threading.stack_size(PIECE // 256)
    enough = threading.Event()
    threads = [threading.Thread(target=enough.wait, args=(10,), daemon=True) for _ in range(THREADS)]
    attempt.begin()
    try:
        for thread in threads:
            thread.start()
    finally:
        enough.set()
    return f"{len(threads)} threads"


def memory_bomb(attempt: Attempt) -> str:
    """Reserve two gigabytes and touch none of them."""
    attempt.begin()
    held = [mmap.mmap(-1, PIECE) for _ in range(PIECES)]
    return f"{len(held) * PIECE} bytes"


def stack_bomb(attempt: Attempt) -> str:
    """Reserve memory as the stacks of threads."""
    threading.stack_size(PIECE * 8)
    enough = threading.Event()
    attempt.begin()
    try:
        for _ in range(6):
            threading.Thread(target=enough.wait, args=(10,), daemon=True).start()
    finally:
        enough.set()
    return "six stacks"


def lock_memory(attempt: Attempt) -> str:
    attempt.libc("mlockall", 1)
    return "all of it stays in memory"


def use_up_descriptors(attempt: Attempt) -> str:
    with contextlib.ExitStack() as stack:
        attempt.begin()
        for _ in range(DESCRIPTORS):
            stack.callback(os.close, os.dup(1))
        return f"{DESCRIPTORS} descriptors"


def use_up_pipes(attempt: Attempt) -> str:
    with contextlib.ExitStack() as stack:
        attempt.begin()
        for _ in range(DESCRIPTORS):
            for descriptor in os.pipe():
                stack.callback(os.close, descriptor)
        return f"{DESCRIPTORS} pipes"


def grow_a_pipe(attempt: Attempt) -> str:
    """Hold memory of the kernel's, which no limit of ours counts; all guests of an account share what it may hold."""
    source, sink = os.pipe()
    attempt.begin()
    try:
        return f"{fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, PIPE_BYTES)} bytes"
    finally:
        os.close(source)
        os.close(sink)


def use_up_descriptors_in_flight(attempt: Attempt) -> str:
    """Hold more files than we may have open: send them to ourselves and never receive them."""
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(4)]
        for one, other in pairs:
            stack.enter_context(one)
            stack.enter_context(other)
        attempt.begin()
        for each in range(DESCRIPTORS):
            message = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))]
            pairs[each % len(pairs)][0].sendmsg([b"x"], message)
        return f"{DESCRIPTORS} in flight"


def queue_signals(attempt: Attempt) -> str:
    """Queue signals to ourselves that we never take; the kernel counts them for all guests of an account together."""
    waiting = signal.SIGRTMIN + 5
    signal.pthread_sigmask(signal.SIG_BLOCK, {waiting})
    for _ in range(SIGNALS):
        attempt.libc("sigqueue", os.getpid(), waiting, None)
    return f"{SIGNALS} signals"


def raise_a_limit(attempt: Attempt) -> str:
    """Set a limit to one more; outside, the soft one is lowered before, which is what a careless host would do."""
    kind = getattr(resource, attempt.given["limit"])
    soft, hard = resource.getrlimit(kind)
    if attempt.given["careless"]:
        soft = hard - 1 if hard > 0 else 2**40
        resource.setrlimit(kind, (soft, hard))
    attempt.begin()
    resource.setrlimit(kind, (soft + 1, hard if attempt.given["careless"] else soft + 1))
    return "it is higher now"


def be_first(attempt: Attempt) -> str:
    attempt.begin()
    os.nice(-1)
    return "it is preferred"


def be_last(attempt: Attempt) -> str:
    attempt.begin()
    os.nice(1)
    return "its priority is its own choice"


def run_in_real_time(attempt: Attempt) -> str:
    parameters = os.sched_param(1)
    attempt.begin()
    os.sched_setscheduler(0, os.SCHED_FIFO, parameters)
    return "nobody else runs"


def use_up_terminals(attempt: Attempt) -> str:
    """A machine has some thousands, which all of its containers share."""
    attempt.begin()
    os.close(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    return "a terminal"
