"""How a verb, written once as a generator of requests, becomes a plain call and an awaitable one.

A verb is a method that yields requests, is sent their answers, and returns its own. On a synchronous face it runs to
its end; on an asynchronous face it becomes an awaitable that notices when nobody awaits it. Only this file and the
channel know one from the other. One subject, so longer than most files.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import time
import types
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from datastore.errors import DataStoreError
from sandbox.guest import hints
from sandbox.guest.channel import Channel

P = ParamSpec("P")
R = TypeVar("R")
Request = dict[str, Any]
_CALLS = itertools.count()


def within(space: str | None, request: Request) -> Request:
    """Return a request about a space; None is the user's own data."""
    return request if space is None else {"space": space, **request}


class Pause:
    """What a verb yields to wait a while, holding nothing; its answer is None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


Steps = Generator[Request | Pause, Any, R]


class SyncFace:
    """A face whose verbs return their answers."""

    _channel: Channel

    @staticmethod
    def _made(function: Callable[..., Steps[Any]], writes: bool) -> Callable[..., Any]:  # noqa: ARG004, FBT001 - the twin's signature
        def call(face: SyncFace, /, *args: Any, **kwargs: Any) -> Any:
            return drive(face._channel, _begin(function, face, args, kwargs))

        return call


class AsyncFace:
    """A face whose verbs return awaitables."""

    _channel: Channel
    _path: ClassVar[str] = ""

    @classmethod
    def _made(cls, function: Callable[..., Steps[Any]], writes: bool) -> Callable[..., Any]:  # noqa: FBT001 - as above
        name = cls._path + function.__name__

        def call(face: AsyncFace, /, *args: Any, **kwargs: Any) -> Any:
            steps = _begin(function, face, args, kwargs)
            return Call(face._channel, steps, (name, args[0] if args else kwargs.get("key"), writes))

        return call


class verb(Generic[P, R]):  # noqa: N801 - a decorator
    """Make a generator of requests a verb of both faces.

    Args:
        function: the generator method.
        writes: whether it changes something, which the message of a forgotten await says.
    """

    def __init__(self, function: Callable[Concatenate[Any, P], Steps[R]], *, writes: bool = False) -> None:
        self.function = function
        self.writes = writes
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: SyncFace, owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, face: AsyncFace, owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, face: SyncFace | AsyncFace | None, owner: type) -> Any:
        """Bind to a face, once: the bound verb then stands in the face's own dict."""
        if face is None:
            return self
        made = functools.update_wrapper(face._made(self.function, self.writes), self.function)  # noqa: SLF001 - the face is ours
        bound = face.__dict__[self.function.__name__] = types.MethodType(made, face)
        return bound


def writing(function: Callable[Concatenate[Any, P], Steps[R]]) -> verb[P, R]:
    """Make a verb that changes something."""
    return verb(function, writes=True)


def _begin(function: Callable[..., Steps[Any]], face: object, args: Any, kwargs: Any) -> Steps[Any]:
    """Bind the arguments; a generator's body has not begun then, so a TypeError is about the call alone."""
    try:
        return function(face, *args, **kwargs)
    except TypeError:
        raise hints.wrong_call(function, args, kwargs) from None


def explained(method: Callable[P, R]) -> Callable[P, R]:
    """Let a method that does no I/O answer wrong arguments as a verb does."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except TypeError:
            try:
                inspect.signature(method).bind(*args, **kwargs)
            except TypeError:
                raise hints.wrong_call(method, args[1:], kwargs) from None
            raise  # The arguments fit, so what is wrong is what they hold; the error says so already.

    return call


def drive(channel: Channel, steps: Steps[R]) -> R:
    """Run a verb to its end, waiting for each answer."""
    try:
        request = next(steps)
        while True:
            try:
                answer = _answer(channel, request)
            except DataStoreError as error:
                request = steps.throw(error)
            else:
                request = steps.send(answer)
    except StopIteration as stop:
        result: R = stop.value
        return result
    finally:
        steps.close()  # Also where the caller was interrupted: what the verb holds is let go now, not some time later.


def _answer(channel: Channel, request: Request | Pause) -> Any:
    if isinstance(request, Pause):
        return time.sleep(request.seconds)
    return channel.call(request)


async def adrive(channel: Channel, steps: Steps[R]) -> R:
    """Run a verb to its end, awaiting each answer."""
    try:
        request = next(steps)
        while True:
            waiting = asyncio.sleep(request.seconds) if isinstance(request, Pause) else channel.acall(request)
            try:
                answer = await waiting
            except DataStoreError as error:
                request = steps.throw(error)
            else:
                request = steps.send(answer)
    except StopIteration as stop:
        result: R = stop.value
        return result
    finally:
        steps.close()  # As above.


class Call(Coroutine[Any, Any, Any]):
    """An awaitable call of a verb that leaves a note with its channel until somebody awaits it."""

    def __init__(self, channel: Channel, steps: Steps[Any], note: hints.Unawaited) -> None:
        self._inner = adrive(channel, steps)
        self._notes = channel.unawaited
        self._number = next(_CALLS)
        self._notes[self._number] = note

    def _started(self) -> None:
        self._notes.pop(self._number, None)

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        self._started()
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise inside, as in a coroutine."""
        self._started()
        return self._inner.throw(*error)

    def close(self) -> None:
        """Give up, as a coroutine does."""
        self._started()
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        self._started()
        return self._inner.__await__()

    def __del__(self) -> None:
        if self._number not in self._notes:
            return
        # The note stays, and ends a sandboxed run; elsewhere Python's own habit applies.
        self._inner.close()
        warnings.warn(hints.never_awaited(self._notes[self._number]).message, RuntimeWarning, stacklevel=1)
