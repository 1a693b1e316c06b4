"""What the backend uses of a driver, and the few places where Motor and PyMongo's async client differ.

Both are driven through one narrow shape. They differ in what must be awaited (`aggregate`, `close`), which
`maybe_await` covers, and in nothing else that is used here.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, DeleteOne, IndexModel, ReplaceOne, UpdateOne
from pymongo.monitoring import _EventListener

from datastore.settings import Settings

Document = dict[str, Any]
Request = UpdateOne | ReplaceOne[Document] | DeleteOne
Listener = _EventListener
T = TypeVar("T")


class Cursor(Protocol):
    """Documents on their way."""

    def __aiter__(self) -> AsyncIterator[Mapping[str, Any]]: ...

    async def to_list(self, length: int | None = None) -> list[Mapping[str, Any]]:
        """Return all that is left."""

    async def close(self) -> None:
        """Tell the server that no more is wanted; idempotent."""


class Session(Protocol):
    """What transactions are made of."""

    def start_transaction(self, **options: Any) -> Any:
        """Begin one; nothing is sent yet."""

    async def commit_transaction(self) -> None:
        """Make it happen."""

    async def abort_transaction(self) -> None:
        """Undo it; that the server does not answer is no error."""

    async def end_session(self) -> None:
        """Give it back."""


class Stream(Protocol):
    """Changes on their way."""

    @property
    def alive(self) -> bool:
        """Whether the server may have more."""

    @property
    def resume_token(self) -> Mapping[str, Any] | None:
        """Where another stream would go on."""

    async def try_next(self) -> Document | None:
        """Return the next change, or None where none came within the stream's own bound."""

    async def close(self) -> None:
        """Tell the server that no more is wanted; idempotent."""


class Collection(Protocol):
    """The statements that the backend makes."""

    def find(self, query: Document, projection: Document | None = None, **options: Any) -> Cursor:
        """Look for documents."""

    def aggregate(self, pipeline: Sequence[Document]) -> Any:
        """Run a pipeline; what comes back is a cursor, or must be awaited for one."""

    def watch(self, pipeline: Sequence[Document], **options: Any) -> Any:
        """Open a change stream; what comes back is one, or must be awaited for one."""

    async def bulk_write(self, requests: Sequence[Request], *, ordered: bool = True, **options: Any) -> Any:
        """Send changes together."""

    async def find_one_and_update(self, query: Document, update: Document, **options: Any) -> Mapping[str, Any] | None:
        """Change one document and return it."""

    async def delete_many(self, query: Document) -> Any:
        """Remove every match."""

    async def update_many(self, query: Document, update: Document) -> Any:
        """Change every match."""

    async def options(self) -> Mapping[str, Any]:
        """Return what the collection was created with."""

    async def index_information(self) -> Mapping[str, Any]:
        """Return the indexes that stand, by name."""

    async def create_indexes(self, indexes: Sequence[IndexModel], **options: Any) -> Any:
        """Create the indexes that are missing."""


class Database(Protocol):
    """A database handle of either driver."""

    @property
    def client(self) -> Client:
        """Whose database it is."""

    def get_collection(self, name: str, **options: Any) -> Collection:
        """Return a collection with its codec and its concerns."""

    async def command(self, command: str | Document) -> Mapping[str, Any]:
        """Run an administrative command."""


class Client(Protocol):
    """A pool of connections; connects when it is first used."""

    def get_default_database(self, default: str) -> Database:
        """Return the database that the URL names, else the default."""

    def get_database(self, name: str) -> Database:
        """Return a database."""

    def start_session(self) -> Awaitable[Session] | Session:
        """Return a session; nothing is sent yet."""

    def close(self) -> Awaitable[None] | None:
        """Close the connections."""


async def maybe_await(answer: Awaitable[T] | T) -> T:
    """Return the answer of a call that one driver makes at once and the other asynchronously."""
    return await answer if inspect.isawaitable(answer) else answer


def client(url: str, settings: Settings, listeners: Sequence[Listener] = ()) -> Client:
    """Return a client of the driver that the settings name; nothing is sent yet.

    Every operation has a deadline that the driver enforces and tells the server.

    Raises:
        pymongo.errors.PyMongoError, ValueError, TypeError: the URL cannot be used.
    """
    kind: Any = AsyncMongoClient if settings.mongo_driver == "pymongo" else AsyncIOMotorClient
    connect = int(settings.connect_timeout_seconds * 1000)
    made = kind(
        url,
        appname="agent-data-store",
        connectTimeoutMS=connect,
        serverSelectionTimeoutMS=connect,
        timeoutMS=int(settings.operation_timeout_seconds * 1000),
        retryReads=True,
        retryWrites=True,
        event_listeners=list(listeners),
    )
    return cast(Client, made)
