"""`atomic()`: changes are gathered here, and sent as one request that is made whole or not at all.

Nothing is sent before `commit`, so nothing can be read inside. What is gathered and never committed leaves a note with
the channel, as an `aio` call does that nobody awaits.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self

from datastore import errors, names
from datastore.entry import Entry
from sandbox.guest import hints
from sandbox.guest.batches import PAGE
from sandbox.guest.channel import Channel
from sandbox.guest.faces import AsyncFace, Request, Steps, SyncFace, explained, writing
from sandbox.guest.lease import Lease

if TYPE_CHECKING:
    from sandbox.guest.verbs import Verbs

_NUMBERS: Final = itertools.count()


class Absent:
    """The version of an entry that must not exist."""

    def __repr__(self) -> str:
        return "data_store.ABSENT"


ABSENT: Final = Absent()


class Gathered:
    """The changes of one `atomic()`, whatever namespaces it was used on."""

    def __init__(self, channel: Channel, said: str, lease: Lease | None) -> None:
        self.lease = lease
        self._most = PAGE if lease is None else PAGE - 1  # One is the check of the lease.
        self._notes = channel.unfinished
        self._number = next(_NUMBERS)
        self._said = said
        self._mutations: dict[tuple[str, str, bool], Request] = {}
        self.closed = False

    def add(self, namespace: str, mutation: Request) -> None:
        """Remember a change or a check; a key has at most one of each."""
        if self.closed:
            raise errors.InvalidArgument("this atomic() has ended. Begin another: data_store.atomic().")
        key, checks = mutation["key"], mutation["kind"] == "check"
        if (namespace, key, checks) in self._mutations:
            done = "checked" if checks else "changed"
            raise errors.InvalidArgument(f"{key!r:.60} is {done} twice in one atomic(). Keep the last one.")
        if len(self._mutations) == self._most:
            raise errors.InvalidArgument(f"atomic() takes at most {self._most:,} changes and checks. Make several.")
        self._mutations[namespace, key, checks] = mutation
        self._notes.setdefault(self._number, hints.never_committed(f"{self._said} with {_verb(mutation)}({key!r:.60})"))

    def close(self) -> list[Request]:
        """End it, and return what was gathered."""
        self.closed = True
        self._notes.pop(self._number, None)
        return list(self._mutations.values())

    def __del__(self) -> None:
        if self._number in self._notes:  # The note stays, and ends a sandboxed run; a script is warned.
            warnings.warn(self._notes[self._number].message, RuntimeWarning, stacklevel=1)


class Changes:
    """All or nothing: checks and changes of several keys and namespaces of one user."""

    _not_data_: ClassVar[str] = "atomic() is a handle, not data; return values."
    _said: ClassVar[str]

    def __init__(self, store: Verbs, gathered: Gathered | None = None, *, lease: Lease | None = None) -> None:
        if lease is not None and not isinstance(lease, Lease):
            raise errors.InvalidArgument(
                f'lease is what lock() gives, got {type(lease).__name__}. Write "with data_store.lock(...) as lease:".'
            )
        if lease is not None and lease.space != store.space:
            raise errors.InvalidArgument(
                "the lease is of another space than these changes. Take the lock on the same data_store: "
                "store.lock(...), then store.atomic(lease=lease)."
            )
        self._store = store
        self._channel: Channel = store._channel  # noqa: SLF001 - one subject in two files
        self._gathered = gathered or Gathered(self._channel, self._said, lease)

    @explained
    def use_namespace(self, name: str) -> Self:
        """Return the same atomic() on that namespace; committing one commits all of it."""
        return type(self)(self._store.use_namespace(name), self._gathered)

    @explained
    def check(self, key: str, version: str | Absent) -> Self:
        """Require that the entry is still at the version; data_store.ABSENT: that there is none."""
        return self._add({"kind": "check", "key": names.name("key", key), "version": _required(version)})

    @explained
    def set(
        self, key: str, value: Any, metadata: Mapping[str, Any] | None = None, *, ttl_seconds: float | None = None
    ) -> Self:
        """Write the value, as data_store.set does."""
        return self._add(self._store._put(key, value, metadata, ttl_seconds))  # noqa: SLF001 - as above

    @explained
    def add(
        self, key: str, value: Any, metadata: Mapping[str, Any] | None = None, *, ttl_seconds: float | None = None
    ) -> Self:
        """Write the value; that there is an entry is a conflict."""
        return self._add({**self._store._put(key, value, metadata, ttl_seconds), "if_absent": True})  # noqa: SLF001 - as above

    @explained
    def delete(self, key: str) -> Self:
        """Remove the entry, if there is one."""
        return self._add({"kind": "delete", "key": names.name("key", key)})

    @explained
    def incr(self, key: str, by: float = 1, *, initial: float = 0, ttl_seconds: float | None = None) -> Self:
        """Add to a number, as data_store.incr does; read the new one after the commit."""
        return self._add(self._store._incr(key, by, initial, ttl_seconds))  # noqa: SLF001 - as above

    @writing
    def commit(self) -> Steps[None]:
        """Make all of it or nothing; where a check does not hold, data_store.Conflict has the key and its version."""
        if self._gathered.closed:
            raise errors.InvalidArgument("this atomic() has ended. Begin another: data_store.atomic().")
        mutations, lease = self._gathered.close(), self._gathered.lease
        if not mutations:
            return
        if lease is not None:
            mutations.append(lease.requirement())
        try:
            yield self._store._changing({"op": "apply", "atomic": True, "mutations": mutations})  # noqa: SLF001 - as above
        except errors.Conflict as conflict:
            if lease is not None and lease.refused(conflict):
                raise lease.error() from None
            raise

    def _add(self, mutation: Request) -> Self:
        self._gathered.add(self._store.namespace, {"namespace": self._store.namespace, **mutation})
        return self

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"atomic() has no {name!r}")
        raise hints.not_atomic(name, [each for each in dir(type(self)) if each[0].islower()])

    def __repr__(self) -> str:
        return f"{self._store!r}.atomic()"

    def __await__(self) -> NoReturn:
        raise errors.InvalidArgument('atomic() is not awaited. On data_store.aio, write "await changes.commit()".')

    def __reduce__(self) -> NoReturn:
        raise errors.ValueNotStorable("atomic() is a handle and cannot be pickled or copied; pass it.")


class Atomic(Changes, SyncFace):
    """For `with`, or a plain commit()."""

    _said = "data_store.atomic()"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is not None:
            self._gathered.close()
        elif not self._gathered.closed:
            self.commit()

    async def __aenter__(self) -> NoReturn:
        raise errors.InvalidArgument(
            'data_store.atomic() is for "with". Write "async with data_store.aio.atomic() as changes:".'
        )

    async def __aexit__(self, *_: object) -> None:
        """Never come here: entering refuses."""


class AsyncAtomic(Changes, AsyncFace):
    """For `async with`, or an awaited commit()."""

    _said = "data_store.aio.atomic()"
    _path = "atomic()."

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is not None:
            self._gathered.close()
        elif not self._gathered.closed:
            await self.commit()

    def __enter__(self) -> NoReturn:
        raise errors.InvalidArgument(
            'data_store.aio.atomic() is for "async with". Write "with data_store.atomic() as changes:".'
        )

    def __exit__(self, *_: object) -> None:
        """Never come here: entering refuses."""


def _verb(mutation: Request) -> str:
    put = "add" if "if_absent" in mutation else "set"
    return put if mutation["kind"] == "put" else str(mutation["kind"])


def _required(version: object) -> str | None:
    if isinstance(version, str):
        return version
    if version is ABSENT:
        return None
    if version is None:
        raise errors.InvalidArgument(
            "check(key, None): there was no entry when you looked. Write check(key, data_store.ABSENT) to require that."
        )
    mend = "Write check(key, entry.version)."
    if isinstance(version, Entry):
        raise errors.InvalidArgument(f"check needs a version, got Entry. {mend}")
    raise errors.InvalidArgument(f"check needs a version string, got {type(version).__name__}. {mend}")
