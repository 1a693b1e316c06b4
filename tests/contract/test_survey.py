"""What operators see of everything that is stored: `Inspector.survey` and `Inspector.parts` on every backend."""

from __future__ import annotations

from datastore.document import Place, ids_of
from datastore.ports import Part, Record
from tests.world import World


def survey(world: World, begin: str = "", limit: int = 2) -> list[Record]:
    """Every record, by pages."""
    found: list[Record] = []
    while page := world.loop.run(world.store.engine.survey(begin, found[-1].id if found else None, limit)):
        assert len(page) <= limit
        found += page
    return found


def test_every_record_is_seen_once_in_the_order_of_ids_and_without_its_value(the_world: World) -> None:
    places = [("bob", "a:b", "k"), ("bob", "a", "b"), ("bob:", "x", "k"), ("bob%", "x", "é"), ("bo", "x", "k")]
    for owner, namespace, key in places:
        the_world.agent(owner).use_namespace(namespace).set(key, {"much": "x" * 100}, {"m": 1})
    found = survey(the_world)
    assert [each.id for each in found] == sorted(Place(owner, name).id(key) for owner, name, key in places)
    for each in found:
        assert each.entry is not None
        assert (each.fault, each.entry.value, each.entry.metadata, each.entry.size_bytes) == (None, None, {"m": 1}, 111)
        assert (each.owner, each.entry.namespace, each.entry.key) in places
    assert [each.owner for each in survey(the_world, ids_of("bob"), 1)] == ["bob", "bob"]


def test_what_has_expired_is_seen_and_what_an_atomic_operation_required_is_not(large_world: World) -> None:
    store = large_world.agent()
    store.set("gone", 1, ttl_seconds=1)
    store.atomic().check("never", store.ABSENT).set("made", 1).commit()
    large_world.clock.advance(5)
    keys = [each.entry.key for each in survey(large_world, ids_of("alice")) if each.entry is not None]
    assert sorted(keys) == ["gone", "made"]


def test_every_part_of_a_new_store_is_named_and_sound(the_world: World) -> None:
    for thorough in (False, True):
        parts = the_world.loop.run(the_world.store.engine.parts(thorough=thorough))
        assert len(parts) >= 2
        assert parts == [Part(each.name) for each in parts]
