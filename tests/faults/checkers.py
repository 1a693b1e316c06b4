"""Checkers of a history against what stands at its end. Each returns what is wrong.

Theory of operation: an operation that was acknowledged happened, one that says that nothing was written did not, and of
one that may have been written either is right, once. Checkers are pure, and tested on histories with planted lies.
One subject, so longer than most files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tests.faults.histories import History, Operation

State = Mapping[str, Any]
"""Values by key, of the one namespace that the roles write to."""
Checker = Callable[[History, State], list[str]]

ACCOUNTS: Final = [f"account:{number}" for number in range(6)]
AUDITED: Final = "@audit"
"""Under this the state has agent, key and outcome of each put in the audit log; no key is called so."""
MOST_KEYS: Final = 30
"""The quota of the role that fills it."""


def _lines(found: Iterable[str]) -> list[str]:
    """Return the first few of what is wrong: one fault may make many."""
    return sorted(found)[:10]


def writes(history: History, state: State) -> list[str]:
    """Check keys that are written once, in whatever way: those that must stand do, and no other."""
    wrong = []
    for each in history.of("write"):
        for key, value in each["values"].items():
            stands = state.get(key)
            if each.outcome == "ok" and stands != value:
                wrong.append(f"{key} was acknowledged, and {stands!r} stands")
            if each.outcome == "failed" and stands is not None:
                wrong.append(f"{key} stands, although: {each.said}")
            if stands not in (None, value):
                wrong.append(f"{key} holds {stands!r}, which no one wrote")
    return _lines(wrong)


def deletes(history: History, state: State) -> list[str]:
    """Check keys that are written, and then deleted by the same worker."""
    wrong = []
    for each in history.of("delete"):
        if each.outcome == "ok" and each["key"] in state:
            wrong.append(f"{each['key']} was deleted, and stands")
        if each.outcome == "failed" and each["key"] not in state:
            wrong.append(f"{each['key']} is gone, although: {each.said}")
    return _lines(wrong)


def counters(history: History, state: State) -> list[str]:
    """Check a number that everyone adds 1 to: no number is answered twice, and the sum is within what may have been."""
    done, unknown = history.of("count", "ok"), history.of("count", "unknown")
    total = state.get("counter", 0)
    wrong = [
        f"{number} was answered {times} times"
        for number, times in Counter(each.result for each in done).items()
        if times > 1
    ]
    if not len(done) <= total <= len(done) + len(unknown):
        wrong.append(f"the counter is {total} after {len(done)} acknowledged and {len(unknown)} unknown increments")
    return _lines(wrong)


def claims(history: History, state: State) -> list[str]:
    """Check keys that workers claim with `add`: each has one winner at most, who is told so, or may have won."""
    wrong = []
    by_key: dict[str, list[Operation]] = {}
    for each in history.of("claim"):
        by_key.setdefault(each["key"], []).append(each)
    for key, tried in by_key.items():
        winners = [each.worker for each in tried if each.outcome == "ok" and each.result]
        may = [each.worker for each in tried if each.outcome == "unknown"]
        holder = state.get(key)
        if len(winners) > 1:
            wrong.append(f"{key} was won by {winners}")
        if winners and holder != winners[0]:
            wrong.append(f"{key} was won by {winners[0]}, and {holder} has it")
        if holder is not None and holder not in [*winners, *may]:
            wrong.append(f"{key} is held by {holder}, who was told that it did not win")
        if holder is None and any(each.outcome == "ok" for each in tried):
            wrong.append(f"{key} was refused to all, and no one has it")
    return _lines(wrong)


def lists(history: History, state: State) -> list[str]:
    """Check a list that everyone appends to with `update`: each item once, in the order of time, none that failed."""
    stands: Sequence[Any] = state.get("list", [])
    counted, places = Counter(stands), {item: place for place, item in enumerate(stands)}
    wrong = [f"{item} is in the list {times} times" for item, times in counted.items() if times > 1]
    appended = history.of("append")
    for each in appended:
        if each.outcome == "ok" and each["item"] not in counted:
            wrong.append(f"{each['item']} was acknowledged and is lost")
        if each.outcome == "failed" and each["item"] in counted:
            wrong.append(f"{each['item']} is in the list, although: {each.said}")
    done = [each for each in appended if each.outcome == "ok" and each["item"] in places]
    wrong += [
        f"{each['item']} stands before what had ended when it began"
        for each in _out_of_order(done, lambda each: places[each["item"]])
    ]
    return _lines(wrong)


def _out_of_order(done: Iterable[Operation], place: Callable[[Operation], int]) -> list[Operation]:
    """Return the operations whose place is before that of one that had ended when they began."""
    by_end = sorted(done, key=lambda each: each.ended)
    found, latest, passed = [], -1, 0
    for each in sorted(by_end, key=lambda each: each.begun):
        while passed < len(by_end) and by_end[passed].ended < each.begun:
            latest = max(latest, place(by_end[passed]))
            passed += 1
        if place(each) < latest:
            found.append(each)
    return found


def transfers(history: History, state: State) -> list[str]:
    """Check amounts that `atomic` moves between accounts, with a receipt in the same change."""
    wrong = []
    balances = dict.fromkeys(ACCOUNTS, 0)
    for each in history.of("transfer"):
        stands = f"receipt:{each['name']}" in state
        if each.outcome == "ok" and not stands:
            wrong.append(f"{each['name']} was acknowledged, and has no receipt")
        if each.outcome == "failed" and stands:
            wrong.append(f"{each['name']} has a receipt, although: {each.said}")
        if stands:
            balances[each["source"]] -= each["amount"]
            balances[each["target"]] += each["amount"]
    found = {account: state.get(account, 0) for account in ACCOUNTS}
    if found != balances:
        wrong.append(f"the accounts hold {found}, and the receipts make {balances}")
    return _lines(wrong)


def fences(history: History, state: State) -> list[str]:
    """Check what is written under a lock, with its lease: tokens grow in the order of time, and none is used by two."""
    wrong = []
    done = history.of("fence", "ok")
    for each in history.of("fence"):
        token = each.facts.get("token")
        key = f"fence:{token}:{each['name']}"
        if each.outcome == "ok" and key not in state:
            wrong.append(f"token {token} was acknowledged, and what it wrote is lost")
        if each.outcome == "failed" and token is not None and key in state:
            wrong.append(f"token {token} wrote, although: {each.said}")
    holders: dict[int, set[str]] = {}
    for key in state:
        if key.startswith("fence:"):
            _, token, name = key.split(":", 2)
            holders.setdefault(int(token), set()).add(name)
    wrong += [f"token {token} was used by {sorted(names)}" for token, names in holders.items() if len(names) > 1]
    wrong += [
        f"token {each['token']} came after a larger one had been used"
        for each in _out_of_order(done, lambda each: int(each["token"]))
    ]
    return _lines(wrong)


def registers(history: History, state: State) -> list[str]:
    """Check one key that is written only over the version that was read: no version is written over twice.

    So the writes that happened make one line: each that was acknowledged stands, or another was made over it.
    """
    wrong = []
    done, may = history.of("replace", "ok"), history.of("replace", "ok", "unknown")
    stands = state.get("register")
    over: dict[str, list[str]] = {}
    for each in done:
        over.setdefault(each["over"], []).append(each["name"])
    wrong += [f"{version!r} was written over by {names}" for version, names in over.items() if len(names) > 1]
    followed = {each["over"] for each in may}
    wrong += [
        f"{each['name']} was acknowledged, and is lost"
        for each in done
        if each["name"] != stands and each.result not in followed
    ]
    if stands is not None and stands not in {each["name"] for each in may}:
        wrong.append(f"{stands} stands, which no one may have written")
    wrong += [
        f"{each['name']} stands, and was written over"
        for each in done
        if each["name"] == stands and each.result in over
    ]
    return _lines(wrong)


def reads(history: History, state: State) -> list[str]:
    """Check reads of keys that are written once: what had been acknowledged before is found."""
    del state
    acknowledged = {key: each for each in history.of("write", "ok") for key in each["values"]}
    wrong = []
    for each in history.of("read", "ok"):
        written = acknowledged.get(each["key"])
        if written is not None and written.ended < each.begun and each.result != written["values"][each["key"]]:
            wrong.append(f"{each['key']} was acknowledged, and {each.worker} read {each.result!r} afterwards")
    return _lines(wrong)


def watches(history: History, state: State) -> list[str]:
    """Check what watchers saw, who went on in new connections now and then: each version once, all in one order."""
    wrong = []
    seen = {each.worker: [tuple(pair) for pair in each["changes"]] for each in history.of("watched")}
    acknowledged = {
        (key, version) for each in history.of("watched write", "ok") for key, version in [(each["key"], each.result)]
    }
    for worker, changes in seen.items():
        counted = Counter(changes)
        wrong += [f"{worker} saw {change} {times} times" for change, times in counted.items() if times > 1]
        missing = acknowledged - counted.keys()
        wrong += [f"{worker} did not see {change}" for change in missing]
        failed = {each["key"] for each in history.of("watched write", "failed")}
        wrong += [f"{worker} saw {change}, which failed" for change in counted if change[0] in failed]
    for worker, changes in seen.items():
        for other, others in seen.items():
            if worker < other:
                common = set(changes) & set(others)
                if [each for each in changes if each in common] != [each for each in others if each in common]:
                    wrong.append(f"{worker} and {other} saw changes in different orders")
    del state
    return _lines(wrong)


def quotas(history: History, state: State) -> list[str]:
    """Check a limit of keys that everyone fills: it is never passed, at the end nor in between."""
    held = sum(key.startswith("full:") for key in state)
    failed = [each for each in history.of("fill", "failed") if each["key"] in state]
    wrong = [] if held <= MOST_KEYS else [f"{held} keys stand where {MOST_KEYS} may"]
    wrong += [f"{each['key']} stands, although: {each.said}" for each in failed]
    wrong += [
        f"{each.result} keys were counted where {MOST_KEYS} may be"
        for each in history.of("count of full", "ok")
        if each.result > MOST_KEYS
    ]
    return _lines(wrong)


def audited(history: History, state: State) -> list[str]:
    """Check what the audit log says of hosts that closed their store: each write that was done, once."""
    closed = {each.worker for each in history.of("closed", "ok")}
    done = Counter((agent, key) for agent, key, outcome in state.get(AUDITED, ()) if outcome == "done")
    wrong = []
    for each in history.of("watched write"):
        times = done[each.worker, each["key"]]
        if each.outcome == "ok" and times != 1 and each.worker in closed:
            wrong.append(f"{each['key']} was acknowledged, and the audit log has it {times} times")
        if each.outcome == "failed" and times:
            wrong.append(f"{each['key']} is in the audit log as done, although: {each.said}")
    return _lines(wrong)


ALL: Final[Mapping[str, Checker]] = {
    each.__name__: each
    for each in (
        *(writes, deletes, counters, claims, lists, transfers, fences, registers, reads, watches, quotas),
        audited,
    )
}
