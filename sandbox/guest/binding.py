"""How the host's tools appear to an agent: as a dict, as globals, as modules, each a stub that asks the host."""

from __future__ import annotations

import sys
import types
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from datastore import values
from datastore.entry import pack_value, unpack_value
from datastore.errors import DataStoreError
from sandbox.guest.channel import Channel

Stub = Callable[..., Any]


class Tools(dict[str, Stub]):
    """The run's tools by name; `tools.call_llm(...)` works as `tools["call_llm"](...)` does."""

    def __getattr__(self, name: str) -> Stub:
        if name in self:
            return self[name]
        raise AttributeError(self._unknown(name))

    def __missing__(self, name: str) -> NoReturn:
        raise KeyError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        return f"no tool {name!r}; the host gave: {', '.join(sorted(self)) or 'none'}"


def stub(channel: Channel, reference: str, *, awaitable: bool) -> Stub:
    """Return a function that calls one of the host's tools: plain, or a coroutine function."""
    shown = reference.partition(":")[2]

    def request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return {
            "tool": reference,
            "args": [_packed(each, f"{shown}: argument {i}") for i, each in enumerate(args)],
            "kwargs": {name: _packed(each, f"{shown}: {name}") for name, each in kwargs.items()},
        }

    def call(*args: Any, **kwargs: Any) -> Any:
        return unpack_value(channel.call(request(args, kwargs)))

    async def acall(*args: Any, **kwargs: Any) -> Any:
        return unpack_value(await channel.acall(request(args, kwargs)))

    function: Callable[..., Any | Awaitable[Any]] = acall if awaitable else call
    function.__name__ = function.__qualname__ = shown
    return function


def _packed(value: object, path: str) -> dict[str, Any]:
    return pack_value({"value": values.plain(value, path)})


def bind(channel: Channel, start: dict[str, Any], module: types.ModuleType) -> Tools:
    """Make the run's names, modules and tools, as the start message lists them: name -> whether it is awaitable."""
    for dotted, awaitable in start["names"].items():
        _assign(module, dotted.split("."), stub(channel, f"names:{dotted}", awaitable=awaitable))
    for name, members in start["modules"].items():
        target = _module(name)
        for member, awaitable in members.items():
            setattr(target, member, stub(channel, f"modules:{name}:{member}", awaitable=awaitable))
    tools = start["tools"].items()
    return Tools({name: stub(channel, f"tools:{name}", awaitable=awaitable) for name, awaitable in tools})


def _assign(target: object, path: list[str], function: Stub) -> None:
    for part in path[:-1]:
        if not hasattr(target, part):
            setattr(target, part, types.SimpleNamespace())
        target = getattr(target, part)
    setattr(target, path[-1], function)


def _module(name: str) -> types.ModuleType:
    parent, _, last = name.rpartition(".")
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__path__ = []
        sys.modules[name] = module
        if parent:
            setattr(_module(parent), last, module)
    return sys.modules[name]


def named_error(error: BaseException) -> str:
    """Return an error as its type and message."""
    name = type(error).__name__
    return f"{name}: {error}" if str(error) or isinstance(error, DataStoreError) else name
