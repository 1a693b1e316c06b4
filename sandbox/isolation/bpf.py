"""Classic BPF, as far as a seccomp filter needs it: five instructions and their bytes.

A filter reads words of `struct seccomp_data` (number, architecture, instruction pointer, six arguments)
and ends with an action. Each instruction is the kernel's `struct sock_filter`; both jump offsets count the
instructions to skip. Offsets are one byte, so every rule here is self-contained and jumps only within itself.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER_OFFSET: Final = 0
ARCHITECTURE_OFFSET: Final = 4
_ARGUMENTS_OFFSET: Final = 16

_LOAD_WORD: Final = 0x20
_AND: Final = 0x54
_JUMP_EQUAL: Final = 0x15
_JUMP_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06


class Instruction(NamedTuple):
    """One `struct sock_filter`."""

    code: int
    if_true: int
    if_false: int
    operand: int


def load(offset: int) -> Instruction:
    """Load the 32-bit word at an offset of `struct seccomp_data`."""
    return Instruction(_LOAD_WORD, 0, 0, offset)


def load_argument(index: int) -> Instruction:
    """Load the low half of an argument.

    Every argument that a rule looks at is a 32-bit one to the kernel, which drops the high half; a filter
    that compared it too would judge another number than the one that is used.
    """
    return load(_ARGUMENTS_OFFSET + 8 * index)


def mask(bits: int) -> Instruction:
    """Keep only these bits of the loaded word."""
    return Instruction(_AND, 0, 0, bits)


def if_equal(value: int, action: int) -> list[Instruction]:
    """End with the action if the loaded word is the value, else go on behind it."""
    return [Instruction(_JUMP_EQUAL, 0, 1, value), end(action)]


def unless_equal(value: int, action: int) -> list[Instruction]:
    """End with the action if the loaded word is another value, else go on behind it."""
    return [Instruction(_JUMP_EQUAL, 1, 0, value), end(action)]


def if_at_least(value: int, action: int) -> list[Instruction]:
    """End with the action if the loaded word is the value or more, else go on behind it."""
    return [Instruction(_JUMP_AT_LEAST, 0, 1, value), end(action)]


def when_equal(value: int, block: list[Instruction]) -> list[Instruction]:
    """Run a block, which must end with an action, if the loaded word is the value; else skip it."""
    return [Instruction(_JUMP_EQUAL, 0, len(block), value), *block]


def end(action: int) -> Instruction:
    """End the filter with an action."""
    return Instruction(_RETURN, 0, 0, action)


def assemble(program: Iterable[Instruction]) -> bytes:
    """Return the bytes that the kernel and bubblewrap's `--seccomp` take."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
