"""The one file that enters the sandbox: the guest and the rules it shares with the host, as a zip that Python runs.

Modules are compiled here, once, which saves every guest the work; an interpreter of another version takes the source
that lies beside.
"""

from __future__ import annotations

import functools
import io
import py_compile
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from sandbox.guest import GUEST

SHARED: Final = ("errors.py", "names.py", "values.py", "entry.py")
"""The modules of `datastore` that the guest needs: standard library only, which the import contracts hold."""

_MAIN: Final = b"import sys\nfrom sandbox.guest.main import main\nmain(int(sys.argv[1]))\n"


@functools.cache
def bootstrap() -> bytes:
    """Return the archive, stored without compression so that starting costs no inflation."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle, tempfile.TemporaryDirectory() as folder:
        for name, source in _modules():
            bundle.writestr(name, source)
            bundle.writestr(f"{name}c", _compiled(name, source, Path(folder)))
    return archive.getvalue()


def _modules() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN
    yield "datastore/__init__.py", b""
    yield "sandbox/__init__.py", b""
    for name in SHARED:
        yield f"datastore/{name}", (resources.files("datastore") / name).read_bytes()
    for file in sorted((resources.files("sandbox") / "guest").iterdir(), key=lambda each: each.name):
        if file.name.endswith(".py"):
            yield f"sandbox/guest/{file.name}", file.read_bytes()


def _compiled(name: str, source: bytes, folder: Path) -> bytes:
    (folder / "source.py").write_bytes(source)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    target = py_compile.compile(
        str(folder / "source.py"), str(folder / "source.pyc"), GUEST + name, doraise=True, invalidation_mode=mode
    )
    return Path(str(target)).read_bytes()
