"""Locks: a lease that one holder has at a time, for a while, and a token that every new holder gets a larger one of.

A lock is two entries in a namespace of its own: the lease, which expires, and the last token, which never does. Taking
it claims the lease, counts the token up, and confirms the lease with it. Whoever stalls between the first two finds
the lease gone or another's, and its token is never used. Renewing and giving back ask for the version that was
claimed, so nobody touches another's lease.

A thread renews the lease while it is held, whatever the agent's own code is doing.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from datastore import names
from datastore.errors import (
    Conflict,
    DataStoreError,
    InvalidArgument,
    LockUnavailable,
    RateExceeded,
    StoreUnavailable,
    ValueNotStorable,
    after,
)
from sandbox.guest import hints, later
from sandbox.guest.channel import Channel
from sandbox.guest.faces import Pause, Request, Steps, adrive, drive, within
from sandbox.guest.watching import POLL_SECONDS, watch_request

if TYPE_CHECKING:
    from sandbox.guest.verbs import Verbs

_NUMBERS: Final = itertools.count()
_PAUSE_SECONDS: Final = 0.05
_RENEWALS: Final = 3
"""How often a lease is renewed before it would expire."""


class Lease:
    """A lock that is held. `token` is larger than every earlier holder's; `lost` says that it is held no more."""

    _not_data_: ClassVar[str] = "a lease is a handle, not data; return lease.token."

    def __init__(self, lock: _Lock, version: str, token: int, until: float) -> None:
        self.name = lock.name
        self.token = token
        self._lock = lock
        self._version = version
        self._until = until
        self._is_gone = False
        self._ended = threading.Event()

    @property
    def lost(self) -> bool:
        """Whether the lease is held no more: it expired, or somebody removed it."""
        return self._is_gone or time.monotonic() >= self._until

    @property
    def space(self) -> str | None:
        """Where the lock is: in a space, or None."""
        return self._lock.space

    def requirement(self) -> Request:
        """Return the check that makes other changes depend on this lease.

        Raises:
            LockUnavailable: it is held no more.
        """
        if self.lost:
            raise self.error()
        lock = self._lock
        return {"kind": "check", "namespace": lock.namespace, "key": lock.lease, "version": self._version}

    def refused(self, conflict: Conflict) -> bool:
        """Say whether it was this lease that did not hold."""
        key: str = conflict.fields["key"]
        return key == self._lock.lease

    def error(self) -> LockUnavailable:
        """Return the error for what came too late."""
        return LockUnavailable(
            f"the lease of lock {self.name!r:.60} was lost: it expired or was removed while this run held it. "
            "Take the lock again and look at what changed meanwhile; a longer ttl_seconds bears longer stalls.",
            name=self.name,
        )

    def renew(self) -> None:
        """Renew until the end: the lease's, the channel's, or the holder's; for a thread of its own."""
        seconds = self._lock.ttl_seconds
        while not self._ended.wait(seconds / _RENEWALS):
            asked = time.monotonic()
            try:
                answer = self._lock.channel.call(self._mutation("touch", ttl_seconds=seconds))
            except (StoreUnavailable, RateExceeded):
                if self.lost:  # As long as it is not, it may go well in time.
                    return
            except DataStoreError:
                return
            else:
                if not answer["outcomes"][0]["applied"]:
                    self._is_gone = True
                    return
                self._until = asked + seconds

    def abandon(self) -> None:
        """Give the lock back without waiting for it."""
        self._ended.set()
        self._is_gone = True
        self._lock.forget()
        self._lock.channel.tell(self._mutation("delete"))

    def release(self) -> Steps[bool]:
        """Give the lock back; return whether it was still held."""
        self._ended.set()
        answer = yield self._mutation("delete")
        held: bool = answer["outcomes"][0]["applied"]
        self._is_gone = True
        return held

    def _mutation(self, kind: str, **further: Any) -> Request:
        return self._lock.request(kind=kind, key=self._lock.lease, if_version=self._version, **further)

    def __repr__(self) -> str:
        return f"<lease of {self.name!r:.60}, token {self.token}{', lost' if self.lost else ''}>"

    def __reduce__(self) -> NoReturn:
        raise ValueNotStorable("a lease is a handle and cannot be pickled or copied; keep lease.token.")


class _Renewal:
    """The thread that renews a lease: it is there before anything is claimed, since a run's threads are counted.

    Raises:
        LockUnavailable: no thread can be started.
    """

    def __init__(self, name: str) -> None:
        self._lease: Lease | None = None
        self._is_told = threading.Event()
        try:
            threading.Thread(target=self._work, name=f"lease of {name!r:.40}", daemon=True).start()
        except RuntimeError:
            raise LockUnavailable(
                f"the lock {name!r:.60} needs a thread that renews it, and this run may start no more. "
                "End threads, or give back other locks, first.",
                name=name,
            ) from None

    def of(self, lease: Lease) -> Lease:
        """Begin to renew."""
        self._lease = lease
        self._is_told.set()
        return lease

    def give_up(self) -> None:
        """End: there is nothing to renew."""
        self._is_told.set()

    def _work(self) -> None:
        self._is_told.wait()
        if self._lease is not None:
            self._lease.renew()


def _self() -> object:
    """Return who is running: the task, or where there is none the thread."""
    in_loop = later.is_loaded(asyncio) and asyncio._get_running_loop()  # noqa: SLF001 - get_running_loop() raises
    return (asyncio.current_task() if in_loop else None) or threading.get_ident()


class _Lock:
    """What is asked for, until it is held, and while it is."""

    _not_data_: ClassVar[str] = "lock() is a handle, not data; return values."
    _said: ClassVar[str]

    def __init__(self, face: Verbs, name: object, ttl_seconds: object, wait_seconds: object) -> None:
        self.name = names.name("lock", name)
        self.ttl_seconds = names.claim_seconds(names.seconds("ttl_seconds", ttl_seconds))
        self.wait_seconds = 0.0 if wait_seconds == 0 else names.seconds("wait_seconds", wait_seconds)
        self.channel: Channel = face._channel  # noqa: SLF001 - one subject in two files
        self.namespace = names.LOCKS + face.namespace
        self.space = face.space
        self.lease = names.LEASE + self.name
        self.is_claiming = False
        self.has_claimed = False
        """Whether a claim stands that is not confirmed: it is to be given back, and others meet it until then."""
        self.is_abandoned = False
        """Whether the caller was cancelled while a claim was under way: that one is awaited, and no other made."""
        self._who: object = None
        self._held: Lease | None = None
        self._shown = f"{self._said}({self.name!r:.60})"
        self._number = next(_NUMBERS)
        self.channel.unfinished[self._number] = hints.never_entered(self._shown)

    def request(self, **mutation: Any) -> Request:
        """Return a request that changes one entry of the lock."""
        return within(self.space, {"op": "apply", "namespace": self.namespace, "mutations": [mutation]})

    @property
    def _mark(self) -> tuple[str | None, str, str]:
        """What this run holds while it holds the lock."""
        return self.space, self.namespace, self.name

    def forget(self) -> None:
        """Take note that this run holds it no more."""
        self.channel.locks.pop(self._mark, None)

    def _enter(self) -> Steps[Lease]:
        """Take the lock.

        Raises:
            LockUnavailable: others hold it, or this run does.
            StoreUnavailable: the store did not say; the lock is not held, and may look held until ttl_seconds are over.
        """
        self.channel.unfinished.pop(self._number, None)
        holder = self.channel.locks.get(self._mark)
        if holder is not None and (not self.wait_seconds or holder == self._who):
            raise LockUnavailable(
                f"this run holds the lock {self.name!r:.60} already, so waiting would never end. "
                "Pass the lease on instead of taking it again.",
                name=self.name,
            )
        renewal = _Renewal(self.name)
        try:
            self._held = yield from self._taken(renewal)
        except StoreUnavailable as error:
            raise self._not_taken(error) from None
        except DataStoreError:
            with after(self.has_claimed, f"the lock {self.name!r:.60} was claimed for {self.ttl_seconds:g} seconds"):
                raise
        finally:
            if self._held is None:
                renewal.give_up()
        self.channel.locks[self._mark] = self._who
        return self._held

    def _exit(self) -> Steps[None]:
        """Give the lock back.

        Raises:
            LockUnavailable: it was held no more.
            StoreUnavailable: the store did not answer.
        """
        lease, self._held = self._held, None
        assert lease is not None  # noqa: S101 - it was entered
        self.forget()
        try:
            held = yield from lease.release()
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"the lock {self.name!r:.60} could not be given back: the store did not answer",
                may_have_written=error.may_have_written,
                advice=f"It ends by itself within {self.ttl_seconds:g} seconds.",
            ) from None
        if not held:
            raise lease.error()

    def _taken(self, renewal: _Renewal) -> Steps[Lease]:
        until, cursor = time.monotonic() + self.wait_seconds, None
        while (lease := (yield from self._claimed(renewal))) is None:
            if self.is_abandoned:
                raise self._unavailable(0.0)
            looked = {"op": "get", "namespace": self.namespace, "keys": [self.lease], "detail": "key"}
            found = yield within(self.space, looked)
            expiry = found["items"][0]["expires_in_seconds"] if found["items"] else 0.0
            left = until - time.monotonic()
            if left <= 0:
                raise self._unavailable(expiry)
            wait = 0.0 if cursor is None else min(left, expiry, POLL_SECONDS)
            watched = watch_request(self.namespace, self.lease, cursor, wait, exact=True)
            answer = yield within(self.space, watched)
            cursor = answer["cursor"]
        return lease

    def _claimed(self, renewal: _Renewal) -> Steps[Lease | None]:
        """Claim, count and confirm; None where somebody else holds the lock."""
        claim = {"kind": "put", "key": self.lease, "ttl_seconds": self.ttl_seconds}
        self.is_claiming = True
        try:
            version = yield from self._applied({**claim, "value": None, "if_absent": True})
            if version is None:
                return None
            self.has_claimed = True
            try:
                answer = yield self.request(kind="incr", key=names.TOKEN + self.name, by=1)
                token: int = answer["outcomes"][0]["number"]
                asked = time.monotonic()
                confirmed = yield from self._applied({**claim, "value": {"token": token}, "if_version": version})
            except BaseException:  # Nobody holds what was claimed.
                self.channel.tell(self.request(kind="delete", key=self.lease, if_version=version))
                raise
            self.has_claimed = False
            if confirmed is None:
                yield Pause(
                    _PAUSE_SECONDS
                )  # A lease that ends within a round trip must not be asked for at full speed.
                return None
            return renewal.of(Lease(self, confirmed, token, asked + self.ttl_seconds))
        finally:
            self.is_claiming = False

    def _applied(self, mutation: Request) -> Steps[str | None]:
        """Return the new version; None where the condition did not hold."""
        answer = yield self.request(**mutation)
        outcome = answer["outcomes"][0]
        return outcome["version"] if outcome["applied"] else None

    def _not_taken(self, error: StoreUnavailable) -> StoreUnavailable:
        """Return the error for a lock that the store did not give; of a claim that is left, it says when it ends."""
        if self.channel.has_ended and not self.has_claimed:
            return error
        taken = f"the lock {self.name!r:.60} was not taken: the store did not answer"
        if not (self.has_claimed or error.may_have_written):
            return StoreUnavailable(taken, advice="Take the lock again.")
        left = (
            f"A claim may stand for {self.ttl_seconds:g} seconds: take the lock again, with wait_seconds to outlast it."
        )
        return StoreUnavailable(taken, may_have_written=True, advice=left)

    def _unavailable(self, expiry: float) -> LockUnavailable:
        waited = f" after {self.wait_seconds:g} seconds" if self.wait_seconds else ""
        return LockUnavailable(
            f"the lock {self.name!r:.60} is held by another run{waited}. Wait longer with wait_seconds=..., or do "
            f"something else; it is free in {expiry:.0f} seconds at the latest, unless its holder goes on renewing it.",
            name=self.name,
            expires_in_seconds=expiry,
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(f"a lock has no {name!r}")
        raise InvalidArgument(f'a lock is for "with", and gives the lease. {hints.entering(self._shown)}')

    def __repr__(self) -> str:
        return self._shown

    def __del__(self) -> None:
        if "_number" in self.__dict__ and self._number in self.channel.unfinished:  # As for an atomic().
            warnings.warn(self.channel.unfinished[self._number].message, RuntimeWarning, stacklevel=1)


class Lock(_Lock):
    """For `with`."""

    _said = "data_store.lock"

    def __enter__(self) -> Lease:
        self._who = _self()
        return drive(self.channel, self._enter())

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            drive(self.channel, self._exit())
        except DataStoreError:
            if kind is None:  # What the body raised matters more.
                raise

    async def __aenter__(self) -> NoReturn:
        raise InvalidArgument(f'data_store.lock() is for "with". {hints.entering("data_store.aio.lock(...)")}')

    async def __aexit__(self, *_: object) -> None:
        """Never come here: entering refuses."""


def _given_back(taking: asyncio.Future[Lease]) -> None:
    """Give back a lock that was taken for somebody who no longer waits."""
    if not taking.cancelled() and taking.exception() is None:
        taking.result().abandon()


class AsyncLock(_Lock):
    """For `async with`."""

    _said = "data_store.aio.lock"

    async def __aenter__(self) -> Lease:
        self._who = asyncio.current_task()
        taking = asyncio.ensure_future(adrive(self.channel, self._enter()))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(_given_back)
            self.is_abandoned = self.is_claiming
            if not self.is_claiming:  # What has been asked for is awaited, so that it can be given back.
                taking.cancel()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        try:
            await adrive(self.channel, self._exit())
        except DataStoreError:
            if kind is None:  # As above.
                raise

    def __enter__(self) -> NoReturn:
        raise InvalidArgument(
            f'data_store.aio.lock() is for "async with". {hints.entering("data_store.aio.lock(...)")}'
        )

    def __exit__(self, *_: object) -> None:
        """Never come here: entering refuses."""

    def __await__(self) -> NoReturn:
        raise InvalidArgument(f"a lock is not awaited. {hints.entering('data_store.aio.lock(...)')}")
