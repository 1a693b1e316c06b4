"""Translate the driver's exceptions, once.

What the driver says never leaves: its texts hold hosts, commands and values. An exception that means "no answer"
becomes `StoreUnavailable`, which says whether a write may have happened; the driver's own is kept as its cause for
the host's log. If no server was found, this statement was not sent; had an earlier attempt been sent, the driver would
raise that attempt's error. If no connection was free, an earlier attempt may have been sent. A refused condition is
part of how writes work and is handled there. Anything else is a mistake of this package and leaves as it is.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Final, TypeVar

import pymongo
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from datastore import deadlines
from datastore.errors import StoreUnavailable

T = TypeVar("T")

DUPLICATE_KEY: Final = 11000
IMMUTABLE_FIELD: Final = 66
REFUSALS: Final = frozenset({DUPLICATE_KEY, IMMUTABLE_FIELD})
"""Codes by which a statement says that its own condition did not hold."""

_MOST_TRIES: Final = 100
_LONGEST_PAUSE_SECONDS: Final = 0.5
_NO_ANSWER_CODES: Final = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        43,  # CursorNotFound: it went on at another server than the one which has it.
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        112,  # WriteConflict
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        237,  # CursorKilled
        239,  # SnapshotTooOld
        246,  # SnapshotUnavailable
        251,  # NoSuchTransaction
        262,  # ExceededTimeLimit
        290,  # TransactionExceededLifetimeLimitSeconds
        384,  # ConnectionError
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11601,  # Interrupted
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)


@contextmanager
def translated(*, write: bool, begun: bool = False) -> Iterator[None]:
    """Make statements within the operation's deadline; raise `StoreUnavailable` where there is no answer.

    Args:
        write: whether the statement inside changes something.
        begun: whether an earlier statement of the same operation may have changed something.
    """
    seconds = deadlines.left()
    if seconds <= 0:
        raise StoreUnavailable(deadlines.TOO_LATE, may_have_written=begun)
    try:
        with nullcontext() if seconds == math.inf else pymongo.timeout(seconds):
            yield
    except PyMongoError as error:
        if not _no_answer(error):
            raise
        unknown = begun or (write and not isinstance(error, ServerSelectionTimeoutError))
        raise StoreUnavailable(deadlines.TOO_LATE, may_have_written=unknown) from error


async def repeated(send: Callable[[], Awaitable[T]]) -> T:
    """Send a statement until the deadline while it gets no answer, for those that the driver does not send again.

    It must be one that may be made twice. If no attempt succeeds, the error of the first one that was sent is raised:
    it tells that the statement may have happened.
    """
    first: PyMongoError | None = None
    for attempt in range(_MOST_TRIES):
        try:
            return await send()
        except PyMongoError as error:
            first = first or (None if isinstance(error, ServerSelectionTimeoutError) else error)
            pause = random.uniform(0, min(0.01 * 2**attempt, _LONGEST_PAUSE_SECONDS))  # noqa: S311 - jitter is not a secret
            if not _no_answer(error) or error.timeout or attempt + 1 == _MOST_TRIES or pause > deadlines.left():
                raise first or error  # noqa: B904 - the first has a cause of its own
        await asyncio.sleep(pause)
    raise AssertionError  # The last try returned or raised.


async def answered(read: Callable[[], Awaitable[T]], *, begun: bool = False) -> T:
    """Read from the beginning until the answer is whole: the driver repeats a query, but no request for its rest.

    Args:
        read: makes the query, and takes all that is wanted of its answer.
        begun: whether an earlier statement of the same operation may have changed something.
    """
    with translated(write=False, begun=begun):
        return await repeated(read)


def _no_answer(error: PyMongoError) -> bool:
    if isinstance(error, (ConnectionFailure, WriteConcernError)):
        return True
    if isinstance(error, BulkWriteError):
        return bool(error.details.get("writeConcernErrors")) or bool(failed(error).keys() & _NO_ANSWER_CODES)
    return isinstance(error, OperationFailure) and error.code in _NO_ANSWER_CODES


def failed(error: BulkWriteError) -> dict[int, list[int]]:
    """Return the indexes of the requests that failed, by the server's code."""
    codes: dict[int, list[int]] = {}
    for each in error.details.get("writeErrors", ()):
        codes.setdefault(each["code"], []).append(each["index"])
    return codes
