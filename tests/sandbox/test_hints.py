"""A call that is nearly right fails before anything is done, with its mend in the message: one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from datastore.errors import CODES, DataStoreError, from_dict
from sandbox import ConnectedDataStore, connect
from sandbox.guest.hints import INSTEAD, KEYWORDS
from sandbox.guest.verbs import DataStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectedDataStore]:
    folder: Path = tmp_path_factory.mktemp("hints")
    with connect(f"sqlite:///{folder / 'store.db'}", user="alice", agent="a") as connected:
        yield connected


Nearly = Callable[[Any], object]

CASES: list[tuple[Nearly, type[Exception], str]] = [
    (lambda s: s.get(123), TypeError, 'key must be a string, got int 123. Write str(123) or f"user:{123}".'),
    (lambda s: s.get(("a", 1)), ValueError, "key must be a string, got tuple. Write a string such as 'report:1'."),
    (lambda s: s.set("k", 1, ttl=60), TypeError, 'set() has no "ttl". Use ttl_seconds=3600 (seconds from now).'),
    (lambda s: s.set("k", 1, ex=60), TypeError, 'set() has no "ex". Use ttl_seconds=3600 (seconds from now).'),
    (lambda s: s.set("k", 1, expire=1), TypeError, 'set() has no "expire". Use ttl_seconds=3600 (seconds from now).'),
    (
        lambda s: s.add("k", 1, timeout=60),
        TypeError,
        'add() has no "timeout". Use ttl_seconds=3600 (seconds from now).',
    ),
    (
        lambda s: s.list_keys(offset=3),
        TypeError,
        'list_keys() has no "offset". Use after=KEY, the last key you have seen.',
    ),
    (
        lambda s: s.list_keys(cursor="x"),
        TypeError,
        'list_keys() has no "cursor". Use after=KEY, the last key you have seen.',
    ),
    (
        lambda s: s.set("k", 1, namespace="n"),
        TypeError,
        'set() has no "namespace". Use use_namespace(name) and call the verb on that.',
    ),
    (
        lambda s: s.set("k", 1, flavour=1),
        TypeError,
        'set() has no "flavour". It takes key, value, metadata, ttl_seconds, if_version.',
    ),
    (
        lambda s: s.set("k"),
        TypeError,
        "set() needs value. It takes key, value, metadata, ttl_seconds, if_version.",
    ),
    (lambda s: s.get(), TypeError, "get() needs key. It takes key, default."),
    (
        lambda s: s.set("k", 1, {}, 60),
        TypeError,
        "set() takes at most 3 arguments by position, got 4. Write ttl_seconds=...",
    ),
    (
        lambda s: s.delete("a", "b"),
        TypeError,
        "delete() takes at most 1 argument by position, got 2. Write if_version=...",
    ),
    (
        lambda s: s.count("a", "b"),
        TypeError,
        "count() takes at most 1 argument by position, got 2. It takes prefix.",
    ),
    (lambda s: s.get("k", key="k"), TypeError, "get() was given key twice. Leave one out."),
    (
        lambda s: s.items(cursor="x"),
        TypeError,
        'items() has no "cursor". Use after=KEY, the last key you have seen.',
    ),
    (lambda s: s.keys(offset=3), TypeError, 'keys() has no "offset". Use after=KEY, the last key you have seen.'),
    (
        lambda s: s.use_namespace(namespace="x"),
        TypeError,
        'use_namespace() has no "namespace". Use use_namespace(name) and call the verb on that.',
    ),
    (lambda s: s.use_namespace(), TypeError, "use_namespace() needs name. It takes name."),
    (
        lambda s: s.use_namespace(5),
        TypeError,
        'namespace must be a string, got int 5. Write str(5) or f"user:{5}".',
    ),
    (lambda s: s.items(5), TypeError, 'prefix must be a string, got int 5. Write str(5) or f"user:{5}".'),
    (
        lambda s: s.get_many("abc"),
        TypeError,
        "get_many needs a list of keys, got the string 'abc'. Write get_many(['abc']).",
    ),
    (
        lambda s: s.delete_many("abc"),
        TypeError,
        "delete_many needs a list of keys, got the string 'abc'. Write delete_many(['abc']).",
    ),
    (lambda s: s.get_many(5), TypeError, "get_many needs a list of keys, got int. Write get_many(['a', 'b'])."),
    (
        lambda s: s.set_many("abc"),
        TypeError,
        "set_many needs a dict of key to value, got str. Write set_many({'a': 1, 'b': 2}).",
    ),
    (
        lambda s: s.set_many(["abc"]),
        TypeError,
        "set_many needs a dict of key to value; item 0 is str, not a pair (key, value).",
    ),
    (
        lambda s: s.set_many([("a", 1), ("a", 2)]),
        ValueError,
        "set_many needs a dict of key to value; 'a' is named twice. Leave one out.",
    ),
    (
        lambda s: s.set("k", 1, if_version=None),
        ValueError,
        (
            "if_version=None: there was no entry when you looked. "
            "Use data_store.ABSENT to require that, or leave if_version out to overwrite."
        ),
    ),
    (
        lambda s: s.set("k", 1, if_version=3),
        TypeError,
        "if_version needs a version string, got int. Write if_version=entry.version.",
    ),
    (
        lambda s: s.set("k", 1, "note"),
        TypeError,
        "metadata must be a dict, got str. Write metadata={'note': ...}.",
    ),
    (
        lambda s: s.set("k", 1, ttl_seconds=timedelta(hours=1)),
        TypeError,
        "ttl_seconds is a number of seconds, got timedelta. Write ttl_seconds=delta.total_seconds().",
    ),
    (
        lambda s: s.touch("k", datetime.now(UTC)),
        TypeError,
        (
            "ttl_seconds is a number of seconds from now, got datetime. "
            "Write ttl_seconds=(when - datetime.now(UTC)).total_seconds()."
        ),
    ),
    (
        lambda s: s.set("k", 1, ttl_seconds=0),
        ValueError,
        "ttl_seconds=0 must be above 0 and at most ten years. Write ttl_seconds=3600 (seconds).",
    ),
    (
        lambda s: s.list_keys(limit=0),
        ValueError,
        "limit must be an integer of at least 1, got 0. Leave it out for all.",
    ),
    (lambda s: s.set("k", s), TypeError, "value: data_store is a handle, not data; return values, or entry.as_dict()."),
    (
        lambda s: s.set("k", "x" * 5_000_000),
        ValueError,
        (
            "value is 5,000,002 bytes; the limit is 4,194,304. Split it over keys such as 'report:0001' "
            "and read it back with items(prefix='report:')."
        ),
    ),
    (lambda s: s.gett("k"), AttributeError, "data_store has no 'gett'. Did you mean 'get'?"),
    (
        lambda s: s.use_namespace("@locks/x"),
        ValueError,
        "namespace '@locks/x' begins with '@', which marks what the host makes. Write another name.",
    ),
]


def begin(call: Nearly, face: object) -> None:
    """Make a call; an awaitable one checks its values when it is first awaited."""
    answer = call(face)
    if isinstance(answer, Coroutine):
        answer.send(None)


@pytest.mark.parametrize(("call", "kind", "message"), CASES, ids=[message[:40] for *_, message in CASES])
def test_a_nearly_right_call_is_told_its_mend(
    store: ConnectedDataStore, call: Nearly, kind: type[Exception], message: str
) -> None:
    for face in (store, store.aio):
        with pytest.raises(kind) as caught:
            begin(call, face)
        assert isinstance(caught.value, DataStoreError)
        assert str(caught.value) == message
    assert store.count() == 0


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_a_verb_of_another_store_is_answered_with_one_of_this(store: ConnectedDataStore, name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(store, name)
    assert str(caught.value) == f"data_store has no {name!r}. Write {INSTEAD[name]}."
    suggested = re.findall(r"data_store\.(\w+)", INSTEAD[name])
    assert suggested
    assert all(hasattr(DataStore, each) for each in suggested)


@pytest.mark.parametrize("keyword", sorted(KEYWORDS))
def test_a_keyword_of_another_store_is_answered_with_what_is_meant(store: ConnectedDataStore, keyword: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f'count() has no "{keyword}". Use {KEYWORDS[keyword]}.')):
        store.count(**{keyword: 1})  # type: ignore[arg-type]  # the mistake is the case
    assert store.count() == 0


ONE_FACE: list[tuple[Nearly, str]] = [
    (lambda s: s.use_namespace("n").__await__(), 'a data_store is made without waiting. Remove "await" before it.'),
    (lambda s: s.keys().__await__(), 'keys() is not awaited. Write "async for ... in data_store.aio.keys()".'),
    (lambda s: s.aio.items().__await__(), 'items() is not awaited. Write "async for ... in data_store.aio.items()".'),
    (lambda s: aiter(s.items()), 'data_store.items() is for "for". Write "async for ... in data_store.aio.items()".'),
    (aiter, 'data_store is for "for". Write "async for key in data_store.aio.keys()".'),
    (lambda s: iter(s.aio.items()), 'data_store.aio.items() is for "async for". Write "async for ... in" it.'),
    (lambda s: iter(s.aio), 'data_store.aio is not iterable. Write "async for key in data_store.aio.keys()".'),
    (lambda s: len(s.aio), "data_store.aio has no len(). Write await data_store.aio.count()."),
    (lambda s: "k" in s.aio, "data_store.aio has no \"in\". Write await data_store.aio.exists('k')."),
    (lambda s: s.aio["k"], "data_store.aio has no [...]. Write await data_store.aio.get('k')."),
    (lambda s: s.aio.__setitem__("k", 1), "data_store.aio has no [...]. Write await data_store.aio.set('k', value)."),
    (lambda s: s.aio.__delitem__("k"), "data_store.aio has no [...]. Write await data_store.aio.delete('k')."),
    (
        lambda s: delattr(s, "namespace"),
        "data_store.namespace cannot be deleted. Write data_store.delete('namespace').",
    ),
]


@pytest.mark.parametrize(("call", "message"), ONE_FACE, ids=[message[:40] for _, message in ONE_FACE])
def test_what_only_the_other_face_can_do_is_told_its_mend(
    store: ConnectedDataStore, call: Nearly, message: str
) -> None:
    with pytest.raises(DataStoreError) as caught:
        call(store)
    assert str(caught.value) == message
    assert store.namespace == "default"


def test_no_verb_is_among_the_names_of_other_stores() -> None:
    assert not [name for name in INSTEAD if hasattr(DataStore, name)]


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_error_crosses_the_wire_by_its_code(code: str) -> None:
    kind = CODES[code]
    rebuilt = from_dict({"code": code, "message": "what to do", "fields": {"key": "k"}})
    assert type(rebuilt) is kind
    assert (str(rebuilt), rebuilt.key, rebuilt.as_dict()["code"]) == ("what to do", "k", code)


def test_an_unknown_code_becomes_the_base_error() -> None:
    assert type(from_dict({"code": "later", "message": "m"})) is DataStoreError


def test_every_error_an_agent_may_meet_is_an_attribute_of_data_store(store: ConnectedDataStore) -> None:
    host_only = {"ConfigurationError", "SandboxUnavailable"}
    assert {kind.__name__ for kind in CODES.values()} - host_only == {
        name for name in dir(store) if isinstance(getattr(DataStore, name, None), type) and name[0].isupper()
    }
