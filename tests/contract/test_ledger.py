"""What keeps the audit log, on every backend: rows are added once, found, emptied and removed, in their order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from datastore.chain import Chain, Deed, Row
from datastore.ports import Look
from tests.world import World


def written(world: World, amount: int = 6) -> list[Row]:
    """A chain whose rows are a minute apart: of alice and bob in turn, on keys of which each is used twice."""
    chain, now = Chain(), world.clock.now()
    rows = []
    for number in range(amount):
        user = ("alice", "bob")[number % 2]
        deed = Deed(user, f"agent of {user}", "run-1", "put", user, "notes", f"k{number // 2}", 24, "v1", None, "done")
        rows.append(chain.add(now + timedelta(minutes=number), deed))
    world.loop.run(world.store.engine.append(rows))
    return rows


def trail(world: World) -> list[Row]:
    return world.loop.run(world.store.engine.trail("", 100))


def test_rows_come_back_as_they_were_written_and_are_added_once(the_world: World) -> None:
    rows = written(the_world)
    the_world.loop.run(the_world.store.engine.append([replace(rows[0], content="another"), rows[1]]))
    assert trail(the_world) == rows
    assert the_world.loop.run(the_world.store.engine.trail(rows[1].id, 2)) == rows[2:4]
    assert all(row.intact() for row in rows)


def test_chains_stand_one_after_another(the_world: World) -> None:
    rows = [*written(the_world), *written(the_world)]
    assert trail(the_world) == sorted(rows, key=lambda row: row.id)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Look(), [0, 1, 2, 3, 4, 5]),
        (Look(user="bob"), [1, 3, 5]),
        (Look(agent="agent of alice"), [0, 2, 4]),
        (Look(key="k1"), [2, 3]),
        (Look(user="alice", namespace="notes", key="k1"), [2]),
        (Look(namespace="other"), []),
    ],
)
def test_rows_are_found_by_what_they_say_in_the_order_of_time(
    the_world: World, wanted: Look, numbers: list[int]
) -> None:
    rows, engine = written(the_world), the_world.store.engine
    expected = [rows[number] for number in numbers]
    assert the_world.loop.run(engine.found(wanted, None, 100)) == expected
    if len(numbers) > 1:
        assert the_world.loop.run(engine.found(wanted, expected[0], 1)) == expected[1:2]
    late = replace(wanted, since=rows[1].at, until=rows[4].at)
    assert the_world.loop.run(engine.found(late, None, 100)) == [row for row in expected if row in rows[1:4]]


def test_an_emptied_row_says_nothing_but_a_pseudonym_and_keeps_its_place_in_the_chain(the_world: World) -> None:
    rows, engine = written(the_world), the_world.store.engine
    the_world.loop.run(engine.empty([rows[0], rows[2]], "someone"))
    emptied = [replace(rows[number], deed=Deed("someone"), salt=None) for number in (0, 2)]
    assert trail(the_world) == [emptied[0], rows[1], emptied[1], *rows[3:]]
    assert the_world.loop.run(engine.found(Look(user="someone"), None, 100)) == emptied
    assert all(
        row.intact() and row.follows(before.link) for before, row in zip(rows, trail(the_world)[1:], strict=False)
    )


def test_the_beginning_of_a_chain_is_removed_and_no_other(the_world: World) -> None:
    rows, others = written(the_world), written(the_world)
    the_world.loop.run(the_world.store.engine.remove(rows[0].chain, 4))
    assert trail(the_world) == sorted([*rows[4:], *others], key=lambda row: row.id)
