"""What happens before the first operation: the URL, the server's clock, the collection's set-up, the indexes.

A start either leaves a collection that keeps every promise or refuses with the remedy. Messages name hosts and ports
as the URL gives them, and never its credentials: the driver's own texts are not quoted.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import pymongo
from dns.exception import DNSException
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import InvalidName, OperationFailure, PyMongoError

from datastore.backends.clocks import check_clock
from datastore.backends.mongo.driver import Client, Collection, Database, Listener, client, maybe_await
from datastore.errors import ConfigurationError, StoreUnavailable
from datastore.settings import Settings

DEFAULT_DATABASE: Final = "datastore"
CLOSING_SECONDS: Final = 2.0
_TRANSACTION_SHARE: Final = 0.4
"""The share of a deadline that a transaction should live at most, so that others outlive one of a host that died."""

_INDEX_CONFLICTS: Final = frozenset({85, 86})  # IndexOptionsConflict, IndexKeySpecsConflict
_USER_REFUSED: Final = frozenset({13, 18, 8000})  # Unauthorized, AuthenticationFailed, AtlasError

_log = logging.getLogger("datastore.mongo")


def connect(url: str, settings: Settings, listeners: Sequence[Listener] = ()) -> tuple[Client, Database]:
    """Return a client and the database that the URL names; nothing is sent yet.

    Raises:
        ConfigurationError: the URL cannot be used.
    """
    try:
        made = client(url, settings, listeners)
        return made, made.get_default_database(DEFAULT_DATABASE)
    except (DriverConfigurationError, InvalidName, ValueError, TypeError) as error:
        raise _unusable() from error


async def examine(database: Database, entries: Collection, url: str, settings: Settings) -> Mapping[str, Any]:
    """Refuse a server or a collection that would break a promise; return how the server introduced itself.

    It gives up after so many seconds. The time is set here because an operation's deadline replaces the driver's own
    for finding a server.

    Raises:
        ConfigurationError: clocks differ, the collection has a collation, or the user is refused.
        StoreUnavailable: the server does not answer.
    """
    at = hosts(url)
    with answering(at), pymongo.timeout(settings.connect_timeout_seconds):
        before = datetime.now(UTC)
        hello = await database.command("hello")
        after = datetime.now(UTC)
        options = await entries.options()
        await _warn_of_long_transactions(database, at, settings.operation_timeout_seconds)
    server: datetime = hello["localTime"]
    check_clock(server.replace(tzinfo=UTC), before, after, f"MongoDB at {at}")
    if options.get("collation"):
        raise ConfigurationError(
            "The MongoDB collection has a collation, so it would confuse keys that differ in case or accents. "
            "Copy its documents to a collection without one, or name another in DATASTORE_MONGO_COLLECTION."
        )
    return hello


async def _warn_of_long_transactions(database: Database, at: str, seconds: float) -> None:
    """Warn where a host that is killed within an atomic operation would hold up others beyond their deadline."""
    name = "transactionLifetimeLimitSeconds"
    try:
        found = await database.client.get_database("admin").command({"getParameter": 1, name: 1})
    except OperationFailure:
        return  # A router has no such setting, and a user may not be allowed to ask.
    if found[name] > seconds:
        _log.warning(
            "MongoDB at %s undoes an atomic operation of a host that died only after %d seconds; "
            "others wait for its keys until then. Start it with --setParameter %s=%d",
            *(at, found[name], name, max(int(seconds * _TRANSACTION_SHARE), 1)),
        )


async def close(made: Client) -> None:
    """Release the client's connections; idempotent.

    Motor closes in the caller's thread and may wait for the server meanwhile, so that is not the loop's thread.
    """
    with pymongo.timeout(CLOSING_SECONDS):
        await maybe_await(made.close() if inspect.iscoroutinefunction(made.close) else asyncio.to_thread(made.close))


@contextmanager
def answering(at: str, names: str = "") -> Iterator[None]:
    """Translate what the driver raises while a start talks to the server; `names` are those of wanted indexes."""
    try:
        yield
    except DriverConfigurationError as error:
        # The driver looks a `mongodb+srv` name up when it first needs a server.
        raise _not_found(at) if isinstance(error.__cause__, DNSException) else _unusable() from error
    except PyMongoError as error:
        if not isinstance(error, OperationFailure) or error.timeout:
            raise StoreUnavailable(
                f"MongoDB at {at} does not answer", advice="Start it, or correct the URL's host and port."
            ) from error
        raise _refusal(error, at, names) from error


def _refusal(error: OperationFailure, at: str, names: str) -> Exception:
    if error.code in _USER_REFUSED:
        return ConfigurationError(
            f"MongoDB at {at} refuses the URL's user. Correct user, password or authSource, or grant it readWrite."
        )
    if error.code in _INDEX_CONFLICTS:
        return ConfigurationError(
            f"The MongoDB collection at {at} has an index like one of {names} with other options. "
            "Drop it; the next start makes it again."
        )
    return StoreUnavailable(f"MongoDB at {at} failed with code {error.code}", advice="Its own log says why.")


def _not_found(at: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"The name service has no MongoDB at {at}, or does not answer", advice="Correct the URL's host, or try again."
    )


def _unusable() -> ConfigurationError:
    return ConfigurationError(
        "The MongoDB URL cannot be used. Write mongodb://HOST:PORT/DATABASE; credentials go before the host as "
        "USER:PASSWORD and an at sign, with special characters percent-encoded."
    )


def hosts(url: str) -> str:
    """Return the hosts and ports of a URL that the driver has accepted, without its credentials."""
    authority = re.split("[/?]", url.partition("://")[2], maxsplit=1)[0]
    return authority.rpartition("@")[2]
