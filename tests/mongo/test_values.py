"""What was written is what comes back, in plain types, whatever it looks like to MongoDB."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st
from pymongo.collection import Collection

from datastore import values
from datastore.backends.mongo import MongoBackend, documents
from datastore.document import Span
from datastore.entry import NEVER
from datastore.errors import ValueTooLarge
from tests.mongo.words import HERE, NOW, at, write


def deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = {"$ref": value, "$id": 1} if level % 2 else [value]
    return value


ODD: list[Any] = [
    deep(values.MAX_DEPTH),
    {"$set": {"a.b": 1}},
    {"$ref": "x", "$id": 1},
    {"$id": 1, "z": {"$id": 2, "$ref": "y", "$db": "d", "more": 3}, "$ref": "x"},
    [{"$ref": "x", "$id": {"$ref": "y", "$id": [2**40]}}],
    {"$ref": 5},
    {"$ref": 5, "$id": 1},
    {"$ref": None, "$id": None, "$db": 3},
    {"$ref": "a\0b", "$id": 1},
    {"": 1},
    {"": {"": {"$": ""}}},
    {"a.b": {"$c": 1}},
    {"_id": {"$oid": "x"}, "$date": 0, "$numberLong": "1", "$code": "x", "$scope": {}},
    {"$where": "1", "$expr": {"$gt": ["$a", 1]}},
    "$value",
    "a\0b \U0010ffff",
    2**31,
    -(2**63),
    2**63 - 1,
    [2**40, {"n": 2**40}],
    1e308,
    5e-324,
    1.0,
    True,
    None,
    [],
    {},
    b"",
    b"\0\xff",
]


def types(value: Any) -> Any:
    """Return a value with the exact types and the order of its parts."""
    if isinstance(value, dict):
        return type(value), [(key, types(part)) for key, part in value.items()]
    if isinstance(value, list):
        return type(value), [types(part) for part in value]
    return type(value), value


@pytest.mark.parametrize("way", ["put", "add", "over expired", "if_version"])
async def test_a_value_comes_back_exactly(backend: MongoBackend, way: str) -> None:
    written = {f"{number:02} {value!r:.40}".replace("\0", "0"): value for number, value in enumerate(ODD)}
    if way in ("over expired", "if_version"):
        expires_at = NOW if way == "over expired" else NEVER
        await backend.apply(HERE, [write(key, expires_at=expires_at) for key in written], at())
    conditions: dict[str, dict[str, Any]] = {"add": {"if_absent": True}, "if_version": {"if_version": "v1"}}
    condition = conditions.get(way, {})
    await backend.apply(HERE, [write(key, value, "v2", **condition) for key, value in written.items()], at())
    entries, _ = await backend.get(HERE, list(written), NOW)
    page, _ = await backend.scan(HERE, Span(), NOW)
    for key, value in written.items():
        found = [each.value for each in (*entries, *page) if each.key == key]
        assert [types(each) for each in found] == [types(value)] * 2


async def test_metadata_keys_are_never_paths_or_operators(backend: MongoBackend) -> None:
    metadata = {"a.b": 1, "$": 2**40, "": {"$ref": "x", "$id": 1}}
    await backend.apply(HERE, [write("new", metadata=metadata)], at())
    await backend.apply(HERE, [write("added", metadata=metadata, if_absent=True)], at())
    await backend.apply(HERE, [write("old"), write("expired", expires_at=NOW)], at())
    await backend.apply(HERE, [write("old", metadata=metadata), write("expired", metadata=metadata)], at())
    for stub in await backend.peek(HERE, ["new", "added", "old", "expired"], NOW):
        assert types(stub.metadata) == types(metadata)


async def test_metadata_is_replaced_whole_and_none_keeps_what_stands(backend: MongoBackend) -> None:
    await backend.apply(HERE, [write("k", metadata={"a": 1})], at())
    await backend.apply(HERE, [write("k", 2)], at())
    assert [stub.metadata for stub in await backend.peek(HERE, ["k"], NOW)] == [{"a": 1}]
    await backend.apply(HERE, [write("k", 3, metadata={"b": 2})], at())
    assert [stub.metadata for stub in await backend.peek(HERE, ["k"], NOW)] == [{"b": 2}]


async def test_a_stored_document_has_the_fields_of_the_design_and_native_types(
    backend: MongoBackend, stored: Collection[dict[str, Any]]
) -> None:
    await backend.apply(HERE, [write("k", b"\0\1", metadata={"m": 1}), write("n", {"a": [1.5]})], at())
    document = stored.find_one({"key": "k"})
    assert document is not None
    assert set(document) == {
        *("_id", "userId", "namespace", "key", "value", "metadata", "version", "sizeBytes"),
        *("createdAt", "updatedAt", "lastAccessedAt", "expiresAt", "accessCount"),
        *("createdByAgent", "updatedByAgent", "lastAccessedByAgent", "createdByRun", "updatedByRun"),
    }
    assert (document["_id"], document["value"]) == ("alice:notes:aw==", b"\0\1")
    assert stored.count_documents({"value.a": 1.5}) == 1


async def test_a_value_that_bson_blows_up_is_refused_before_anything_is_sent(
    backend: MongoBackend, stored: Collection[dict[str, Any]]
) -> None:
    items = [1] * (2**20)
    with pytest.raises(ValueTooLarge) as caught:
        await backend.apply(HERE, [write("small"), write("k", [items, items, items])], at())
    assert caught.value.bytes > caught.value.limit_bytes == documents.LARGEST_BYTES
    assert stored.count_documents({}) == 0


@pytest.mark.slow
async def test_the_largest_values_fit_beside_the_largest_metadata(backend: MongoBackend) -> None:
    text = "x" * (values.VALUE_BYTES - 2)
    dense: list[list[int]] = [[]] * (2**20)
    metadata = {"m": [1] * 8180}
    assert values.size(metadata) <= values.METADATA_BYTES
    changes = [write("text", text, metadata=metadata), write("dense", dense, metadata=metadata)]
    assert (await backend.apply(HERE, changes, at())).changed == 2
    [entry], _ = await backend.get(HERE, ["dense"], NOW)
    assert entry.value == dense


@pytest.mark.parametrize("item", [1, [], 1.0, 1e9, {"": 0}, None, 10**10, ""])
def test_a_value_that_is_not_measured_always_fits(item: Any) -> None:
    value = [item] * (documents.MEASURED_BYTES // (values.size([item]) - 1))
    assert values.size(value) <= documents.MEASURED_BYTES + 1
    assert len(bson.encode({"value": value})) < documents.LARGEST_BYTES


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5)
NAMES = st.sampled_from(["$ref", "$id", "$db", "", "a.b", "$", "x"])
VALUES = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(value=VALUES)
def test_nothing_that_can_be_stored_fails_to_decode_or_changes(value: Any) -> None:
    raw = RawBSONDocument(bson.encode({"value": value}), documents.UNDECODED)
    assert types(documents.plain(raw)["value"]) == types(value)
