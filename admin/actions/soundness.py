"""Whether all that is stored is what the store writes: every record against the form of an archive's line, and its id.

So a record is sound where an export of it can be imported again. Values are read only where that is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from admin.actions import archive_reader, surveys
from admin.actions.archive_form import Line
from admin.actions.subject import Owner
from admin.actions.surveys import Extent, Walked
from datastore.document import Place, moment
from datastore.entry import Entry
from datastore.errors import DataStoreError
from datastore.ports import Record
from datastore.service.store import Store


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong: with a part of the store, such as an index, or with the record of an id."""

    where: str
    what: str
    owner: str | None = None
    namespace: str | None = None
    key: str | None = None


async def parts(store: Store, *, values: bool) -> list[Fault]:
    """Return what is wrong with the parts of the store."""
    found = await store.engine.parts(thorough=values)
    return [Fault(each.name, each.fault) for each in found if each.fault is not None]


async def faults(store: Store, owner: Owner | None, walked: Walked, *, values: bool) -> AsyncIterator[list[Fault]]:
    """Give what is wrong with records, page by page, with their values where that is asked for."""
    async for page in surveys.records(store, Extent(owner)):
        walked.look(len(page))
        wrong = {each.id: what for each in page if (what := _fault(each)) is not None}
        found = [_named(each, wrong[each.id]) for each in page if each.id in wrong]
        sound = [each for each in page if each.id not in wrong] if values else []
        yield found + [each async for each in _in_values(store, sound)]


def _fault(record: Record) -> str | None:
    if record.owner is None or record.entry is None:
        return record.fault or "it does not say whose it is"
    if (what := _unlike_a_line(record.entry)) is not None:
        return what
    here = Place(record.owner, record.entry.namespace).id(record.entry.key)
    return None if record.id == here else "its id is not that of its owner, namespace and key, so no verb finds it"


def _unlike_a_line(entry: Entry, *, whole: bool = False) -> str | None:
    """Return why an entry could not be a line of an archive; its size is looked at where it is whole."""
    try:
        line = Line.model_validate(entry.as_dict())
        if whole:
            line.entry()
    except ValidationError as error:
        return archive_reader.reason(error)
    except AttributeError:
        return "one of its times is none"
    except (TypeError, ValueError, DataStoreError) as error:
        return str(error)
    return None


def _named(record: Record, what: str) -> Fault:
    entry = record.entry
    if entry is None:
        return Fault(record.id, what, record.owner)
    return Fault(record.id, what, record.owner, str(entry.namespace), str(entry.key))


async def _in_values(store: Store, sound: Sequence[Record]) -> AsyncIterator[Fault]:
    """Give what is wrong with the values of sound records; one that is gone meanwhile is none."""
    for place, group in itertools.groupby(sound, key=_place):
        named = {each.entry.key: each for each in group if each.entry is not None}
        for key, what in (await _wrong_values(store, place, list(named))).items():
            yield _named(named[key], what)


def _place(record: Record) -> Place:
    return Place(record.owner or "", "" if record.entry is None else record.entry.namespace)


async def _wrong_values(store: Store, place: Place, keys: list[str]) -> dict[str, str]:
    """Return what is wrong with values, by key; what cannot be read together is halved until it is found."""
    wrong: dict[str, str] = {}
    while keys:
        try:
            found, left = await store.engine.get(place, keys, moment(store.clock.now()))
        except (TypeError, ValueError) as error:
            if len(keys) == 1:
                return {**wrong, keys[0]: f"its value cannot be read: {error}"}
            half = len(keys) // 2
            halves = [await _wrong_values(store, place, each) for each in (keys[:half], keys[half:])]
            return {**wrong, **halves[0], **halves[1]}
        wrong |= {each.key: what for each in found if (what := _unlike_a_line(each, whole=True)) is not None}
        keys = left
    return wrong
