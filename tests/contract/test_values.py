"""Which values and names are storable: exact round trips, and refusals that name the culprit before any write."""

from __future__ import annotations

import decimal
import enum
import json
import math
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

from datastore.errors import InvalidName, ValueNotStorable
from tests.world import World


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@dataclass
class Thing:
    a: int


class Model(BaseModel):
    a: int


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


EXACT: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    0.1,
    -0.0,
    1e308,
    5e-324,
    "",
    "a\0b",
    "é e\u0301 😀 \ue000 \U0010ffff",
    [],
    {},
    [[], {}, [None]],
    {"$ref": "x", "$id": "y"},
    {"$ref": 5},
    {"$ref": "c", "$id": 1, "$db": "d", "more": [1]},
    {"$set": {"a.b": 1}},
    {"$oid": "5f0000000000000000000000"},
    {"": 1, "a.b": {"$c": 1}, ".": 1, "$": 1},
    {"__proto__": 1, "_id": 2, "value": 3},
    {"b": 1, "a": 2},
    nested(64),
    b"",
    b"\x00\xff" * 10,
]


@pytest.mark.parametrize("value", EXACT, ids=lambda value: repr(value)[:30])
def test_a_storable_value_comes_back_exactly_in_plain_types(the_world: World, value: Any) -> None:
    store = the_world.agent()
    store.set("k", value)
    for found in (store.get("k"), store.get_many(["k"])["k"], store.get_all()["k"], store["k"]):
        assert found == value
        assert type(found) is type(value)
        if not isinstance(value, bytes):
            assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)


def test_a_negative_zero_and_large_integers_keep_their_kind(the_world: World) -> None:
    store = the_world.agent()
    store.set("k", {"zero": -0.0, "float": 1e15, "int": 10**15})
    found = store.get("k")
    assert math.copysign(1, found["zero"]) == -1
    assert (type(found["float"]), type(found["int"])) == (float, int)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        (Point(1, 2), [1, 2]),
        ({1: "a", 1.5: "b", None: "d"}, {"1": "a", "1.5": "b", "null": "d"}),
        ({True: "c", None: "d", 2: "e"}, {"true": "c", "null": "d", "2": "e"}),
        (OrderedDict(a=1), {"a": 1}),
        (Colour.RED, "red"),
        ({Colour.RED: Colour.RED}, {"red": "red"}),
        (Number.ONE, 1),
    ],
    ids=repr,
)
def test_what_json_dumps_would_write_is_stored_as_it_would_be(the_world: World, value: Any, stored: Any) -> None:
    store = the_world.agent()
    store.set("k", value)
    assert store.get("k") == stored == json.loads(json.dumps(value))


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


REFUSED: list[tuple[Any, str]] = [
    (2**63, r"^value: an integer of 64 bits; 64 with the sign is the most"),
    ({"n": -(2**63) - 1}, r"^value\.n: an integer of 64 bits"),
    (math.nan, r"^value: nan is not JSON; store None or a string"),
    ([1, math.inf], r"^value\[1\]: inf is not JSON"),
    (
        {"items": [0, 1, 2, {"when": datetime.now(UTC)}]},
        r"^value\.items\[3\]\.when: datetime is not JSON; store \.isoformat\(\)$",
    ),
    (date(2026, 1, 1), r"date is not JSON; store \.isoformat\(\)"),
    (timedelta(1), r"timedelta is not JSON; store \.total_seconds\(\)"),
    ({1, 2}, r"set is not JSON; store sorted\(\.\.\.\) as a list"),
    (decimal.Decimal(1), r"Decimal is not JSON; store str\(\.\.\.\) or float"),
    (uuid.UUID(int=1), r"UUID is not JSON; store str"),
    (Path("a"), r"PosixPath is not JSON; store str"),
    (Thing(1), r"Thing is not JSON; store dataclasses\.asdict"),
    (Model(a=1), r"Model is not JSON; store \.model_dump\(\)"),
    (range(3), r"range is not JSON; store list"),
    (len, r"builtin_function_or_method is not JSON"),
    ([b"x"], r"^value\[0\]: bytes is not JSON; bytes can only be a whole value"),
    (bytearray(b"x"), r"bytearray is not JSON; store bytes"),
    ("\ud800", r"^value: a lone surrogate at position 0"),
    ({"a": ["x\udfff"]}, r"^value\.a\[0\]: a lone surrogate at position 1"),
    ({"\ud800": 1}, r"a lone surrogate"),
    ({"a\0b": 1}, r"NUL character"),
    ({1: "a", "1": "b"}, r"^value: two keys become the same string '1'; rename one"),
    ({(1, 2): 3}, r"a key of type tuple is not JSON"),
    ({"a b": {1}}, r"^value\['a b'\]: set"),
    (nested(65), r"nested deeper than 64 levels"),
    (cyclic(), r"or it contains itself"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=lambda part: repr(part)[:30])
def test_what_is_not_json_is_refused_with_the_path_of_the_culprit(the_world: World, value: Any, message: str) -> None:
    store = the_world.agent()
    for call in (
        lambda: store.set("k", value),
        lambda: store.add("k", value),
        lambda: store.set("k", 1, {"m": value}),
    ):
        with pytest.raises(ValueNotStorable) as caught:
            call()
        assert isinstance(caught.value, TypeError)
    with pytest.raises(ValueNotStorable, match=message):
        store.set("k", value)
    assert store.count() == 0


@pytest.mark.parametrize("metadata", [[1], "x", 5, b"x"], ids=repr)
def test_metadata_that_is_no_dict_is_refused(the_world: World, metadata: Any) -> None:
    with pytest.raises(ValueNotStorable, match="metadata must be a dict"):
        the_world.agent().set("k", 1, metadata)


NAMES: list[tuple[Any, str]] = [
    (123, r'^key must be a string, got int 123\. Write str\(123\) or f"user:\{123\}"\.$'),
    (None, "key must be a string, got NoneType"),
    ({"$gt": ""}, "key must be a string, got dict"),
    (b"k", r"got bytes\. Write value\.decode\(\)"),
    ("", "key must not be empty"),
    ("a\0", "NUL character at position 1"),
    ("\ud800", "lone surrogate"),
    ("x" * 1025, r"key is 1,025 bytes of UTF-8; the limit is 1,024"),
    ("é" * 513, r"key is 1,026 bytes"),
]


@pytest.mark.parametrize(("key", "message"), NAMES, ids=lambda part: repr(part)[:30])
def test_an_unusable_key_is_refused_by_every_verb_that_takes_one(the_world: World, key: Any, message: str) -> None:
    store = the_world.agent()
    for call in (
        lambda: store.get(key),
        lambda: store.get_entry(key),
        lambda: store.exists(key),
        lambda: store.expires_in(key),
        lambda: store.set(key, 1),
        lambda: store.add(key, 1),
        lambda: store.delete(key),
        lambda: store.touch(key, 5),
        lambda: store.get_many([key]),
        lambda: store.delete_many([key]),
        lambda: store.set_many([(key, 1)]),
    ):
        with pytest.raises(InvalidName, match=message):
            call()
    assert store.count() == 0


def test_the_longest_names_are_usable(the_world: World) -> None:
    store = the_world.agent(user="u" * 256, agent="a" * 256).use_namespace("é" * 128)
    store.set("k" * 1024, 1)
    assert store.get("k" * 1024) == 1
    assert store.private().list_keys() == []


@pytest.mark.parametrize("namespace", [1, "", None, "a\0", "n" * 257, "\ud800"], ids=lambda part: repr(part)[:20])
def test_an_unusable_namespace_is_refused(the_world: World, namespace: Any) -> None:
    with pytest.raises(InvalidName, match="namespace"):
        the_world.agent().use_namespace(namespace)
