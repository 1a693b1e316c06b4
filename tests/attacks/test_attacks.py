"""The attack list, row by row: refused at strict, and not because it never was an attack."""

from __future__ import annotations

import inspect
import os
import secrets
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from datastore import Store
from sandbox import Sandbox
from tests.attacks.arsenal import KINDS, Told, control, level, strike, strike_one_of_its_own
from tests.attacks.stage import Stage
from tests.attacks.table import ALONE, ATTACKS, DEPENDS, ELSEWHERE, SUCCEEDS, Attack
from tests.attacks.test_warm import POOLS

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(30)]

FREE = [each for each in ATTACKS if each.unsafe == SUCCEEDS]
REFUSED = [each for each in ATTACKS if each.unsafe not in {SUCCEEDS, DEPENDS, ELSEWHERE}]
CONTROLLED = [each for each in ATTACKS if each.unsafe not in {SUCCEEDS, ELSEWHERE}]
LACKING = {"EAFNOSUPPORT", "ENOSYS"}
"""What a kernel says that was built without the thing."""


def orders(attack: Attack, planted: Stage, *, outside: bool) -> dict[str, Any]:
    """Return what the attacker is told; `outside` says that it is on the host, where there is something to open."""
    pids: dict[str, Any] = {"host": os.getpid(), "pid 1": 1, "parent": "parent"}
    # Where a process keeps something is known to who has read its maps; of ours, any of its pages is as good.
    target = {"pid": pids.get(attack.after), "address": id(planted.told), "descriptor": 0}
    if attack.after == "neighbour":
        target = planted.told["neighbour"]
    asked = {"unique": secrets.token_hex(8), "outside": outside, "careless": False}
    given = {**planted.told, **target, **attack.given, **asked}
    if given.get("path") in {"secret_file", "open_file", "movable_file"}:
        given["path"] = planted.told[given["path"]]
    return given


def succeeded(told: Told, attack: Attack, planted: Stage) -> bool:
    return told.refused is None and (planted.secret in told.got if attack.secret else bool(told.got))


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
async def test_an_attack_is_attempted_and_refused(attack: Attack, confined: Sandbox, planted: Stage) -> None:
    given = orders(attack, planted, outside=False)
    if level(confined) == "landlock" and attack.after == "neighbour":
        told = await strike_one_of_its_own(confined, attack.name, given, planted.secret)
    else:
        told = await strike(confined, attack.name, given)
    assert told.attempted
    assert (told.refused or SUCCEEDS) in attack.outcomes(level(confined)), told
    assert bool(told.got) == (told.refused is None)


@pytest.mark.parametrize("attack", FREE, ids=str)
async def test_the_same_attack_succeeds_at_unsafe_process(attack: Attack, unsafe: Sandbox, planted: Stage) -> None:
    told = await strike(unsafe, attack.name, orders(attack, planted, outside=True))
    assert told.attempted
    assert succeeded(told, attack, planted), told


@pytest.mark.parametrize("attack", REFUSED, ids=str)
async def test_what_fails_at_unsafe_process_too_is_attempted_there_and_says_why(
    attack: Attack, unsafe: Sandbox, planted: Stage
) -> None:
    told = await strike(unsafe, attack.name, orders(attack, planted, outside=True))
    assert attack.why
    assert (told.attempted, told.refused, told.got) == (True, attack.unsafe, ""), told


@pytest.fixture
def leaked(planted: Stage) -> Iterator[int]:
    """A descriptor of the host that an exec would not close."""
    descriptor = os.memfd_create("leaked")
    os.write(descriptor, planted.secret.encode())
    os.set_inheritable(descriptor, True)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("attack", CONTROLLED, ids=str)
async def test_and_succeeds_for_a_plain_process_with_our_privileges(
    attack: Attack, planted: Stage, leaked: int
) -> None:
    given = orders(attack, planted, outside=True) | {"careless": True}
    if attack.name in {"files.open_bootstrap_for_writing", "files.replace_bootstrap"}:
        given["bootstrap"] = planted.told["secret_file"]
    if attack.name.endswith("_of_another_tenant"):
        given["planted"] = [f"tenant-{planted.secret}"]
    told = await control(attack.name, given, inherit=(leaked,), environment={"ATTACKS_SECRET": planted.secret})
    assert told.attempted
    lacking = attack.unsafe == DEPENDS and told.refused in LACKING
    assert lacking or succeeded(told, attack, planted), told


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
async def test_no_variable_or_open_file_of_the_host_comes_along(
    store: Store, pool: dict[str, Any], planted: Stage, leaked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTACKS_SECRET", planted.secret)
    assert os.get_inheritable(leaked)
    async with Sandbox(store, **pool) as sandbox:  # Opened now: a zygote has what there was at its own start.
        for name in ("files.own_environment", "files.inherited_descriptors", "files.further_descriptors"):
            told = await strike(sandbox, name, {})
            assert (told.attempted, told.refused) == (True, "LookupError")


async def test_every_attack_of_the_agents_has_a_row() -> None:
    written = {
        f"{kind}.{name}"
        for kind in KINDS
        for name, each in inspect.getmembers(import_module(f"tests.attacks.agents.{kind}"), inspect.isfunction)
        if not name.startswith("_") and list(inspect.signature(each).parameters) == ["attempt"]
    }
    assert written == {each.name for each in ATTACKS} | ALONE


async def test_every_attack_succeeds_somewhere_and_who_fails_at_unsafe_process_says_why() -> None:
    controlled = {each.name for each in ATTACKS if each.unsafe != ELSEWHERE}
    assert {each.name for each in ATTACKS} == controlled
    assert [str(each) for each in ATTACKS if bool(each.why) != (each.unsafe != SUCCEEDS)] == []


async def test_no_two_rows_are_the_same_attack() -> None:
    assert len({str(each) for each in ATTACKS}) == len(ATTACKS)
