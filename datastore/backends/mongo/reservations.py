"""Writes that stay within a quota: room is reserved before a write, and settled after it, without a transaction.

Theory of operation:

- Of every owner whose writes have a quota there is a counter for the whole, and one for each namespace. A write first
  reserves the most it can add, in one command whose filters are the ceilings, and leaves a mark of its own there. Its
  mark is taken away after the answer. So a counter is never below what is stored and what is on its way.
- A counter may be too high: what is written over, deleted or expired is not taken off. So nothing is refused for a
  counter. Where a reservation finds no room, the living entries are summed up when no mark is left, and the counter
  set if nobody reserved meanwhile; then what stands at the keys is looked at, and only what is added is reserved.
  No sum is made while a mark stands, so whatever others do meanwhile, a key grows by no more than was reserved for it.
- Who waits in vain for marks to go closes the counter: others then come to wait too, until it is set.
- A write may use the room that it frees itself, if it surely does. The counter is then left closed, and summed up anew
  before anything else is reserved, whatever became of the write.
- A renewal keeps room that a sum may already have left out. So it leaves a mark too, and only then looks at the time:
  what had expired when a sum was made stays expired.
- A write ends before its mark grows old, by the server's clock; an old mark is one of a host that died, or that does
  not know what became of its write, and counts as gone.
- Within one process, writes that have no quota count too where the owner's other writes have one. What others wrote
  before this process knew of the quota, or of the present one, may not be counted: so it closes the owner's counters
  when it first meets a quota, and when a write ends that was begun before.
One subject, so longer than most files.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from datastore import deadlines
from datastore.backends.mongo import documents, errors
from datastore.backends.mongo.driver import Collection, Document
from datastore.backends.mongo.reads import aggregated
from datastore.backends.mongo.statements import BY_ID, LONG_AGO, live
from datastore.clock import latest
from datastore.document import Place
from datastore.errors import DataStoreError, StoreUnavailable
from datastore.metering import metered
from datastore.ports import Clock
from datastore.quotas import WHOLE, Amount, Quota

T = TypeVar("T")

LONGEST_SECONDS: Final = 15.0
"""The longest that a write with a quota may take: longer than a replica set is without a primary."""
_SHARE: Final = 0.6
"""Its share of an operation's deadline, so that a write that waits for a mark to grow old has time left."""
_MARGIN_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 0.05
_PATIENCE: Final = 6
"""How often a reservation looks whether the marks of others are gone, before it keeps new ones away."""
_MOST_KNOWN: Final = 10_000
_UNLIMITED: Final = Quota()
_UNSETTLED: Final = "?"
"""What is known of an owner whose first quota is just being met; no quota's `since` is this."""
_NEW: Final[Document] = {"bytes": 0, "keys": 0, "seq": 0, "closed": True, "marks": {}}
"""A counter that was not set yet, from which nothing can be reserved."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What becomes of a key: an entry of a size, or none (None).

    Where it is `sure`, it becomes so if anything does of the whole write, and the room of what stood there is used too.
    What `keeps` its room adds nothing, but no sum may be made meanwhile.
    """

    place: Place
    key: str
    size_bytes: int | None
    sure: bool
    keeps: bool = False

    def amount(self, old: int | None) -> Amount:
        """Return what is added to what stands; below nothing only where that is sure."""
        before = Amount() if old is None else Amount(old, 1)
        after = Amount() if self.size_bytes is None else Amount(self.size_bytes, 1)
        added = after - before
        return added if self.sure else Amount(max(0, added.bytes), max(0, added.keys))


@dataclass(frozen=True)
class Request:
    """What a write may add, of one owner, and where it must end."""

    quota: Quota
    charges: Sequence[Charge]
    now: datetime

    @property
    def owner(self) -> str:
        """Whose room it takes."""
        return self.charges[0].place.owner

    @cached_property
    def namespaces(self) -> dict[str, str]:
        """The ids of the counters that it concerns, with what they count."""
        wanted = dict.fromkeys((WHOLE, *(each.place.namespace for each in self.charges)))
        return {counter_id(self.owner, each): each for each in wanted}

    def growth(self, standing: Mapping[str, int]) -> dict[str, Amount]:
        """Return what is added to each counter, given the sizes of what stands, by the ids of documents."""
        grown = dict.fromkeys(self.namespaces, Amount())
        for each in self.charges:
            added = each.amount(standing.get(each.place.id(each.key)))
            for namespace in (WHOLE, each.place.namespace):
                grown[counter_id(self.owner, namespace)] += added
        return grown

    def frees(self, standing: Mapping[str, int]) -> bool:
        """Say whether the write uses room of its own keys."""
        amounts = [each.amount(standing.get(each.place.id(each.key))) for each in self.charges]
        return any(each.bytes < 0 or each.keys < 0 for each in amounts)


def counter_id(owner: str, namespace: str) -> str:
    """Return the id of a counter: the owner as it begins the ids of its entries, then a colon and the namespace."""
    whole = owner.replace("%", "%25").replace(":", "%3A")
    return whole if namespace == WHOLE else f"{whole}:{namespace}"


def _every(owner: str) -> Document:
    """Return the query for all counters of an owner: a semicolon is what comes after a colon."""
    whole = counter_id(owner, WHOLE)
    return {"$or": [{"_id": whole}, {"_id": {"$gte": f"{whole}:", "$lt": f"{whole};"}}]}


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room that was reserved, by counter, under a mark."""

    mark: str
    amounts: Mapping[str, Amount]


class Reservations:
    """The counters of one store.

    Args:
        counters: their collection.
        entries: what they count.
        seconds: the deadline of an operation.
        clock: the present, by which a sum is made.
    """

    def __init__(self, counters: Collection, entries: Collection, seconds: float, clock: Clock) -> None:
        self._counters = counters
        self._entries = entries
        self._seconds = seconds
        self._clock = clock
        self._writing_seconds = min(seconds * _SHARE, LONGEST_SECONDS)
        self._known: OrderedDict[str, str] = OrderedDict()
        self._settling: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def within(
        self,
        quota: Quota | None,
        charges: Sequence[Charge],
        now: datetime,
        write: Callable[[], Awaitable[T]],
        nothing: Callable[[T], bool],
    ) -> T:
        """Do a write, and stay within the quota; without one it is only done. All of it has one deadline together.

        Args:
            quota: None: there is none.
            charges: what will stand, of one owner, each key once.
            now: the operation's time.
            write: does it.
            nothing: says of its answer whether surely nothing of it was written.

        Raises:
            QuotaExceeded: there is no room; nothing was written.
            StoreUnavailable: nobody could say in time whether there is; nothing was written.
        """
        with deadlines.within(self._seconds):
            if not any(each.size_bytes is not None or each.keeps for each in charges):
                return await write()
            if quota is None and charges[0].place.owner not in self._known:
                return await self._uncounted(charges[0].place.owner, write)
            return await self._counted(Request(quota or _UNLIMITED, charges, now), write, nothing)

    async def _counted(self, request: Request, write: Callable[[], Awaitable[T]], nothing: Callable[[T], bool]) -> T:
        await self._remember(request)
        with deadlines.within(self._writing_seconds):
            if (reserved := await self._at_once(request)) is not None:
                return await self._written(reserved, write, nothing)
        until = asyncio.get_running_loop().time() + deadlines.left()
        async with self._turn(request.owner, until):
            for attempt in itertools.count():
                with deadlines.within(self._writing_seconds):
                    reserved = await self._at_once(request) or await self._when_alone(request, attempt)
                    if reserved is not None:
                        return await self._written(reserved, write, nothing)
                if asyncio.get_running_loop().time() > until:
                    break
                await asyncio.sleep(random.uniform(0, min(0.002 * 2**attempt, _LONGEST_PAUSE_SECONDS)))  # noqa: S311 - jitter is not a secret
        raise _undecided()

    @asynccontextmanager
    async def _turn(self, owner: str, until: float) -> AsyncIterator[None]:
        """Let the writes of an owner for which there is no room at once wait for one another, not for the server."""
        turn = self._turns.setdefault(owner, asyncio.Lock())
        try:
            async with asyncio.timeout_at(until):
                await turn.acquire()
        except TimeoutError:
            raise _undecided() from None
        try:
            yield
        finally:
            turn.release()

    async def counters_of(self, owner: str) -> int:
        """Return how many counters an owner has."""
        return len(await self._aggregate(self._counters, {"$match": _every(owner)}, {"$project": {"_id": 1}}))

    async def forget(self, owner: str) -> int:
        """Remove an owner's counters, and return how many; they are made again where a write needs them."""
        with errors.translated(write=True):
            return int((await errors.repeated(lambda: self._counters.delete_many(_every(owner)))).deleted_count)

    async def aclose(self) -> None:
        """Let settling end, for as long as a write may take."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=self._writing_seconds)

    async def _remember(self, request: Request) -> None:
        """Know that the owner has a quota; where it is news, have everything summed up before room is reserved."""
        owner, known = request.owner, self._known.get(request.owner)
        since = known if known is not None and request.quota is _UNLIMITED else request.quota.since
        if known != since:
            self._known.setdefault(owner, _UNSETTLED)  # A write that ends meanwhile closes the counters too.
            await self._close(owner)
        self._known[owner] = since
        self._known.move_to_end(owner)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    async def _uncounted(self, owner: str, write: Callable[[], Awaitable[T]]) -> T:
        try:
            return await write()
        finally:
            if owner in self._known:
                try:
                    await self._close(owner)
                except StoreUnavailable:  # The write has an answer of its own, and its deadline may be over.
                    self._go_on(self._closed(owner))

    async def _closed(self, owner: str) -> None:
        with suppress(StoreUnavailable), deadlines.within(self._writing_seconds):
            await self._close(owner)

    async def _close(self, owner: str) -> None:
        """Have the counters summed up anew; a sum that was made before does not count."""
        with errors.translated(write=False):
            change = {"$set": {"closed": True}, "$inc": {"seq": 1}}
            await errors.repeated(lambda: self._counters.update_many(_every(owner), change))

    async def _written(
        self,
        reserved: Reservation,
        write: Callable[[], Awaitable[T]],
        nothing: Callable[[T], bool],
    ) -> T:
        """Write, then settle; where it is unknown what became of it the mark stays until it is old."""
        try:
            answer = await write()
        except StoreUnavailable:
            raise
        except DataStoreError:
            self._settle(reserved, reserved.amounts)
            raise
        self._settle(reserved, reserved.amounts if nothing(answer) else {})
        return answer

    def _settle(self, reserved: Reservation, unused: Mapping[str, Amount]) -> None:
        self._go_on(self._settled(reserved, unused))

    def _go_on(self, work: Coroutine[None, None, None]) -> None:
        # In a context of its own: the deadline of the write is not that of settling.
        task = asyncio.create_task(metered(work), context=Context())
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settled(self, reserved: Reservation, unused: Mapping[str, Amount]) -> None:
        """Take the mark away, and give back what was surely not used; what fails here grows old."""
        with suppress(StoreUnavailable), deadlines.within(self._writing_seconds):
            await self._send(_unmarked(reserved, unused))

    async def _at_once(self, request: Request) -> Reservation | None:
        """Reserve the most that the write can add; None: there is no room for that by the counters."""
        mark, most = secrets.token_hex(8), request.growth({})
        return Reservation(mark, most) if await self._add(request, most, mark) else None

    async def _when_alone(self, request: Request, attempt: int) -> Reservation | None:
        """Reserve exactly what is added, if no mark stands; None: it is to be tried again.

        Raises:
            QuotaExceeded: there is no room.
        """
        names = list(request.namespaces)
        found, now = await self._look(names)
        if missing := [name for name in names if name not in found]:
            await self._send([UpdateOne({"_id": name}, {"$setOnInsert": _NEW}, upsert=True) for name in missing])
            found, now = await self._look(names)
        if any(_is_fresh(each, now) for counter in found.values() for each in counter["marks"].values()):
            if attempt >= _PATIENCE:
                await self._send([UpdateOne({"_id": name}, {"$set": {"closed": True}}) for name in names])
            return None
        return await self._exactly(request, found, secrets.token_hex(8))

    async def _exactly(self, request: Request, found: Mapping[str, Document], mark: str) -> Reservation | None:
        """Set the counters to what is alive, under a mark; then reserve what is added to what stands."""
        now = latest(request.now, self._clock)
        held = await self._sums(request, now)
        requests = [self._recounting(name, counter, held[name], mark) for name, counter in found.items()]
        nothing = Reservation(mark, dict.fromkeys(held, Amount()))
        if await self._send(requests) < len(requests):
            self._settle(nothing, {})
            return None
        standing = await self._sizes(request, now)
        growth = request.growth(standing)
        try:
            for name in sorted(growth, key=len, reverse=True):
                request.quota.check(request.namespaces[name], held[name], growth[name])
        except DataStoreError:
            self._settle(nothing, {})
            raise
        if await self._add(request, growth, mark, again={"closed": True} if request.frees(standing) else {}):
            return Reservation(mark, growth)
        return None

    async def _add(
        self, request: Request, growth: Mapping[str, Amount], mark: str, again: Document | None = None
    ) -> bool:
        """Reserve under a mark; say whether there was room. If not, neither room nor mark is taken.

        Args:
            request: for its ceilings.
            growth: how much; where it is below nothing, nothing.
            mark: a new one, or one that stands.
            again: that it stands, and what is set besides.
        """
        requests = []
        growth = {name: Amount(max(0, each.bytes), max(0, each.keys)) for name, each in growth.items()}
        for name, amount in growth.items():
            room: Document = {"closed": None} if again is None else {f"marks.{mark}": {"$exists": True}}
            ceiling = request.quota.ceiling(request.namespaces[name])
            for what in ("bytes", "keys"):
                most, added = getattr(ceiling, what), getattr(amount, what)
                if most is not None and added > 0:
                    room[what] = {"$lte": most - added}
            update = self._marking(mark, {"added": True}, amount)
            update["$set"] |= again or {}
            requests.append(UpdateOne({"_id": name, **room}, update))
        if await self._send(requests) == len(requests):
            return True
        undone = Reservation(mark, growth)
        await self._send(_unmarked(undone, growth))
        return False

    def _marking(self, mark: str, facts: Document, amount: Amount) -> Document:
        """Return the update that adds to a counter, and leaves or renews a mark."""
        path = f"marks.{mark}"
        facts = {"seconds": self._writing_seconds + _MARGIN_SECONDS, **facts}
        return {
            "$inc": {"bytes": amount.bytes, "keys": amount.keys, "seq": 1},
            "$set": {f"{path}.{name}": each for name, each in facts.items()},
            "$currentDate": {f"{path}.at": True},
        }

    def _recounting(self, name: str, counter: Document, held: Amount, mark: str) -> UpdateOne:
        """Return the statement that sets a counter, if nobody reserved since, takes old marks away and leaves one."""
        update = self._marking(mark, {}, Amount())
        update["$inc"] = {"seq": 1}
        update["$set"] |= {"bytes": held.bytes, "keys": held.keys}
        update["$unset"] = dict.fromkeys(["closed", *(f"marks.{old}" for old in counter["marks"])], "")
        return UpdateOne({"_id": name, "seq": counter["seq"]}, update)

    async def _look(self, names: Sequence[str]) -> tuple[dict[str, Document], datetime]:
        """Return counters by id, and the server's time."""
        found = await self._aggregate(
            self._counters, {"$match": {"_id": {"$in": list(names)}}}, {"$addFields": {"now": "$$NOW"}}
        )
        return {each["_id"]: each for each in found}, max((each["now"] for each in found), default=LONG_AGO)

    async def _sums(self, request: Request, now: datetime) -> dict[str, Amount]:
        """Return what is alive, by counter."""
        totals = {"keys": {"$sum": 1}, "bytes": {"$sum": "$sizeBytes"}}
        found = await self._aggregate(
            self._entries,
            {"$match": {"userId": request.owner} | live(now)},
            {"$group": {"_id": "$namespace"} | totals},
        )
        held = {each["_id"]: Amount(each["bytes"], each["keys"]) for each in found}
        whole = sum(held.values(), Amount())
        return {
            name: whole if namespace == WHOLE else held.get(namespace, Amount())
            for name, namespace in request.namespaces.items()
        }

    async def _sizes(self, request: Request, now: datetime) -> dict[str, int]:
        """Return the sizes of what is alive at the keys, by document."""
        ids = [each.place.id(each.key) for each in request.charges]
        query = {"_id": {"$in": ids}, "userId": request.owner} | live(now)
        found = await errors.answered(
            lambda: self._entries.find(query, {"sizeBytes": 1}, batch_size=len(ids) + 1, hint=BY_ID).to_list()
        )
        return {each["_id"]: each["sizeBytes"] for each in found}

    async def _aggregate(self, collection: Collection, *stages: Document) -> list[Document]:
        found = await errors.answered(lambda: aggregated(collection, stages))
        return [documents.plain(each) for each in found]

    async def _send(self, requests: Sequence[UpdateOne]) -> int:
        """Send statements in one command; return how many found their counter."""
        with errors.translated(write=False):
            try:
                result = (await self._counters.bulk_write(requests, ordered=False)).bulk_api_result
            except BulkWriteError as error:
                codes = errors.failed(error).keys()
                if not codes <= {errors.DUPLICATE_KEY} or error.details.get("writeConcernErrors"):
                    raise
                result = error.details  # Somebody else made the counter.
        return int(result["nMatched"])


def _unmarked(reserved: Reservation, unused: Mapping[str, Amount]) -> list[UpdateOne]:
    """Return the statements that take marks away, each with what was added under it and not used."""
    path = f"marks.{reserved.mark}"
    gone: Document = {"$unset": {path: ""}}
    if not unused:
        return [UpdateOne({"_id": name}, gone) for name in reserved.amounts]
    back = [
        UpdateOne({"_id": name, f"{path}.added": True}, gone | {"$inc": {"bytes": -each.bytes, "keys": -each.keys}})
        for name, each in unused.items()
    ]
    return [*back, *(UpdateOne({"_id": name, f"{path}.added": None}, gone) for name in unused)]


def _undecided() -> StoreUnavailable:
    return StoreUnavailable("too many writers want the last room of a quota")


def _is_fresh(mark: Document, now: datetime) -> bool:
    return bool(now - mark["at"] < timedelta(seconds=mark["seconds"]))
