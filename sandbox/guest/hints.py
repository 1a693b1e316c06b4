"""What a call that is nearly right is answered: one table, so that its author can mend it from the message alone."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final

from datastore.errors import Conflict, InvalidArgument, UnknownVerb

_FACE: Final = "data_store"
_CHAINED: Final = ("use_namespace", "private", "shared", "read_only", "atomic", "check", "set", "add", "delete", "incr")
_ATOMIC: Final = "with data_store.atomic() as changes: changes.set(key, value)"
_IS_COROUTINE: Final = 0x80
"""The flag of a function's code that says so, `inspect.CO_COROUTINE`."""
_APPEND = "data_store.update(key, lambda v: v + [item], default=[])"
_SET = "data_store.set(key, value)"
_FILTER = "[v for k, v in data_store.items(prefix='...') if ...], which filters in Python"
_WAIT = "data_store.wait_for(key, timeout_seconds=30)"
_WATCH = "for change in data_store.watch(prefix, timeout_seconds=30): ..."
_LOCK = "with data_store.lock(name, wait_seconds=10) as lease: ..."

Unawaited = tuple[str, object, bool]
"""What is known of a call that nobody awaited: its verb, its first argument, and whether it writes."""

INSTEAD: Final[dict[str, str]] = {
    "put": _SET,
    "save": _SET,
    "write": _SET,
    "store": _SET,
    "remove": "data_store.delete(key)",
    "rm": "data_store.delete(key)",
    "list": "data_store.list_keys()",
    "scan": "data_store.list_keys(prefix='...')",
    "namespaces": "data_store.list_namespaces()",
    "namespace_list": "data_store.list_namespaces()",
    "increment": "data_store.incr(key, by)",
    "decr": "data_store.incr(key, -1)",
    "decrement": "data_store.incr(key, -1)",
    "append": _APPEND,
    "push": _APPEND,
    "setnx": "data_store.add(key, value)",
    "setdefault": "data_store.add(key, value)",
    "insert": "data_store.add(key, value)",
    "expire": "data_store.touch(key, ttl_seconds), where None makes it permanent",
    "persist": "data_store.touch(key, None)",
    "ttl": "data_store.expires_in(key)",
    "pop": "value = data_store.get(key), then data_store.delete(key)",
    "values": "data_store.items(), which gives pairs (key, value)",
    "search": _FILTER,
    "find": _FILTER,
    "query": _FILTER,
    "filter": _FILTER,
    "has": "data_store.exists(key)",
    "contains": "data_store.exists(key)",
    "mget": "data_store.get_many([key, ...])",
    "mset": "data_store.set_many({key: value})",
    "get_metadata": "data_store.get_entry(key).metadata",
    "transaction": _ATOMIC,
    "begin": _ATOMIC,
    "multi": _ATOMIC,
    "pipeline": _ATOMIC,
    "commit": _ATOMIC,
    "acquire": _LOCK,
    "mutex": _LOCK,
    "use_space": "data_store.shared(space)",
    "team": "data_store.shared(space)",
    "wait": _WAIT,
    "wait_until": _WAIT,
    "blpop": _WAIT,
    "subscribe": _WATCH,
    "listen": _WATCH,
    "poll": _WATCH,
    "on_change": _WATCH,
    "changes": _WATCH,
}
"""Names from other stores -> what to write here."""

KEYWORDS: Final[dict[str, str]] = {
    "ttl": "ttl_seconds=3600 (seconds from now)",
    "ex": "ttl_seconds=3600 (seconds from now)",
    "expire": "ttl_seconds=3600 (seconds from now)",
    "expires_in": "ttl_seconds=3600 (seconds from now)",
    "timeout": "ttl_seconds=3600 (seconds from now)",
    "px": "ttl_seconds=0.5 (seconds from now)",
    "offset": "after=KEY, the last key you have seen",
    "cursor": "after=KEY, the last key you have seen",
    "start": "after=KEY, the last key you have seen",
    "version": "if_version=entry.version",
    "nx": "add(key, value), which is True if it created the entry",
    "if_not_exists": "add(key, value), which is True if it created the entry",
    "namespace": "use_namespace(name) and call the verb on that",
    "space": "shared(space) and call the verb on that",
    "meta": "metadata={...}",
    "amount": "by=1",
    "delta": "by=1",
    "default": "no default here; get and update take one, and incr takes initial",
}
"""Keywords from other stores -> what to write here."""

WAITING: Final[dict[str, str]] = {
    "timeout": "timeout_seconds=30 (seconds)",
    "wait": "timeout_seconds=30 (seconds)",
    "seconds": "timeout_seconds=30 (seconds)",
    "version": "after=entry.version",
    "key": "prefix=KEY",
}
"""The same for verbs that wait."""


def unknown_verb(name: str, known: Collection[str]) -> UnknownVerb:
    """Return the error for an attribute that is no verb."""
    if name in INSTEAD:
        return UnknownVerb(f"data_store has no {name!r}. Write {INSTEAD[name]}.")
    close = difflib.get_close_matches(name, known, n=1)
    mend = f"Did you mean {close[0]!r}?" if close else f"It has: {', '.join(sorted(known))}."
    return UnknownVerb(f"data_store has no {name!r}. {mend}")


def wrong_call(verb: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> InvalidArgument:
    """Return the error for arguments that a verb does not take.

    Args:
        verb: the verb's function, with `self`.
        args: what the call gave by position, without `self`.
        kwargs: what it gave by name.
    """
    parameters = list(inspect.signature(verb).parameters.values())[1:]
    return InvalidArgument(f"{verb.__name__}() {_misfit(parameters, args, kwargs)}")


def _misfit(parameters: list[inspect.Parameter], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    names = [each.name for each in parameters]
    by_position = [each.name for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    known = KEYWORDS | WAITING if "timeout_seconds" in names else KEYWORDS
    for keyword in kwargs:
        if keyword not in names:
            mend = f"Use {known[keyword]}" if keyword in known else f"It takes {', '.join(names) or 'nothing'}"
            return f'has no "{keyword}". {mend}.'
    if len(args) > len(by_position):
        by_name = names[len(by_position) :]
        mend = f"Write {by_name[0]}=..." if by_name else f"It takes {', '.join(names) or 'nothing'}"
        most = f"{len(by_position)} argument{'' if len(by_position) == 1 else 's'}"
        return f"takes at most {most} by position, got {len(args)}. {mend}{'' if by_name else '.'}"
    given = {*by_position[: len(args)], *kwargs}
    missing = [each.name for each in parameters if each.default is each.empty and each.name not in given]
    if missing:
        return f"needs {' and '.join(missing)}. It takes {', '.join(names)}."
    twice = next(name for name in by_position[: len(args)] if name in kwargs)
    return f"was given {twice} twice. Leave one out."


def _flags(given: object) -> int:
    """Return what is said of a function's code, without `inspect`, which a run may not have loaded."""
    return int(getattr(getattr(given, "__code__", None), "co_flags", 0))


def function(given: Any) -> Callable[[Any], Any]:
    """Return what `update` is to call.

    Raises:
        InvalidArgument: it is no plain function.
    """
    if _flags(given) & _IS_COROUTINE:
        raise InvalidArgument(
            "update(key, function) needs a plain function, got a coroutine function. "
            "Await before it, and use the result inside: update(key, lambda v: {**v, 'answer': answer})."
        )
    if not callable(given):
        mend = "To merge: " if isinstance(given, Mapping) else "Write "
        several = " For several keys: set_many({...})." if isinstance(given, Mapping) else ""
        raise InvalidArgument(
            f"update(key, function) needs a function, got {type(given).__name__}. "
            f'{mend}data_store.update(key, lambda v: {{**v, "a": 1}}, default={{}}).{several}'
        )
    checked: Callable[[Any], Any] = given
    return checked


def returned(key: str, value: Any) -> Any:
    """Return the new value that the function of an `update` gave.

    Raises:
        InvalidArgument: it gave none.
    """
    if isinstance(value, Awaitable):
        if isinstance(value, Coroutine):
            value.close()
        raise InvalidArgument(
            f"update({key!r:.60}): the function returned a {type(value).__name__}. It must return the new value: "
            "await before update(), and use the result inside the function."
        )
    if value is None:
        raise InvalidArgument(
            f"update({key!r:.60}): the function returned None. It must return the new value: "
            "list.append returns None, so write lambda v: v + [x]."
        )
    return value


def outrun(key: str, version: str | None, tries: int) -> Conflict:
    """Return the error of an `update` for which others were too fast."""
    error = Conflict(key, version)
    error.message = (
        f"update({key!r:.60}): others changed it first, {tries} times in a row, so nothing was written. "
        "Let fewer agents write this key: give each its own, or count with incr()."
    )
    return error


def never_awaited(note: Unawaited) -> InvalidArgument:
    """Return the error for an `aio` call that nobody awaited."""
    verb, given, writes = note
    shown = f"{given!r:.60}" if isinstance(given, str) else ""
    lost = "read" if not writes else "stored" if verb in ("set", "add", "set_many") else "changed"
    return InvalidArgument(
        f"data_store.aio.{verb}({shown}) was called but never awaited, so nothing was {lost}. "
        f'Write "await data_store.aio.{verb}(...)".'
    )


def never_committed(atomic: str) -> InvalidArgument:
    """Return the error for an `atomic()` that was filled and never committed."""
    face, waits = ("data_store.aio", True) if ".aio." in atomic.partition(" ")[0] else ("data_store", False)
    commit, block = ("await changes.commit()", "async with") if waits else ("changes.commit()", "with")
    return InvalidArgument(
        f'{atomic} was never committed, so nothing was changed. Write "{block} {face}.atomic() as changes:", '
        f'or "{commit}" at its end.'
    )


def never_entered(lock: str) -> InvalidArgument:
    """Return the error for a `lock()` that nobody took."""
    return InvalidArgument(f"{lock} was never entered, so nothing was locked. {entering(lock)}")


def entering(lock: str) -> str:
    """Return how a lock is taken."""
    block = "async with" if ".aio." in lock else "with"
    return f'Write "{block} {lock} as lease:".'


def not_atomic(name: str, known: Collection[str]) -> UnknownVerb:
    """Return the error for what `atomic()` does not have."""
    if name.startswith(("get", "exists", "list", "count", "keys", "items", "update")):
        return UnknownVerb(
            f"atomic() has no {name!r}: nothing is read inside. Read before it, "
            "and require what you read with check(key, entry.version)."
        )
    return UnknownVerb(f"atomic() has no {name!r}. It has: {', '.join(sorted(known))}.")


def awaited_verb(verb: str, line: int, *, done: bool) -> InvalidArgument:
    """Return the error for `await` before a synchronous verb."""
    told = " The call itself was done." if done else ""
    return InvalidArgument(
        f"line {line}: data_store.{verb} is not awaitable: its verbs are synchronous. "
        f'Remove "await", or write "await data_store.aio.{verb}(...)".{told}'
    )


def spoken(verb: str) -> str:
    """Return a verb as it is called on data_store."""
    return "atomic().commit" if verb == "commit" else verb


def awaited_verbs(tree: ast.AST, verbs: Collection[str]) -> list[tuple[str, int]]:
    """Return verb and line of each `await X.verb(...)` in a source, where X is not an `aio` face.

    Only `data_store` itself and what is plainly made from it is judged; other objects may have methods of these names.
    Where the source gives that name to something else, nothing is judged before the run.
    """
    calls = [
        (node.value.func, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call)
    ]
    found = [
        (spoken(function.attr), line)
        for function, line in calls
        if isinstance(function, ast.Attribute) and function.attr in verbs and _is_sync_face(function.value)
    ]
    return found if found and not any(_renames(node) for node in ast.walk(tree)) else []


def _renames(node: ast.AST) -> bool:
    if isinstance(node, ast.arg):
        return node.arg == _FACE
    if isinstance(node, ast.alias):
        return node.asname == _FACE
    return isinstance(node, ast.Name) and node.id == _FACE and not isinstance(node.ctx, ast.Load)


def _is_sync_face(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return _is_sync_face(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr in _CHAINED and _is_sync_face(node.value)
    return isinstance(node, ast.Name) and node.id == _FACE
