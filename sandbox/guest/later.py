"""Modules that are loaded when something of them is used: without them a guest starts in half the time.

Other modules may import them as ever, and load them by their first use. An agent whose text may make it meet one has
it loaded before it runs; a guest that waits for a run loads all of them meanwhile.
"""

from __future__ import annotations

import gc
import importlib.util
import re
import sys
import threading
from types import ModuleType
from typing import Any, Final

_LOADING: Final = threading.RLock()
_EVERY: Final = re.compile(r"async|\b(exec|eval|modules|importlib|__import__)\b")
"""What an agent may write that could show it modules which its text does not name."""


class _Later(ModuleType):
    """A module whose code has not run."""

    def __getattr__(self, name: str) -> Any:
        load(self)
        if is_loaded(self):
            return getattr(self, name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} yet")  # While its own code runs.

    def __dir__(self) -> list[str]:
        load(self)
        return sorted(self.__dict__)


def defer(name: str) -> None:
    """Have a module loaded by its first use, unless it is loaded already.

    To import a part of a package is no use of the package itself: that it is loaded first is the caller's to see to.
    """
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None:
        return
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    module.__class__ = _Later


def is_loaded(module: ModuleType) -> bool:
    """Say whether a module's code has run."""
    return not isinstance(module, _Later)


def load_all() -> None:
    """Load all that was deferred, for good: collections of garbage pass over it."""
    if deferred := _deferred():
        for module in deferred:
            load(module)
        gc.freeze()


def load_for(code: str) -> None:
    """Load what an agent's text may make it meet."""
    if _EVERY.search(code):
        load_all()
    for module in _deferred():
        if re.search(rf"\b{module.__name__}\b", code):
            load(module)


def _deferred() -> list[ModuleType]:
    return [each for each in sys.modules.values() if isinstance(each, _Later)]


def load(module: ModuleType) -> None:
    """Load a module, once; other threads that use it wait for that."""
    with _LOADING:
        spec = module.__spec__
        if is_loaded(module) or spec is None or spec.loader is None or getattr(spec, "_initializing", False):
            return
        spec._initializing = True  # type: ignore[attr-defined]  # noqa: SLF001 - as an import says it, to those who import it meanwhile
        try:
            spec.loader.exec_module(module)
        finally:
            spec._initializing = False  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        module.__class__ = ModuleType
