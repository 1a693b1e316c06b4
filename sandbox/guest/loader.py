"""Reads of single keys that begin in one turn of an event loop, as `gather` begins them, go to the host together.

The first goes at once and alone, so who awaits one read after another waits for nothing. Those that follow before the
loop's next turn share a request for each namespace: `gather` of a thousand gets is two operations of the engine. Each
read is counted as it would be alone, so one of a key that is asked for already has a request of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from datastore.errors import DataStoreError, from_dict
from sandbox.guest.batches import batches

if TYPE_CHECKING:
    import asyncio

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
        self._turn: dict[_Shape, dict[str, asyncio.Future[Message]]] = {}
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
        for keys in batches(list(arrivals), self._frame_bytes):
            task = self._loop.create_task(self._fetch(like, keys, arrivals))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fetch(self, like: Message, keys: list[str], arrivals: dict[str, asyncio.Future[Message]]) -> None:
        """Hand on what each was waiting for, page after page where it is much."""
        try:
            while keys:
                answer = await self._ask({**like, "keys": keys})
                found = {item["key"]: [item] for item in answer["items"]}
                rest = set(answer["rest"])
                for key in keys:
                    if key not in rest and not (arrived := arrivals[key]).done():
                        arrived.set_result({"items": found.get(key, []), "rest": []})
                keys = answer["rest"]
        except DataStoreError as error:
            for key in keys:
                if len(keys) > 1 and type(error) is DataStoreError:  # Unexpected, and maybe because of one of them.
                    await self._fetch(like, [key], arrivals)
                elif not (arrived := arrivals[key]).done():
                    arrived.set_exception(from_dict(error.as_dict()))  # Each its own: it will have its own traceback.
        finally:
            for key in keys:
                arrivals[key].cancel()  # Where this was cancelled, as when the loop is shut down.
