"""What was written is what comes back, of the same type."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datastore.backends.sql import SqlBackend
from tests.sql.words import apply, opened, put, read

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    -0.0,
    2**63 - 1,
    -(2**63),
    2**53 + 1,
    5e-324,
    1.7976931348623157e308,
    0.1,
    "",
    "nul \0 in a string",
    "null",
    "'; DROP TABLE entries; --",
    "\ud7ff\ue000\U0010ffff",
    [],
    {},
    {"": {"$set": [None, {"a.b": 1}]}},
    {"z": 1, "a": 2},
    [[[[]]]],
    b"",
    b"\0\xff\xfe",
    bytes(range(256)) * 4096,
    "x" * 4 * 1024 * 1024,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
async def test_a_value_comes_back_as_it_was(store: SqlBackend, value: Any) -> None:
    await apply(store, put("k", value))

    entry = await read(store, "k")
    assert entry is not None
    assert (repr(entry.value), type(entry.value)) == (repr(value), type(value))


async def test_a_value_may_change_between_json_and_bytes(store: SqlBackend) -> None:
    for value in (1, b"1", "1", b""):
        await apply(store, put("k", value))
        entry = await read(store, "k")
        assert entry is not None
        assert entry.value == value


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT.filter(lambda name: "\0" not in name), inner),
    max_leaves=20,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(JSON | st.binary(), max_size=20))
def test_any_json_and_any_bytes_come_back_as_they_were(values: list[Any]) -> None:
    async def round_trip() -> list[Any]:
        store = await opened("sqlite://")
        await apply(store, *(put(f"{number:02}", value) for number, value in enumerate(values)))
        entries = [await read(store, f"{number:02}") for number in range(len(values))]
        await store.aclose()
        return [entry.value for entry in entries if entry is not None]

    assert repr(asyncio.run(round_trip())) == repr(values)
