"""The changes of one `apply`: what is sent together, what is sent again, and what became of each.

Writes share one unordered bulk, and so do removals without a condition. A write tells by index what became of it: an
insertion that meets a live `_id` answers E11000, one over another version answers code 66. For a write of an absent
key or over a version that is the refusal; any other goes again in the form that replaces what expired, in a bounded
loop. Changes whose condition a bulk would only count (a removal at a version, a renewal) are sent one by one, and so is
the only write at a version: alone it needs no upsert, so the server compares its own time too. A refusal costs another
trip, which reads the version that stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo.errors import BulkWriteError

from datastore.backends.mongo import errors, ranges, statements
from datastore.backends.mongo.driver import Collection, Request
from datastore.clock import retimed
from datastore.document import Place
from datastore.errors import TOO_MANY_WRITERS, StoreUnavailable
from datastore.operations import Applied, Outcome
from datastore.ports import Actor, Change, Clock, Removal, Renewal, Write

_MOST_TRIES: Final = 10
_REFUSED: Final = Outcome(applied=False)


class Batch:
    """One call of `apply`, and what is known of it so far."""

    def __init__(self, entries: Collection, place: Place, actor: Actor, clock: Clock) -> None:
        self._entries = entries
        self._place = place
        self._asked = actor
        self._clock = clock
        self._begun = False
        self._changed = 0
        self._outcomes: dict[str, Outcome] = {}

    @property
    def _actor(self) -> Actor:
        """Who writes, at the present: each statement may have waited for the one before."""
        return retimed(self._asked, self._clock)

    async def run(self, changes: Sequence[Change]) -> Applied:
        """Make the changes; keys are distinct."""
        together = [each for each in changes if not _alone(each, changes)]
        if together:
            await self._together(together)
        for change in changes:
            if _alone(change, changes):
                await self._single(change)
        await self._explain([key for key, outcome in self._outcomes.items() if outcome is _REFUSED])
        return Applied(self._changed, tuple(self._outcomes[each.key] for each in changes))

    async def _together(self, changes: Sequence[Change]) -> None:
        failed = await self._send([self._statement(each) for each in changes])
        again: list[Write] = []
        for index, change in enumerate(changes):
            if isinstance(change, Removal):
                self._outcomes[change.key] = Outcome(applied=True)
            elif isinstance(change, Write) and index not in failed:
                self._wrote(change)
            elif isinstance(change, Write) and (change.if_absent or change.if_version is not None):
                self._outcomes[change.key] = _REFUSED
            elif isinstance(change, Write):
                again.append(change)
        await self._afresh(again)

    async def _afresh(self, writes: list[Write]) -> None:
        for _ in range(_MOST_TRIES):
            if not writes:
                return
            pairs = [each for write in writes for each in statements.afresh(self._place, write, self._actor)]
            failed = {index // 2 for index in await self._send(pairs)}
            for index, write in enumerate(writes):
                if index not in failed:
                    self._wrote(write)
            writes = [write for index, write in enumerate(writes) if index in failed]
        if writes:
            raise StoreUnavailable(TOO_MANY_WRITERS, may_have_written=self._begun)

    async def _single(self, change: Change) -> None:
        matched_before = self._changed
        await self._send([self._lone_statement(change)], count_matches=True)
        if self._changed == matched_before:
            self._outcomes[change.key] = Outcome(applied=False) if isinstance(change, Renewal) else _REFUSED
        else:
            version = change.version if isinstance(change, Write) else None
            self._outcomes[change.key] = Outcome(applied=True, version=version)

    def _wrote(self, write: Write) -> None:
        self._changed += 1
        self._outcomes[write.key] = Outcome(applied=True, version=write.version)

    async def _send(self, requests: Sequence[Request], *, count_matches: bool = False) -> set[int]:
        """Send requests in one bulk; return the indexes whose condition did not hold.

        The driver makes several commands of a large or mixed bulk, so only of a single request it is known that
        nothing was changed where a server could not be found.
        """
        failed: set[int] = set()
        with errors.translated(write=True, begun=self._begun or len(requests) > 1):
            try:
                result: Mapping[str, Any] = (await self._entries.bulk_write(requests, ordered=False)).bulk_api_result
            except BulkWriteError as error:
                result, codes = error.details, errors.failed(error)
                if not codes.keys() <= errors.REFUSALS or result.get("writeConcernErrors"):
                    raise
                failed = {index for indexes in codes.values() for index in indexes}
        self._begun = self._begun or len(failed) < len(requests)
        self._changed += int(result["nRemoved"]) + (int(result["nMatched"]) if count_matches else 0)
        return failed

    def _statement(self, change: Change) -> Request:
        match change:
            case Write(if_absent=True):
                return statements.add(self._place, change, self._actor)
            case Write(if_version=None):
                return statements.put(self._place, change, self._actor)
            case Write():
                return statements.replace(self._place, change, self._actor)
        return self._lone_statement(change)

    def _lone_statement(self, change: Change) -> Request:
        match change:
            case Write():
                return statements.rewrite(self._place, change, self._actor)
            case Removal():
                return statements.remove(self._place, change, self._actor)
        return statements.renew(self._place, change, self._actor)

    async def _explain(self, keys: list[str]) -> None:
        """Give every refusal the version that stands now."""
        if not keys:
            return
        wanted = ranges.among(self._place, keys, self._actor.now)
        shown = {"_id": 0, "key": 1, "version": 1}
        standing = await errors.answered(
            lambda: self._entries.find(wanted, shown, batch_size=len(keys) + 1, hint=statements.BY_ID).to_list(),
            begun=self._begun,
        )
        found: dict[str, Any] = {each["key"]: each["version"] for each in standing}
        for key in keys:
            self._outcomes[key] = Outcome(applied=False, version=found.get(key))


def _alone(change: Change, changes: Sequence[Change]) -> bool:
    """Say whether a change is sent by itself: a bulk would not tell what became of it, or it is the only one."""
    if isinstance(change, Write):
        return len(changes) == 1 and change.if_version is not None
    return isinstance(change, Renewal) or change.if_version is not None
