"""Who is kept from acting: the records of blocked users, each changed only over the version that was read.

An erasure is part of its user's record, so there is one at a time, and whoever calls again goes on with it.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from admin.actions.subject import NotFound, operator_name
from datastore import values
from datastore.document import Place, moment
from datastore.entry import NEVER, Entry
from datastore.errors import InvalidArgument, StoreUnavailable
from datastore.models import OPERATOR
from datastore.ports import Actor, Change, Removal, Traces, Write
from datastore.service.blocks import BLOCKED, digest
from datastore.service.store import Store

PSEUDONYMS: Final = "@erased/"
"""Before a receipt's id: what stands for its user in spaces. No user's name begins so."""
RECEIPTS: Final = Place(BLOCKED.owner, "receipts")
"""Where receipts are kept, by their id."""
_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is kept of an erasure; the counts are those of its beginning, and no field says who the user was.

    Attributes:
        id: random; `pseudonym` holds it.
        user_digest: of the user's name, see `blocks.digest`.
        by: the operator who began it.
        begun_at: in ISO 8601.
        ended_at: as well; None while it goes on.
        keys: entries of the user's own.
        bytes: of their values.
        shared: entries of spaces that named the user.
        changes: remembered changes.
        counters: of what it held, kept for quotas.
    """

    id: str
    user_digest: str
    by: str
    begun_at: str
    ended_at: str | None
    keys: int
    bytes: int
    shared: int
    changes: int
    counters: int

    @property
    def pseudonym(self) -> str:
        """What stands for the user in entries of spaces."""
        return PSEUDONYMS + self.id

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Block:
    """A blocked user's record.

    Attributes:
        user: the name; None once the user was erased.
        by: the operator who blocked it.
        since: in ISO 8601.
        receipt: of the last erasure since then, which may not have ended; None: there was none.
    """

    user: str | None
    by: str
    since: str
    receipt: Receipt | None = None

    @property
    def erasing(self) -> bool:
        """Whether an erasure was begun and has not ended."""
        return self.receipt is not None and self.receipt.ended_at is None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return the record that an entry holds."""
        receipt = entry.value["receipt"]
        return cls(**{**entry.value, "receipt": None if receipt is None else Receipt(**receipt)})


async def look(store: Store, user: str) -> tuple[Block | None, str | None]:
    """Return a user's record and its version; None: the user is not blocked."""
    found, _ = await store.engine.get(BLOCKED, [digest(user)], moment(store.clock.now()))
    return (Block.of(found[0]), found[0].version) if found else (None, None)


async def block(store: Store, user: str) -> bool:
    """Block a user; say whether it was not blocked before.

    All hosts keep to it from `blocks.FRESH_SECONDS` after, at the latest.
    """
    return (await look(store, user))[0] is None and await _put(store, user, _new(store, user), None)


async def unblock(store: Store, user: str) -> None:
    """Let a user's agents act again; receipts are kept elsewhere, and stay.

    Raises:
        NotFound: the user is not blocked.
        InvalidArgument: the user is being erased.
    """
    found, version = await look(store, user)
    if found is None or version is None:
        raise NotFound(f"user {user} is not blocked.")
    if found.erasing:
        raise InvalidArgument(
            f"user {user} is being erased, and must stay blocked meanwhile. "
            f"Where that was interrupted, end it first: datastore admin erase --user {user}."
        )
    if not await _write(store, user, BLOCKED, Removal(digest(user), version)):
        raise _changing(user)


async def begin(store: Store, user: str, found: Traces) -> Receipt:
    """Block a user for an erasure, or go on with the one that was begun; return its receipt."""
    for _ in range(_TRIES):
        known, version = await look(store, user)
        if known is not None and known.receipt is not None and known.erasing:
            return known.receipt
        receipt = _receipt(store, user, found)
        wanted = replace(known or _new(store, user), user=user, receipt=receipt)
        if await _put(store, user, wanted, version):
            return receipt
    raise _changing(user)


async def is_erasing(store: Store, user: str, receipt: Receipt) -> bool:
    """Say whether an erasure still goes on; it does not, where somebody else called it as well and was faster.

    Raises:
        StoreUnavailable: the user was unblocked since, or another erasure was begun.
    """
    return (await _erasure(store, user, receipt))[0].erasing


async def end(store: Store, user: str, receipt: Receipt) -> Receipt:
    """Keep the receipt of an erasure, and let its user's record forget the name.

    Raises:
        StoreUnavailable: somebody changed the record meanwhile; the erasure is to be called again.
    """
    known, version = await _erasure(store, user, receipt)
    if known.receipt is not None and not known.erasing:
        return known.receipt
    ended = replace(receipt, ended_at=_now(store).isoformat(timespec="milliseconds"))
    await _write(store, user, RECEIPTS, _content(ended.id, ended.as_dict()))
    if not await _put(store, user, replace(known, user=None, receipt=ended), version):
        raise _changing(user)
    return ended


async def _erasure(store: Store, user: str, receipt: Receipt) -> tuple[Block, str | None]:
    known, version = await look(store, user)
    if known is None or known.receipt is None or known.receipt.id != receipt.id:
        raise _changing(user)
    return known, version


def _receipt(store: Store, user: str, found: Traces) -> Receipt:
    begun = _now(store).isoformat(timespec="milliseconds")
    return Receipt(secrets.token_hex(12), digest(user), _operator(), begun, None, **asdict(found))


def _new(store: Store, user: str) -> Block:
    return Block(user, _operator(), _now(store).isoformat(timespec="milliseconds"))


async def _put(store: Store, user: str, wanted: Block, version: str | None) -> bool:
    """Write a record over the version that was read, None: over none; say whether it still stood."""
    change = _content(digest(user), asdict(wanted))
    return await _write(store, user, BLOCKED, replace(change, if_version=version, if_absent=version is None))


def _content(key: str, value: dict[str, Any]) -> Write:
    return Write(key, value, values.size(value), secrets.token_hex(12), NEVER, {})


def acting(store: Store) -> Actor:
    """Return the operator who acts, now."""
    name = _operator()
    return Actor(name, name, _now(store))


async def _write(store: Store, user: str, place: Place, change: Change) -> bool:
    done = await store.engine.apply(place, [change], acting(store))
    store.blocks.forget(user)
    return done.outcomes[0].applied


def _now(store: Store) -> datetime:
    return moment(store.clock.now())


def _operator() -> str:
    return OPERATOR + operator_name()


def _changing(user: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"somebody else blocks, unblocks or erases user {user} at the same time",
        advice="Call it again.",
    )
