"""Changes, cleared namespaces and counted reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo.errors import AutoReconnect

from datastore.backends.mongo import documents, errors, ranges, statements
from datastore.backends.mongo.batch import Batch
from datastore.backends.mongo.driver import Collection
from datastore.document import Place, Span
from datastore.operations import Applied
from datastore.ports import Access, Actor, Change, Write


class Writer:
    """The half of the backend that changes something."""

    _entries: Collection
    _counts: Collection

    async def apply(self, place: Place, changes: Sequence[Change], actor: Actor) -> Applied:
        """Make the changes; keys are distinct. Unconditional ones of a batch share a round trip."""
        for change in changes:
            if isinstance(change, Write):
                documents.check_encoded(change.key, change.value, change.size_bytes)
        return await Batch(self._entries, place, actor).run(changes)

    async def clear(self, place: Place, prefix: str, now: datetime) -> int:
        """Remove the live entries that have the prefix; return how many.

        Where the connection broke it is sent a second time, and the number is then the least that went.
        """
        wanted = ranges.within(place, Span(prefix=prefix), now)
        with errors.translated(write=True):
            try:
                answer = await self._entries.delete_many(wanted)
            except AutoReconnect as error:
                if error.timeout:
                    raise
                with errors.translated(write=True, begun=True):
                    answer = await self._entries.delete_many(wanted)
            return int(answer.deleted_count)

    async def record(self, accesses: Sequence[Access]) -> None:
        """Add reads to the entries they were made of; one that is gone or was created anew is left alone."""
        if not accesses:
            return
        requests = [statements.count_reads(each) for each in sorted(accesses, key=lambda each: each.last)]
        with errors.translated(write=True):
            await self._counts.bulk_write(requests, ordered=False)
