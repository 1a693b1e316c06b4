"""The host's callables that a run may call: looked up in that run's own table, told who acts by the host alone."""

from __future__ import annotations

import asyncio
import inspect
import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from datastore import values
from datastore.entry import pack_value, unpack_value
from datastore.errors import DataStoreError, InvalidArgument, ToolError
from datastore.models import Scope

CONTEXT: Final = "context"

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
        if CONTEXT in kwargs and _wants_context(function):
            raise InvalidArgument(f"{_shown(reference)}: the host gives {CONTEXT!r}. Leave it out.")
        given = {CONTEXT: self._context} if _wants_context(function) else {}
        try:
            answer = await _invoke(function, args, {**kwargs, **given})
            return pack_value({"value": values.plain(answer, "result")})
        except DataStoreError as error:
            raise ToolError(_shown(reference), error.message) from error
        except Exception as error:
            raise ToolError(_shown(reference), f"{type(error).__name__}: {error}"[:1000]) from error


async def _invoke(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)
    answer = await asyncio.to_thread(function, *args, **kwargs)
    return await answer if inspect.isawaitable(answer) else answer


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
    try:
        return CONTEXT in inspect.signature(function).parameters
    except ValueError:  # Some built-in functions have no signature.
        return False


def _awaitables(held: Callables) -> dict[str, bool]:
    return {name: inspect.iscoroutinefunction(each) for name, each in held.items()}


def _shown(reference: str) -> str:
    return reference.partition(":")[2].replace(":", ".")


def _check(reference: str, function: object) -> None:
    shown = _shown(reference)
    if not callable(function):
        raise InvalidArgument(f"tool {shown!r} is not callable, got {type(function).__name__}.")
    dotted = not reference.startswith("tools:")
    parts = shown.split(".")
    if dotted and not all(part.isidentifier() and not keyword.iskeyword(part) for part in parts):
        raise InvalidArgument(f"tool {shown!r} is bound as a Python name, and is none.")
