"""Where a quota comes from: the host's limits, overrides in their place, and a scope that narrows both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from admin.actions import quotas
from admin.actions.quotas import Setting
from admin.actions.subject import NotFound, Owner
from datastore import Grant, Limits, Scope, Settings, Store, open_store
from datastore.document import moment
from datastore.entry import NEVER
from datastore.errors import AccessDenied, Conflict, StoreUnavailable, UserQuotaExceeded, ValueTooLarge
from datastore.models import operator_scope
from datastore.operations import Apply, GetUsage, Put
from datastore.ports import Actor, Write
from datastore.quotas import Ceiling
from datastore.service import overrides
from datastore.service.blocks import digest
from datastore.service.overrides import PLACE

ALICE = Owner("user", "alice")
HOST = Limits(user_bytes=1000, user_keys=100, namespace_bytes=500)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    settings = Settings(url="sqlite://", user_bytes=1000, user_keys=100, namespace_bytes=500)
    async with open_store(settings=settings) as opened:
        yield opened


def scope(user: str = "alice", **limits: Any) -> Scope:
    space = Grant(namespace="*", space="team")
    return Scope(user=user, agent="a", grants=(Grant.own(), space), limits=Limits(**limits))


async def put(store: Store, owner: Owner, **facts: Any) -> None:
    nothing = dict.fromkeys(("namespace", "bytes", "keys", "value_bytes"))
    await quotas.put(store, owner, Setting(**nothing | facts))
    await store.quotas.overrides.look()


def one(value: Any = 1) -> Apply:
    return Apply(namespace="n", mutations=(Put(key="k", value=value),))


async def test_a_scope_narrows_the_host_s_limits_and_never_widens_them(store: Store) -> None:
    assert (await store.quotas.bounds(scope(), None)).limits == HOST
    bounds = await store.quotas.bounds(scope(user_bytes=10, user_keys=1000, namespace_keys=5, value_bytes=9), None)
    assert bounds.limits == Limits(user_bytes=10, user_keys=100, namespace_bytes=500, namespace_keys=5, value_bytes=9)


async def test_an_override_takes_the_place_of_the_host_s_limits_for_one_owner(store: Store) -> None:
    await put(store, ALICE, bytes=5000, value_bytes=100)
    await put(store, ALICE, namespace="big", bytes=4000)
    await put(store, ALICE, namespace="*", keys=7)
    bounds = await store.quotas.bounds(scope(namespace_bytes=3000), None)
    assert bounds.limits.model_dump(exclude_none=True) == {
        "value_bytes": 100,
        "metadata_bytes": 16384,
        "user_bytes": 5000,
        "user_keys": 100,
        "namespace_bytes": 500,
        "namespace_keys": 7,
    }
    assert bounds.quota is not None
    assert (bounds.quota.ceiling("big"), bounds.quota.ceiling("n")) == (Ceiling(3000, 7), Ceiling(500, 7))
    assert (await store.quotas.bounds(scope("bob"), None)).limits == HOST
    with pytest.raises(ValueTooLarge, match="the limit is 100"):
        await store.execute(scope(), one("x" * 99))
    await quotas.clear(store, ALICE, None)
    await store.quotas.overrides.look()
    assert (await store.quotas.bounds(scope(), None)).limits == HOST


async def test_what_a_scope_says_of_its_user_s_store_does_not_count_in_a_space(store: Store) -> None:
    await put(store, Owner("space", "team"), keys=9)
    bounds = await store.quotas.bounds(scope(user_bytes=10, user_keys=1, namespace_bytes=20), "team")
    assert bounds.limits == Limits(user_bytes=1000, user_keys=9, namespace_bytes=20)


async def test_an_operator_keeps_to_the_quota_too(store: Store) -> None:
    await put(store, ALICE, keys=0)
    with pytest.raises(UserQuotaExceeded, match="holds 0 keys of at most 0, and this write would add 1"):
        await store.execute(operator_scope("alice", "somebody"), one())


async def test_an_override_holds_on_another_host_within_seconds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    async with open_store(url) as host, open_store(url) as other:
        await other.execute(scope(), one())
        await quotas.put(host, ALICE, Setting(None, None, 0, None))
        async with asyncio.timeout(30):
            while (await usage(other)).user_keys is None:
                pass
        await other.execute(scope(), one(2))  # It does not grow.
        with pytest.raises(UserQuotaExceeded):
            await other.execute(scope(), Apply(namespace="n", mutations=(Put(key="another", value=1),)))
        await quotas.clear(host, ALICE, None)
        async with asyncio.timeout(30):
            while (await usage(other)).user_keys is not None:
                pass


async def usage(store: Store) -> Limits:
    answer: Any = await store.execute(scope(), GetUsage())
    limits: Limits = answer.limits
    return limits


async def test_an_override_that_cannot_be_read_refuses_writes(store: Store) -> None:
    await put(store, ALICE, keys=5)
    actor = Actor("@admin/x", "-", moment(store.clock.now()))
    await store.engine.apply(PLACE, [Write(digest("alice"), {"keys": "many"}, 9, "v", NEVER, {})], actor)
    store.quotas.overrides._found.clear()
    with pytest.raises(StoreUnavailable, match=r"cannot be read\. Nothing was written"):
        await store.execute(scope(), one())
    await store.execute(scope("bob"), one())


async def test_of_two_operators_that_change_one_override_one_is_told(store: Store) -> None:
    actor = Actor("@admin/x", "-", moment(store.clock.now()))
    read = store.engine.get

    async def overtaken(*args: Any) -> Any:
        found = await read(*args)
        await store.engine.apply(PLACE, [Write(digest("alice"), {"whole": {"keys": 1}}, 9, "v1", NEVER, {})], actor)
        return found

    setattr(store.engine, "get", overtaken)  # noqa: B010 - somebody is faster just there, whatever its type
    with pytest.raises(Conflict):
        await overrides.change(store.engine, "alice", lambda each: each.model_copy(update={"value_bytes": 5}), actor)


async def test_an_override_whose_clearing_was_cut_off_ends_when_it_is_cleared_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, ALICE, keys=1)
    assert (await store.quotas.bounds(scope(), None)).limits.user_keys == 1
    apply, calls = store.engine.apply, 0

    async def cut_off(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise StoreUnavailable("The store is away.")
        return await apply(*args)

    with monkeypatch.context() as patch:
        patch.setattr(store.engine, "apply", cut_off)
        with pytest.raises(StoreUnavailable):
            await quotas.clear(store, ALICE, None)
    with pytest.raises(NotFound, match="has no quota of its own"):
        await quotas.clear(store, ALICE, None)
    await store.quotas.overrides.look()
    assert (await store.quotas.bounds(scope(), None)).limits == HOST


def test_no_delegated_limit_is_wider() -> None:
    own = scope(user_keys=5)
    assert own.delegate("b", [Grant(namespace="n")], limits=Limits(user_keys=5, user_bytes=1)).limits.user_bytes == 1
    for limits, said in ((Limits(), "user_keys=no limit is above"), (Limits(user_keys=6), "user_keys=6 is above")):
        with pytest.raises(AccessDenied, match=said):
            own.delegate("b", [Grant(namespace="n")], limits=limits)
