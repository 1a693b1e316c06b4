"""Reads of single keys that begin in one turn of an event loop, as `gather` begins them, go to the host together.

The first goes at once and alone, so who awaits one read after another waits for nothing. Those that follow before the
loop's next turn share a request for each namespace: `gather` of a thousand gets is two operations of the engine. Each
read is counted as it would be alone, so one of a key that is asked for already has a request of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from datastore.errors import DataStoreError, from_dict
from sandbox.guest.batches import batches

if TYPE_CHECKING:
    import asyncio

    _Arrivals = dict[str, asyncio.Future[dict[str, Any]]]

Message = dict[str, Any]
_Shape = tuple[str | None, str, str]


def is_one_read(request: Message) -> bool:
    """Say whether a request is for what is known of one key."""
    return request.get("op") == "get" and len(request["keys"]) == 1


class Loader:
    """The reads of one event loop over one channel.

    Args:
        loop: where they begin.
        ask: sends a request and awaits its answer.
        frame_bytes: what a request may take.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ask: Callable[[Message], Coroutine[Any, Any, Message]],
        frame_bytes: int,
    ) -> None:
        self._loop = loop
        self._ask = ask
        self._frame_bytes = frame_bytes
        self._turn: dict[_Shape, _Arrivals] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, request: Message) -> Awaitable[Message]:
        """Send a request for one key, by itself or with others."""
        (key,) = request["keys"]
        shape = (request.get("space"), request["namespace"], request["detail"])
        arrivals = self._turn.get(shape)
        if arrivals is None:
            self._turn[shape] = {}
            self._loop.call_soon(self._send, shape, request)
        elif key not in arrivals:
            arrived = arrivals[key] = self._loop.create_future()
            return arrived
        return self._ask(request)

    def _send(self, shape: _Shape, like: Message) -> None:
        """Send what has come together in the turn that ends."""
        arrivals = self._turn.pop(shape)
        try:
            for keys in batches(list(arrivals), self._frame_bytes):
                self._begin(like, {key: arrivals[key] for key in keys})
        except BaseException as error:  # There may be no memory left, and each who waits must hear of it.
            _fail(arrivals, error)
            raise

    def _begin(self, like: Message, arrivals: _Arrivals) -> None:
        task = self._loop.create_task(self._fetch(like, arrivals))
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._ended, arrivals))

    def _ended(self, arrivals: _Arrivals, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # Maybe before it began, as when a loop is shut down.
            for each in arrivals.values():
                each.cancel()
        elif (error := task.exception()) is not None:
            _fail(arrivals, error)

    async def _fetch(self, like: Message, arrivals: _Arrivals) -> None:
        """Hand on what each was waiting for, page after page where it is much, and forget who has it."""
        while arrivals:
            try:
                answer = await self._ask({**like, "keys": list(arrivals)})
            except DataStoreError as error:
                if len(arrivals) == 1 or type(error) is not DataStoreError:
                    raise
                while arrivals:  # Unexpected, and maybe because of one of them: each alone.
                    self._begin(like, dict([arrivals.popitem()]))
                return
            found, rest = {item["key"]: [item] for item in answer["items"]}, set(answer["rest"])
            for key in [each for each in arrivals if each not in rest]:
                if not (arrived := arrivals.pop(key)).done():
                    arrived.set_result({"items": found.get(key, []), "rest": []})


def _fail(arrivals: _Arrivals, error: BaseException) -> None:
    """Tell each who waits, with an error of its own, which will have its own traceback."""
    for each in arrivals.values():
        if not each.done():
            each.set_exception(from_dict(error.as_dict()) if isinstance(error, DataStoreError) else error)
