"""incr: a number that any number of agents add to, and nothing else."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from datastore import Grant, Limits
from datastore.errors import AccessDenied, InvalidArgument, NotANumber, ValueNotStorable
from datastore.operations import Applied, Apply, Incr, Operation, Put
from tests.contract.test_concurrency import all_at_once
from tests.world import World

MOST, LEAST = 2**63 - 1, -(2**63)
HUGE = sys.float_info.max


def test_an_absent_entry_begins_as_initial_and_by(the_world: World) -> None:
    store = the_world.agent()
    begun = [
        store.incr("a"),
        store.incr("b", 5),
        store.incr("c", initial=10),
        store.incr("d", -2, initial=1),
        store.incr("e", 0.5),
        store.incr("f", initial=1.0),
        store.incr("g", 0),
    ]
    assert begun == [1, 5, 11, -1, 0.5, 2.0, 0]
    assert [type(each) for each in begun] == [int, int, int, int, float, float, int]
    assert list(store.get_all().values()) == begun


def test_it_adds_to_what_stands_and_initial_is_for_the_first_time_alone(the_world: World) -> None:
    store = the_world.agent()
    assert [store.incr("n", by, initial=100) for by in (1, 10, -50, 0)] == [101, 111, 61, 61]
    assert store.get("n") == 61


@pytest.mark.parametrize(
    ("standing", "by", "total"),
    [
        (1, 0.5, 1.5),
        (0.1, 0.2, 0.1 + 0.2),
        (0.5, 1, 1.5),
        (2.0, 1, 3.0),
        (2**31 - 1, 1, 2**31),
        (2**62, 2**62 - 1, MOST),
        (MOST, 0, MOST),
        (MOST - 1, 1, MOST),
        (LEAST + 1, -1, LEAST),
        (LEAST, MOST, -1),
        (2**53 + 1, 1, 2**53 + 2),
        (MOST, 1.0, float(MOST)),
        (HUGE, 1, HUGE),
        (HUGE, 1.0, HUGE),
        (HUGE / 2, HUGE / 2, HUGE),
        (-HUGE, HUGE, 0.0),
        (5e-324, -5e-324, 0.0),
        (1e16, 1, 1e16),
    ],
)
def test_a_sum_is_exactly_what_python_makes_of_it(the_world: World, standing: Any, by: Any, total: Any) -> None:
    store = the_world.agent()
    store.set("n", standing)
    found = store.incr("n", by)
    assert (found, type(found)) == (total, type(total))
    assert (store.get("n"), type(store.get("n"))) == (total, type(total))


@pytest.mark.parametrize(
    "standing", ["0", "", True, False, None, [], [1], {}, {"n": 1}, b"1", "1" * 30], ids=lambda each: repr(each)[:12]
)
@pytest.mark.parametrize("by", [1, 0.5])
def test_what_is_no_number_is_left_alone_and_named(the_world: World, standing: Any, by: float) -> None:
    store = the_world.agent()
    version = store.set("n", standing)
    with pytest.raises(NotANumber) as caught:
        store.incr("n", by)
    found = type(standing).__name__
    assert str(caught.value) == (
        f"incr('n') needs a number; the entry holds a {found} ({standing!r}). Set it to a number first."
    )
    assert caught.value.fields == {"key": "n", "found": found}
    entry = store.get_entry("n")
    assert entry is not None
    assert (entry.value, entry.version) == (standing, version)


@pytest.mark.parametrize(
    ("standing", "by"),
    [
        (MOST, 1),
        (1, MOST),
        (LEAST, -1),
        (LEAST, LEAST),
        (HUGE, HUGE),
        (1e308, 1e308),
        (-1e308, -1e308),
        (HUGE, 2.0**970),
        (HUGE, math.ulp(HUGE)),
        (math.nextafter(HUGE, 0), 1.5 * math.ulp(HUGE)),
    ],
)
def test_a_sum_that_no_number_can_hold_is_refused(the_world: World, standing: Any, by: Any) -> None:
    store = the_world.agent()
    store.set("n", standing)
    with pytest.raises(ValueNotStorable, match="is beyond what a number can hold"):
        store.incr("n", by)
    with pytest.raises(ValueNotStorable):
        store.incr("absent", by, initial=standing)
    assert store.get_all() == {"n": standing}


@pytest.mark.parametrize("by", [True, "1", None, [1], math.inf, -math.inf, math.nan, 2**63, -(2**63) - 1, 1j])
@pytest.mark.parametrize("name", ["by", "initial"])
def test_an_argument_that_is_no_number_is_refused(the_world: World, name: str, by: Any) -> None:
    store = the_world.agent()
    with pytest.raises(NotANumber, match=f"{name} must be "):
        store.incr("n", **{name: by})
    assert store.count() == 0


def test_it_keeps_metadata_creation_and_reads_and_makes_a_new_version(the_world: World) -> None:
    first, second = the_world.agent(agent="first"), the_world.agent(agent="second")
    version = first.set("n", 1, {"unit": "jobs"})
    assert first.get("n") == 1
    the_world.flush()
    the_world.clock.advance(1)
    for by in (1, 0.5):
        second.incr("n", by)
        entry = second.get_entry("n")
        assert entry is not None
        assert (entry.metadata, entry.created_by_agent, entry.updated_by_agent) == ({"unit": "jobs"}, "first", "second")
        assert entry.updated_at > entry.created_at
        assert entry.version != version
        assert (entry.access_count, entry.size_bytes) == (1, 24)
        version = entry.version


@pytest.mark.parametrize("by", [1, 0.5])
def test_it_keeps_the_expiry_unless_it_is_given_one(the_world: World, by: float) -> None:
    store = the_world.agent()
    store.incr("n", by)
    assert store.expires_in("n") is None
    store.incr("n", by, ttl_seconds=60)
    assert store.expires_in("n") == 60
    the_world.clock.advance(10)
    store.incr("n", by)
    assert store.expires_in("n") == 50
    store.incr("n", by, ttl_seconds=60)
    assert store.expires_in("n") == 60


@pytest.mark.parametrize("by", [1, 0.5])
@pytest.mark.parametrize("initial", [0, 7])
def test_an_expired_number_starts_again(the_world: World, by: float, initial: int) -> None:
    the_world.agent(agent="old").set("n", "not even a number", {"old": True}, ttl_seconds=5)
    the_world.clock.advance(5)
    store = the_world.agent(agent="new")
    assert store.incr("n", by, initial=initial) == initial + by
    entry = store.get_entry("n")
    assert entry is not None
    assert (entry.metadata, entry.created_by_agent, entry.expires_at) == ({}, "new", None)
    assert entry.created_at == entry.updated_at == the_world.clock.now()


@pytest.mark.parametrize("by", [1, 0.5])
@pytest.mark.parametrize("initial", [0, 100])
def test_nothing_is_lost_when_many_add_to_a_new_key_at_once(the_world: World, by: float, initial: int) -> None:
    steps: list[Operation] = [
        Apply(namespace="default", mutations=(Incr(key="n", by=by, initial=initial),)) for _ in range(50)
    ]
    answers = all_at_once(the_world, steps)
    numbers = [each.outcomes[0].number for each in answers if isinstance(each, Applied)]
    assert sorted(number or 0 for number in numbers) == [initial + by * (turn + 1) for turn in range(50)]
    assert the_world.agent().get("n") == initial + by * 50


def test_it_needs_the_rights_to_read_and_to_write(the_world: World) -> None:
    for access in ("read", "write"):
        store = the_world.agent(grants=(Grant(namespace="*", access=access),))
        with pytest.raises(AccessDenied):
            store.incr("n")
    assert the_world.agent().count() == 0


def test_among_other_mutations_it_is_refused_before_anything_is_written(the_world: World) -> None:
    batch = Apply(namespace="default", mutations=(Put(key="a", value=1), Incr(key="n", by=1)))
    with pytest.raises(InvalidArgument, match="incr of 'n' is one of several mutations"):
        the_world.execute(batch)
    assert the_world.agent().count() == 0


def test_a_number_counts_against_the_limit_of_a_value(the_world: World) -> None:
    with pytest.raises(ValueError, match="value is 24 bytes; the limit is 10"):
        the_world.agent(limits=Limits(value_bytes=10)).incr("n")


def test_a_read_only_data_store_refuses_it(the_world: World) -> None:
    with pytest.raises(AccessDenied):
        the_world.agent().read_only().incr("n")
