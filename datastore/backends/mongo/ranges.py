"""Which documents a read, a count or a clear means: filters that are ranges of one index, never patterns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from datastore.backends.mongo.driver import Document
from datastore.backends.mongo.statements import live
from datastore.document import Place, Span, prefix_end


def among(place: Place, keys: Sequence[str], now: datetime) -> Document:
    """Return the filter of the live entries at some keys."""
    ids = [place.id(key) for key in keys]
    return {"_id": {"$in": ids}, "userId": place.owner, "namespace": place.namespace} | live(now)


def within(place: Place, span: Span, now: datetime) -> Document:
    """Return the filter of the live entries of a stretch of keys."""
    wanted: Document = {"userId": place.owner, "namespace": place.namespace} | live(now)
    if bounds := _bounds(span):
        wanted["key"] = bounds
    return wanted


def starting(prefix: str) -> Document:
    """Return the bounds of the names that have a prefix; empty: there are none."""
    bounds = {"$gte": prefix} if prefix else {}
    end = prefix_end(prefix)
    return bounds if end is None else bounds | {"$lt": end}


def _bounds(span: Span) -> Document:
    bounds = starting(span.prefix)
    if span.after is None:
        return bounds
    if span.reverse:
        return bounds | {"$lt": min(span.after, bounds.get("$lt", span.after))}
    return bounds | {"$gt": span.after}
