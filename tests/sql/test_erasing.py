"""Changes of a user that was taken away: nobody loses count, and whoever was in the midst of them is told."""

from __future__ import annotations

import pytest

from datastore.backends.sql import SqlBackend
from datastore.document import Interest, Place
from datastore.errors import PastGone
from tests.sql.words import HERE, actor, apply, put

BOB = Place("bob", "notes")


async def test_changes_of_a_user_are_forgotten_without_going_back_in_number(store: SqlBackend) -> None:
    await store.apply(BOB, [put("k")], actor())
    await apply(store, put("a"), put("b"))
    _, midst = await store.past(Interest(HERE), (0, 0), 2)
    await store.expunge(HERE.owner)
    head = await store.head()
    assert (await store.traces(HERE.owner)).changes == 4

    assert await store.forget(HERE.owner) == 4
    assert await store.forget(HERE.owner) == 0

    assert (await store.traces(HERE.owner)).changes == 0
    assert await store.head() == head
    with pytest.raises(PastGone):
        await store.past(Interest(HERE), midst, 9)
    assert await store.past(Interest(HERE), head, 9) == ([], head)
    assert [each.key for each in (await store.past(Interest(BOB), (0, 0), 9))[0]] == ["k"]
    await apply(store, put("c"))
    assert [each.key for each in (await store.past(Interest(HERE), head, 9))[0]] == ["c"]
