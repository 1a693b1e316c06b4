"""Why a statement missed: what stands at its key now, read after nothing was done."""

from __future__ import annotations

from datastore import values
from datastore.backends.mongo import documents, errors, statements
from datastore.backends.mongo.driver import Collection
from datastore.document import Place
from datastore.operations import Outcome
from datastore.ports import Actor, Clause, Increment, Requirement, Write


async def refusal(entries: Collection, place: Place, clause: Clause, actor: Actor) -> Outcome | None:
    """Return the outcome of a condition that does not hold; None where nothing stands in the way any more.

    Raises:
        NotANumber, ValueNotStorable: there is nothing that could be added to.
    """
    counts = isinstance(clause, Increment)
    query = statements.named(place, clause.key) | statements.live(actor.now)
    wanted = {"_id": 0, "version": 1, **({"value": 1} if counts else {})}
    answer = await errors.answered(lambda: entries.find(query, wanted, batch_size=2, hint=statements.BY_ID).to_list())
    found = [documents.plain(each) for each in answer]
    version = found[0]["version"] if found else None
    if _conditional(clause) and version != _expected(clause):
        return Outcome(applied=False, version=version)
    if isinstance(clause, Increment) and found:
        values.added(clause.key, found[0]["value"], clause.by)
    return None


def _conditional(clause: Clause) -> bool:
    return isinstance(clause, Requirement) or clause.if_version is not None or _must_be_absent(clause)


def _must_be_absent(clause: Clause) -> bool:
    return isinstance(clause, Write) and clause.if_absent


def _expected(clause: Clause) -> str | None:
    return clause.version if isinstance(clause, Requirement) else clause.if_version
