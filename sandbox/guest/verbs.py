"""Every verb of `data_store`, once. One subject, so longer than the other files.

A verb is a generator: it checks its arguments, yields requests, is sent their answers, and returns what the caller
gets. Everything is checked here, before anything is sent, so that an author is told in the words of the call; the
host checks it all again, because it does not trust what comes through the socket.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import EllipsisType
from typing import Any, ClassVar, Final, NoReturn, Self, TypeVar

from datastore import errors, names, values
from datastore.entry import Entry, pack_value, unpack_value
from sandbox.guest import hints
from sandbox.guest.atomic import ABSENT, Absent, AsyncAtomic, Atomic
from sandbox.guest.batches import batches
from sandbox.guest.channel import Channel
from sandbox.guest.faces import AsyncFace, Pause, Request, SyncFace, drive, explained, verb, within, writing
from sandbox.guest.lease import AsyncLock, Lease, Lock
from sandbox.guest.views import AsyncView, Span, View
from sandbox.guest.watching import POLL_SECONDS, AsyncWatch, Watch, watch_request

T = TypeVar("T")
Steps = Generator[Request | Pause, Any, T]

_TRIES: Final = 100
_LONGEST_PAUSE_SECONDS: Final = 0.05

Version = str | Absent | EllipsisType


class Verbs:
    """The store of one user, as one namespace of it.

    `data_store.get(key)` and `data_store.set(key, value)` read and write JSON values; `use_namespace(name)` gives the
    same on another namespace; `data_store.aio` has the same verbs for `await`.
    """

    _not_data_: ClassVar[str] = "data_store is a handle, not data; return values, or entry.as_dict()."

    ABSENT: ClassVar[Absent] = ABSENT
    DataStoreError: ClassVar = errors.DataStoreError
    ValueNotStorable: ClassVar = errors.ValueNotStorable
    InvalidName: ClassVar = errors.InvalidName
    InvalidArgument: ClassVar = errors.InvalidArgument
    UnknownVerb: ClassVar = errors.UnknownVerb
    ValueTooLarge: ClassVar = errors.ValueTooLarge
    NotANumber: ClassVar = errors.NotANumber
    Conflict: ClassVar = errors.Conflict
    AccessDenied: ClassVar = errors.AccessDenied
    QuotaExceeded: ClassVar = errors.QuotaExceeded
    NamespaceQuotaExceeded: ClassVar = errors.NamespaceQuotaExceeded
    UserQuotaExceeded: ClassVar = errors.UserQuotaExceeded
    RateExceeded: ClassVar = errors.RateExceeded
    LockUnavailable: ClassVar = errors.LockUnavailable
    Timeout: ClassVar = errors.Timeout
    PastGone: ClassVar = errors.PastGone
    StoreUnavailable: ClassVar = errors.StoreUnavailable
    NotSupported: ClassVar = errors.NotSupported
    RunLimitExceeded: ClassVar = errors.RunLimitExceeded
    ToolError: ClassVar = errors.ToolError

    namespace: str
    space: str | None
    _channel: Channel
    _frozen: bool

    def __init__(
        self, channel: Channel, namespace: str = "default", *, space: str | None = None, frozen: bool = False
    ) -> None:
        self.__dict__.update(_channel=channel, namespace=namespace, space=space, _frozen=frozen)

    # Faces made from this one: no I/O.

    @explained
    def use_namespace(self, name: str) -> Self:
        """Return a data_store on that namespace; it replaces the current one, and needs not exist yet.

        Example: `files = data_store.use_namespace("files:my-repo")`
        """
        return type(self)(self._channel, names.name("namespace", name), space=self.space, frozen=self._frozen)

    @explained
    def private(self, name: str | None = None) -> Self:
        """Return a data_store that only this agent can reach; other agents of the user can neither list nor read it.

        Example: `data_store.private().set("state", {"step": 3})`
        """
        if self.space is not None:
            raise errors.NotSupported(
                f"the space {self.space!r:.60} has no private namespaces. Call private() on data_store itself."
            )
        own = "self" if name is None else f"self.{names.name('namespace', name)}"
        return type(self)(self._channel, names.name("namespace", own), frozen=self._frozen)

    @explained
    def shared(self, space: str) -> Self:
        """Return a data_store on a space that several users share, its namespace `default`; the host must grant it.

        Example: `data_store.shared("team-alpha").use_namespace("plans").get("week")`
        """
        return type(self)(self._channel, space=names.name("space", space), frozen=self._frozen)

    @explained
    def read_only(self) -> Self:
        """Return the same data_store, refusing every write: a guard against mistakes, not a boundary.

        Example: `safe = data_store.read_only()`
        """
        return type(self)(self._channel, self.namespace, space=self.space, frozen=True)

    # One entry.

    @verb
    def get(self, key: str, default: Any = None) -> Steps[Any]:
        """Return the value, or `default` where there is no such entry; a stored None is None.

        Example: `data_store.get("config", {})`
        """
        found = yield self._get([names.name("key", key)], "value")
        return unpack_value(found["items"][0]) if found["items"] else default

    @verb
    def get_entry(self, key: str) -> Steps[Entry | None]:
        """Return the value with metadata, version and who wrote it when, or None where there is no such entry.

        Example: `data_store.get_entry("config").updated_by_agent`
        """
        found = yield self._get([names.name("key", key)], "entry")
        return Entry.from_dict(found["items"][0]) if found["items"] else None

    @verb
    def exists(self, key: str) -> Steps[bool]:
        """Say whether there is such an entry, without reading its value; False where there is none.

        Example: `data_store.exists("done:42")`
        """
        found = yield self._get([names.name("key", key)], "key")
        return bool(found["items"])

    @verb
    def expires_in(self, key: str) -> Steps[float | None]:
        """Return the seconds until the entry expires: None = never, 0 = there is no such entry.

        Example: `data_store.expires_in("cache:page")`
        """
        found = yield self._get([names.name("key", key)], "key")
        return found["items"][0]["expires_in_seconds"] if found["items"] else 0

    @writing
    def set(
        self,
        key: str,
        value: Any,
        metadata: Mapping[str, Any] | None = None,
        *,
        ttl_seconds: float | None = None,
        if_version: Version = ...,
    ) -> Steps[str]:
        """Write the value, creating the entry where it is absent, and return its new version.

        Metadata merges into what stands; without ttl_seconds the entry no longer expires. With if_version it writes
        only over that version (data_store.ABSENT: only if there is none), else raises data_store.Conflict.

        Example: `data_store.set("report", {"total": 3}, {"source": "crm"}, ttl_seconds=3600)`
        """
        put = self._put(key, value, metadata, ttl_seconds)
        put.update(_condition(if_version))
        applied = yield self._apply([put])
        return _version(put["key"], applied["outcomes"][0])

    @writing
    def add(
        self, key: str, value: Any, metadata: Mapping[str, Any] | None = None, *, ttl_seconds: float | None = None
    ) -> Steps[bool]:
        """Write the value only if the entry is absent: True if this call created it, False if it was there.

        Example: `if data_store.add("claim:42", "me", ttl_seconds=60): ...`
        """
        put = self._put(key, value, metadata, ttl_seconds)
        applied = yield self._apply([{**put, "if_absent": True}])
        return bool(applied["outcomes"][0]["applied"])

    @writing
    def incr(
        self, key: str, by: float = 1, *, initial: float = 0, ttl_seconds: float | None = None
    ) -> Steps[int | float]:
        """Add to a number and return the new one, atomically; an absent entry begins as initial + by.

        It keeps its expiry unless ttl_seconds is given.

        Example: `data_store.incr("visits")`
        """
        applied = yield self._apply([self._incr(key, by, initial, ttl_seconds)])
        number: int | float = applied["outcomes"][0]["number"]
        return number

    @writing
    def update(
        self, key: str, function: Callable[[Any], Any], default: Any = None, *, ttl_seconds: float | None = None
    ) -> Steps[Any]:
        """Replace the value by what the function makes of it, again if others wrote meanwhile; return the new value.

        The function gets a private copy, of the default where the entry is absent, may be called several times, and
        must return the new value. Metadata stays, and the expiry unless ttl_seconds is given. Where others are faster
        each time it ends with data_store.Conflict.

        Example: `data_store.update("log", lambda lines: lines + ["done"], default=[])`
        """
        named, function = names.name("key", key), hints.function(function)
        initial = values.plain(default, "default")
        self._changing(_ttl(ttl_seconds))
        for attempt in range(_TRIES):
            found = yield self._get([named], "entry")
            standing = found["items"][0] if found["items"] else {"value": values.plain(initial), "version": None}
            new = hints.returned(named, function(unpack_value(standing)))
            put = self._replacement(named, new, ttl_seconds, standing["version"])
            applied = yield self._apply([put])
            if applied["outcomes"][0]["applied"]:
                return unpack_value(put)
            yield Pause(random.uniform(0, min(0.001 * 2**attempt, _LONGEST_PAUSE_SECONDS)))  # noqa: S311 - jitter is not a secret
        raise hints.outrun(named, applied["outcomes"][0]["version"], _TRIES)

    @writing
    def delete(self, key: str, *, if_version: Version = ...) -> Steps[bool]:
        """Remove the entry and say whether it was there; absent is False.

        Example: `data_store.delete("draft")`
        """
        change = {"kind": "delete", "key": names.name("key", key), **_condition(if_version)}
        if "if_absent" in change:
            raise errors.InvalidArgument("delete() of what must be absent does nothing. Leave if_version out.")
        applied = yield self._apply([change])
        outcome = applied["outcomes"][0]
        if not outcome["applied"] and outcome["version"] is not None:
            raise errors.Conflict(change["key"], outcome["version"])
        return bool(applied["changed"])

    @writing
    def touch(self, key: str, ttl_seconds: float | None) -> Steps[bool]:
        """Let the entry expire ttl_seconds from now (None: never) and say whether it exists; absent is False.

        An entry that would expire within 0.25 seconds counts as absent.

        Example: `data_store.touch("session", 1800)`
        """
        change = {"kind": "touch", "key": names.name("key", key), **_ttl(ttl_seconds)}
        applied = yield self._apply([change])
        return bool(applied["changed"])

    # Many entries.

    @verb
    def get_many(self, keys: Iterable[str]) -> Steps[dict[str, Any]]:
        """Return key -> value in the order asked; absent ones are left out, a stored None is kept.

        Example: `data_store.get_many(["a", "b"])`
        """
        asked = names.keys(keys)
        found: dict[str, Any] = {}
        gathered = _Gathered(self._channel, "get_many", "ask for fewer keys at a time")
        waiting = asked
        while waiting:
            batch = next(batches(waiting, self._channel.limits["frame_bytes"]))
            answer = yield self._get(batch, "value")
            found.update(gathered.take(answer["items"]))
            waiting = [*answer["rest"], *waiting[len(batch) :]]
        return {key: found[key] for key in asked if key in found}

    @verb
    def get_all(self, prefix: str | None = None) -> Steps[dict[str, Any]]:
        """Return key -> value of the whole namespace, or of the keys with a prefix, in key order; {} where none is.

        Example: `data_store.get_all("summary:")`
        """
        found: dict[str, Any] = {}
        gathered = _Gathered(self._channel, "get_all", "iterate: for key, value in data_store.items(prefix=...)")
        span: Span | None = Span(prefix=names.prefix(prefix))
        while span is not None:
            page = yield self._scan(span, "value")
            found.update(gathered.take(page["items"]))
            span = span.next(page)
        return found

    @writing
    def set_many(
        self,
        items: Mapping[str, Any] | Iterable[tuple[str, Any]],
        metadata: Mapping[str, Any] | None = None,
        *,
        ttl_seconds: float | None = None,
    ) -> Steps[int]:
        """Write many values and return how many; every name and value is checked before the first is written.

        Example: `data_store.set_many({"a": 1, "b": 2})`
        """
        checked = values.items(items)
        puts = [self._put(key, value, metadata, ttl_seconds) for key, value in checked.items()]
        return (yield from self._apply_all(puts, "written", lambda answer: len(answer["outcomes"])))

    @writing
    def delete_many(self, keys: Iterable[str]) -> Steps[int]:
        """Remove many entries and return how many were there; absent ones are no error.

        Example: `data_store.delete_many(["a", "b"])`
        """
        changes: list[Request] = [{"kind": "delete", "key": key} for key in names.keys(keys, "delete_many")]
        return (yield from self._apply_all(changes, "deleted", lambda answer: int(answer["changed"])))

    @writing
    def clear(self, prefix: str | None = None) -> Steps[int]:
        """Remove every entry of this namespace, or those with a prefix, and return how many; 0 where none is.

        Example: `data_store.use_namespace("scratch").clear()`
        """
        answer = yield self._changing({"op": "clear", "prefix": names.prefix(prefix)})
        return int(answer["number"])

    @writing
    def copy_to(self, namespace: str, prefix: str | None = None) -> Steps[int]:
        """Copy this namespace's entries, or those with a prefix, with metadata and expiry; return how many.

        Example: `data_store.copy_to("backup")`
        """
        target = names.name("namespace", namespace)
        answer = yield self._changing({"op": "copy", "target": target, "prefix": names.prefix(prefix)})
        return int(answer["number"])

    # Finding.

    @verb
    def list_keys(
        self, prefix: str | None = None, *, after: str | None = None, limit: int | None = None, reverse: bool = False
    ) -> Steps[list[str]]:
        """Return the keys in order, complete however many; only a limit shortens the list; [] where none is.

        Example: `data_store.list_keys("user:", limit=10)`
        """
        found: list[str] = []
        span: Span | None = Span.of(prefix, after, limit, reverse=reverse)
        while span is not None:
            page = yield self._scan(span, "key")
            found += page["items"]
            span = span.next(page)
        return found

    @verb
    def count(self, prefix: str | None = None) -> Steps[int]:
        """Return how many entries this namespace holds, or how many with a prefix; 0 where none is.

        Example: `data_store.count("job:")`
        """
        answer = yield self._here({"op": "count", "prefix": names.prefix(prefix)})
        return int(answer["number"])

    @verb
    def list_namespaces(self, prefix: str | None = None) -> Steps[list[str]]:
        """Return the names of the namespaces that hold an entry and may be read, in order; [] where none is.

        Example: `data_store.list_namespaces("files:")`
        """
        request = within(self.space, {"op": "namespaces", "prefix": names.prefix(prefix)})
        answer = yield request
        found: list[str] = answer["names"]
        while answer["next"] is not None:
            answer = yield {**request, "after": answer["next"]}
            found += answer["names"]
        return found

    @verb
    def usage(self) -> Steps[dict[str, Any]]:
        """Return {"keys": ..., "bytes": ..., "limits": {...}} of all that this agent may read here.

        Example: `data_store.usage()["bytes"]`
        """
        answer: dict[str, Any] = yield within(self.space, {"op": "usage"})
        return answer

    # Waiting.

    @verb
    def wait_for(self, key: str, timeout_seconds: float = 30, *, after: str | None = None) -> Steps[Any]:
        """Return the value as soon as there is one, at once if there is; where none comes in time raise Timeout.

        With after=version it waits for the first value with another version than that.

        Example: `data_store.wait_for("result:42", timeout_seconds=20)`
        """
        named, seen = names.name("key", key), _seen(after)
        seconds = names.seconds("timeout_seconds", timeout_seconds)
        until, cursor = time.monotonic() + seconds, None
        while not (found := (yield from self._standing(named, seen))):
            came = False
            while not came:
                left = max(until - time.monotonic(), 0)
                if cursor is not None and not left:
                    return (yield from self._at_last(named, seen, seconds))
                wait = 0 if cursor is None else min(left, POLL_SECONDS)
                answer = yield within(self.space, watch_request(self.namespace, named, cursor, wait, exact=True))
                came = cursor is None or any(item["version"] for item in answer["items"])
                cursor = answer["cursor"]
        return unpack_value(found[0])

    def _standing(self, key: str, seen: str | None) -> Steps[list[Request]]:
        """Return the entry, unless there is none or it is at the version that was seen: looking is not reading."""
        if seen is not None:
            looked = yield self._get([key], "key")
            if not looked["items"] or looked["items"][0]["version"] == seen:
                return []
        found = yield self._get([key], "value")
        items: list[Request] = found["items"]
        return items

    def _at_last(self, key: str, seen: str | None, seconds: float) -> Steps[Any]:
        """Look once more when the time is up: the engine may tell of a change a little later than it made it."""
        found = yield from self._standing(key, seen)
        if found:
            return unpack_value(found[0])
        what = "no such entry" if seen is None else "no other version"
        raise errors.Timeout(
            f"wait_for({key!r}): {what} came within {seconds:g} seconds. "
            "Wait again, or longer with timeout_seconds=..., or do without it.",
            key=key,
        )

    # Requests.

    def _get(self, keys: list[str], detail: str) -> Request:
        return self._here({"op": "get", "keys": keys, "detail": detail})

    def _scan(self, span: Span, detail: str) -> Request:
        return self._here({"op": "scan", "detail": detail, **span.request()})

    def _apply(self, mutations: list[Request]) -> Request:
        return self._changing({"op": "apply", "mutations": mutations})

    def _changing(self, request: Request) -> Request:
        if self._frozen:
            raise errors.AccessDenied("this data_store is read_only(). Write through the data_store it was made from.")
        return self._here(request)

    def _here(self, request: Request) -> Request:
        return within(self.space, {"namespace": self.namespace, **request})

    def _put(self, key: str, value: Any, metadata: Mapping[str, Any] | None, ttl_seconds: float | None) -> Request:
        limits = self._channel.limits
        named = names.name("key", key)
        content = values.plain(value)
        values.check_size(values.size(content), limits["value_bytes"])
        put = pack_value({"kind": "put", "key": named, "value": content, **_ttl(ttl_seconds)})
        if metadata:
            put["metadata"] = values.metadata(metadata, limits["metadata_bytes"])
        elif metadata is not None:
            values.metadata(metadata)
        return put

    def _incr(self, key: str, by: float, initial: float, ttl_seconds: float | None) -> Request:
        change = {"kind": "incr", "key": names.name("key", key), "by": values.number("by", by), **_ttl(ttl_seconds)}
        return {**change, "initial": values.number("initial", initial)}

    def _replacement(self, key: str, value: Any, ttl_seconds: float | None, version: str | None) -> Request:
        put = self._put(key, value, None, ttl_seconds)
        if version is None:
            return {**put, "if_absent": True}
        return {**put, "if_version": version, "keep_expiry": ttl_seconds is None}

    def _apply_all(self, changes: list[Request], done: str, count: Callable[[Any], int]) -> Steps[int]:
        total = 0
        for batch in list(batches(changes, self._channel.limits["frame_bytes"])):
            with errors.after(total, f"{total:,} of {len(changes):,} were {done}"):
                answer = yield self._apply(batch)
            total += count(answer)
        return total

    # Habits.

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"data_store has no {name!r}")
        raise hints.unknown_verb(name, [each for each in dir(type(self)) if each[0].islower()])

    def __setattr__(self, name: str, value: object) -> None:
        raise errors.InvalidArgument(f"data_store.{name} cannot be assigned. Write data_store.set({name!r}, value).")

    def __delattr__(self, name: str) -> None:
        raise errors.InvalidArgument(f"data_store.{name} cannot be deleted. Write data_store.delete({name!r}).")

    def __await__(self) -> NoReturn:
        raise errors.InvalidArgument('a data_store is made without waiting. Remove "await" before it.')

    def __repr__(self) -> str:
        return f"data_store(namespace={self.namespace!r}, space={self.space!r})"

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> NoReturn:
        raise errors.ValueNotStorable(
            "data_store is a handle on a connection and cannot be pickled or copied; pass it."
        )


class DataStore(Verbs, SyncFace):
    """The verbs, called plainly."""

    @property
    def aio(self) -> AsyncDataStore:
        """The same verbs for `await`, on the same namespace."""
        return AsyncDataStore(self._channel, self.namespace, space=self.space, frozen=self._frozen)

    @explained
    def keys(
        self, prefix: str | None = None, *, after: str | None = None, limit: int | None = None, reverse: bool = False
    ) -> View[str]:
        """Return a view of the keys: iterate it as often as you like; `len` counts, `in` asks; memory stays flat.

        Example: `for key in data_store.keys("job:"): ...`
        """
        return View(self, Span.of(prefix, after, limit, reverse=reverse), "key", str)

    @explained
    def items(
        self, prefix: str | None = None, *, after: str | None = None, limit: int | None = None, reverse: bool = False
    ) -> View[tuple[str, Any]]:
        """Return a view of pairs (key, value), page by page, so that any amount fits; deleting meanwhile is safe.

        Example: `for key, value in data_store.items("job:"): ...`
        """
        return View(self, Span.of(prefix, after, limit, reverse=reverse), "value", _pair)

    @explained
    def atomic(self, *, lease: Lease | None = None) -> Atomic:
        """Return what gathers checks and changes, and makes all of them or none at the end of a `with`, or at commit().

        With a lease of lock() it commits only while that is held.

        Example: `with data_store.atomic() as changes: changes.incr("alice", -5).incr("bob", 5)`
        """
        self._changing({})
        return Atomic(self, lease=lease)

    @explained
    def lock(self, name: str, ttl_seconds: float = 30, wait_seconds: float = 0) -> Lock:
        """Return a lock for `with`, which gives its lease; where others hold it for so long raise LockUnavailable.

        The lease renews itself while it is held, and expires after ttl_seconds where its holder dies.

        Example: `with data_store.lock("report", wait_seconds=10) as lease: ...`
        """
        self._changing({})
        return Lock(self, name, ttl_seconds, wait_seconds)

    @explained
    def watch(self, prefix: str | None = None, *, cursor: str | None = None, timeout_seconds: float = 30) -> Watch:
        """Return the changes from now on, or after a cursor, in order, for `for`; it ends when none came for that long.

        Each has kind ("put" or "removed"), key, version and cursor; read the value with get.

        Example: `for change in data_store.watch("job:", timeout_seconds=20): ...`
        """
        return Watch(self, prefix, cursor, timeout_seconds).begin()

    def __getitem__(self, key: str) -> Any:
        found = drive(self._channel, _one(self._get([names.name("key", key)], "value")))["items"]
        if not found:
            raise KeyError(key)
        return unpack_value(found[0])

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def __contains__(self, key: str) -> bool:
        return self.exists(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return self.count()

    def __aiter__(self) -> NoReturn:
        raise errors.InvalidArgument('data_store is for "for". Write "async for key in data_store.aio.keys()".')


class AsyncDataStore(Verbs, AsyncFace):
    """The verbs, for `await`."""

    @explained
    def keys(
        self, prefix: str | None = None, *, after: str | None = None, limit: int | None = None, reverse: bool = False
    ) -> AsyncView[str]:
        """Return a view of the keys for `async for`.

        Example: `async for key in data_store.aio.keys("job:"): ...`
        """
        return AsyncView(self, Span.of(prefix, after, limit, reverse=reverse), "key", str)

    @explained
    def items(
        self, prefix: str | None = None, *, after: str | None = None, limit: int | None = None, reverse: bool = False
    ) -> AsyncView[tuple[str, Any]]:
        """Return a view of pairs (key, value) for `async for`.

        Example: `async for key, value in data_store.aio.items(): ...`
        """
        return AsyncView(self, Span.of(prefix, after, limit, reverse=reverse), "value", _pair)

    @explained
    def atomic(self, *, lease: Lease | None = None) -> AsyncAtomic:
        """Return what gathers checks and changes, and makes all of them or none at the end of an `async with`.

        Example: `async with data_store.aio.atomic() as changes: changes.incr("alice", -5).incr("bob", 5)`
        """
        self._changing({})
        return AsyncAtomic(self, lease=lease)

    @explained
    def lock(self, name: str, ttl_seconds: float = 30, wait_seconds: float = 0) -> AsyncLock:
        """Return a lock for `async with`, which gives its lease; where others hold it raise LockUnavailable.

        Example: `async with data_store.aio.lock("report", wait_seconds=10) as lease: ...`
        """
        self._changing({})
        return AsyncLock(self, name, ttl_seconds, wait_seconds)

    @explained
    def watch(self, prefix: str | None = None, *, cursor: str | None = None, timeout_seconds: float = 30) -> AsyncWatch:
        """Return the changes for `async for`, which begins with the loop; `await` the watch to have it begin at once.

        Example: `async for change in data_store.aio.watch("job:", timeout_seconds=20): ...`
        """
        return AsyncWatch(self, prefix, cursor, timeout_seconds)

    def __getitem__(self, key: str) -> NoReturn:
        raise errors.InvalidArgument(f"data_store.aio has no [...]. Write await data_store.aio.get({key!r}).")

    def __setitem__(self, key: str, value: object) -> NoReturn:
        raise errors.InvalidArgument(f"data_store.aio has no [...]. Write await data_store.aio.set({key!r}, value).")

    def __delitem__(self, key: str) -> NoReturn:
        raise errors.InvalidArgument(f"data_store.aio has no [...]. Write await data_store.aio.delete({key!r}).")

    def __contains__(self, key: object) -> NoReturn:
        raise errors.InvalidArgument(f'data_store.aio has no "in". Write await data_store.aio.exists({key!r}).')

    def __len__(self) -> NoReturn:
        raise errors.InvalidArgument("data_store.aio has no len(). Write await data_store.aio.count().")

    def __iter__(self) -> NoReturn:
        raise errors.InvalidArgument('data_store.aio is not iterable. Write "async for key in data_store.aio.keys()".')


def _one(request: Request) -> Steps[Any]:
    return (yield request)


def _pair(item: Request) -> tuple[str, Any]:
    return item["key"], unpack_value(item)


def _ttl(ttl_seconds: object) -> Request:
    return {} if ttl_seconds is None else {"ttl_seconds": names.seconds("ttl_seconds", ttl_seconds)}


def _condition(if_version: object) -> Request:
    if if_version is ...:
        return {}
    if if_version is ABSENT:
        return {"if_absent": True}
    if if_version is None:
        raise errors.InvalidArgument(
            "if_version=None: there was no entry when you looked. "
            "Use data_store.ABSENT to require that, or leave if_version out to overwrite."
        )
    if isinstance(if_version, Entry):
        raise errors.InvalidArgument("if_version needs a version, got Entry. Write if_version=entry.version.")
    if not isinstance(if_version, str):
        raise errors.InvalidArgument(
            f"if_version needs a version string, got {type(if_version).__name__}. Write if_version=entry.version."
        )
    return {"if_version": if_version}


def _seen(after: object) -> str | None:
    if isinstance(after, Entry):
        raise errors.InvalidArgument("after needs a version, got Entry. Write after=entry.version.")
    if after is not None and not isinstance(after, str):
        raise errors.InvalidArgument(
            f"after needs a version string, got {type(after).__name__}. Write after=entry.version."
        )
    return after


def _version(key: str, outcome: Request) -> str:
    if not outcome["applied"]:
        raise errors.Conflict(key, outcome["version"])
    version: str = outcome["version"]
    return version


class _Gathered:
    """Counts what a verb that returns everything has gathered, and stops it before the run's memory does."""

    def __init__(self, channel: Channel, verb_name: str, instead: str) -> None:
        self._left = self._most = channel.limits["gather_bytes"]
        self._refusal = f"{verb_name} would hold more than {self._most:,} bytes at once; {instead}."

    def take(self, items: list[Request]) -> Iterator[tuple[str, Any]]:
        for item in items:
            key, value = _pair(item)
            self._left -= values.size(value)
            if self._left < 0:
                raise errors.RunLimitExceeded(self._refusal, limit="gather_bytes", value=self._most)
            yield key, value
