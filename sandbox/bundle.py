"""The one file that enters the sandbox: the guest, and the rules it shares with the host, as a bootstrap."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib import resources
from typing import Final

from sandbox import archive

SHARED: Final = ("errors.py", "names.py", "values.py", "entry.py")
"""The modules of `datastore` that the guest needs: standard library only, which the import contracts hold."""

_BOOTSTRAP: Final = b"""\
from sandbox.guest import later
for name in ("ast", "asyncio", "difflib", "inspect", "random"):
    later.defer(name)
from sandbox.guest.main import main, prepare
"""


@functools.cache
def bootstrap() -> bytes:
    """Return the archive."""
    return archive.bootstrap(_modules())


def _modules() -> Iterator[tuple[str, bytes]]:
    yield "bootstrap.py", _BOOTSTRAP
    yield "datastore/__init__.py", b""
    yield "sandbox/__init__.py", b""
    for name in SHARED:
        yield f"datastore/{name}", (resources.files("datastore") / name).read_bytes()
    for file in sorted((resources.files("sandbox") / "guest").iterdir(), key=lambda each: each.name):
        if file.name.endswith(".py"):
            yield f"sandbox/guest/{file.name}", file.read_bytes()
