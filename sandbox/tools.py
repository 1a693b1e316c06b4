"""The host's callables that a run may call: looked up in that run's own table, told who acts by the host alone."""

from __future__ import annotations

import asyncio
import functools
import inspect
import keyword
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from datastore import values
from datastore.entry import pack_value, unpack_value
from datastore.errors import DataStoreError, InvalidArgument, ToolError, of_the_rest
from datastore.models import Scope

CONTEXT: Final = "context"
_MOST_SAID: Final = 1000
_PLAIN_THREADS: Final = 32
_PLAIN_AT_ONCE: Final = 4
"""Plain functions of one run at once; more wait, so that one run cannot take every thread."""

Callables = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who calls a tool. A tool that names a parameter `context` gets it, and takes identity from nothing else."""

    scope: Scope


class ToolBox:
    """The tools of one run.

    Args:
        scope: who acts.
        tools: name -> callable, as `tools["name"]`.
        names: dotted name -> callable, bound as globals.
        modules: module name -> name -> callable, importable.

    Raises:
        InvalidArgument: something is not callable, or a name is no Python name.
    """

    def __init__(
        self,
        scope: Scope,
        tools: Callables | None = None,
        names: Callables | None = None,
        modules: Mapping[str, Callables] | None = None,
    ) -> None:
        self._context = ToolContext(scope)
        self._modules = modules or {}
        self._named = {"tools": dict(tools or {}), "names": dict(names or {})}
        self._table = {f"{kind}:{name}": each for kind, held in self._named.items() for name, each in held.items()}
        for module, members in self._modules.items():
            self._table |= {f"modules:{module}:{name}": each for name, each in members.items()}
        self._plain_slots = asyncio.Semaphore(_PLAIN_AT_ONCE)
        for reference, each in self._table.items():
            _check(reference, each)

    def listing(self) -> dict[str, Any]:
        """Return what the guest is told: every name, and whether its tool is awaitable."""
        listed: dict[str, Any] = {kind: _awaitables(held) for kind, held in self._named.items()}
        listed["modules"] = {module: _awaitables(members) for module, members in self._modules.items()}
        return listed

    async def call(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Call the tool that a message names, and return its packed result.

        Raises:
            ToolError: it failed, or its result is not JSON.
            InvalidArgument: there is no such tool, or the message is malformed.
        """
        reference, args, kwargs = _parse(message)
        function = self._table.get(reference)
        if function is None:
            raise InvalidArgument(f"there is no tool {reference!r:.100}.")
        if CONTEXT in kwargs:
            raise InvalidArgument(f"{_shown(reference)}: the host gives {CONTEXT!r}. Leave it out.")
        given = {CONTEXT: self._context} if _wants_context(function) else {}
        try:
            answer = await self._invoke(function, args, {**kwargs, **given})
            return pack_value({"value": values.plain(answer, "result")})
        except DataStoreError as error:
            raise ToolError(_shown(reference), of_the_rest(error.message)) from error
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise ToolError(_shown(reference), "it was cancelled") from None
        except (Exception, SystemExit) as error:
            raise ToolError(_shown(reference), _said(error)) from error

    async def _invoke(self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        loop = asyncio.get_running_loop()
        async with self._plain_slots:
            answer = await loop.run_in_executor(_plain_tools(), _contained, function, args, kwargs)
        return await answer if inspect.isawaitable(answer) else answer


@functools.cache
def _plain_tools() -> ThreadPoolExecutor:
    """Return the threads of plain functions, apart from those that the host uses for itself."""
    return ThreadPoolExecutor(_PLAIN_THREADS, thread_name_prefix="datastore tool")


def _contained(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a plain function; what asyncio would not carry out of a thread becomes an ordinary error."""
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        raise RuntimeError(_said(error)) from error
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(_said(error)) from error


def _said(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the error's own text may be broken too
        text = "it has no text"
    return f"{type(error).__name__}: {text}"[:_MOST_SAID]


def _parse(message: Mapping[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    reference, args, kwargs = message.get("tool"), message.get("args"), message.get("kwargs")
    if not isinstance(reference, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise InvalidArgument("a tool call carries tool, args and kwargs.")
    return reference, [_unpacked(each) for each in args], {name: _unpacked(each) for name, each in kwargs.items()}


def _unpacked(packed: object) -> Any:
    if not isinstance(packed, dict):
        raise InvalidArgument("an argument of a tool is an object with value or value_base64.")
    try:
        return values.plain(unpack_value(packed), "argument")
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"an argument of a tool is unusable: {error}") from None


def _wants_context(function: Callable[..., Any]) -> bool:
    return _context_parameter(function) is not None


def _positional_context(function: Callable[..., Any]) -> bool:
    parameter = _context_parameter(function)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return parameter is not None and parameter.kind not in by_name


def _context_parameter(function: Callable[..., Any]) -> inspect.Parameter | None:
    try:
        return inspect.signature(function).parameters.get(CONTEXT)
    except ValueError:  # Some built-in functions have no signature.
        return None


def _awaitables(held: Callables) -> dict[str, bool]:
    return {name: inspect.iscoroutinefunction(each) for name, each in held.items()}


def _shown(reference: str) -> str:
    return reference.partition(":")[2].replace(":", ".")


def _check(reference: str, function: object) -> None:
    shown = _shown(reference)
    if not callable(function):
        raise InvalidArgument(f"tool {shown!r} is not callable, got {type(function).__name__}.")
    if _positional_context(function):
        raise InvalidArgument(f"tool {shown!r} takes {CONTEXT!r} by position only. Take it by name.")
    dotted = not reference.startswith("tools:")
    parts = shown.split(".")
    if dotted and not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise InvalidArgument(f"tool {shown!r} is bound as a Python name, and is none.")
