"""The composition root: settings -> a store. Backends are found by URL scheme among the installed entry points."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from typing import Any

from datastore.clock import SystemClock
from datastore.errors import ConfigurationError
from datastore.ports import Clock, Engine
from datastore.service.audit import Audit
from datastore.service.heads import Heads
from datastore.service.layouts import guard_layout
from datastore.service.metrics import Metrics
from datastore.service.store import Store
from datastore.settings import Auditing, Settings, load

GROUP = "datastore.backends"


@asynccontextmanager
async def open_store(
    url: str | None = None,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    audit: Auditing | None = None,
) -> AsyncIterator[Store]:
    """Open a store, and close it with what was counted and noted written.

    Args:
        url: `sqlite:///FILE`, `postgresql://HOST/DATABASE`, `mongodb://HOST/DATABASE`; default: the settings' URL.
        settings: frozen settings; default: from the environment.
        clock: where time comes from; default: the machine.
        audit: what the audit log notes: `none`, `writes` or `all`; default: the settings'.

    Raises:
        ConfigurationError: the URL or a setting is unusable; the message has the remedy.
        StoreUnavailable: the server does not answer; at the end, rows of the audit log are lost.
    """
    settings = settings or load(url=url)
    clock = clock or SystemClock()
    heads = Heads(settings.audit_heads)
    metrics = Metrics() if settings.metrics else None
    engine = await open_engine(url or settings.url, settings, clock)
    try:
        store = Store(
            engine,
            clock=clock,
            flush_seconds=settings.flush_seconds,
            timeout_seconds=settings.operation_timeout_seconds,
            audit=Audit(
                engine,
                clock,
                audit or settings.audit,
                heads=heads,
                wait_seconds=settings.operation_timeout_seconds,
            ),
            limits=settings.limits,
            metrics=metrics,
        )
    except BaseException:
        await engine.aclose()
        raise
    try:
        await store.quotas.overrides.look()
        yield store
    finally:
        await store.aclose()


async def open_engine(url: str, settings: Settings, clock: Clock) -> Engine:
    """Open the backend that is installed for the URL's scheme.

    It refuses every call once a later version has changed the store so that this one must not use it.

    Raises:
        ConfigurationError: there is none; the message names those that are installed.
        StoreUnavailable: the server does not answer.
    """
    scheme, separator, _ = url.partition("://")
    known = {each.name: each for each in entry_points(group=GROUP)}
    if not separator or scheme not in known:
        shown = f"scheme {scheme!r}" if separator else "no scheme"
        installed = ", ".join(f"{name}://" for name in sorted(known))
        raise ConfigurationError(
            f"the store's URL has {shown}. Installed: {installed}. Example: sqlite:///datastore.db"
        )
    factory: Any = known[scheme].load()
    engine: Engine = await factory.open(url, settings, clock)
    return guard_layout(engine, settings.operation_timeout_seconds)
