"""Python programs as one file: a zip archive that an interpreter runs or imports from.

Modules are compiled here, once, which saves every guest the work; an interpreter of another version takes the source
that lies beside.
"""

from __future__ import annotations

import io
import py_compile
import tempfile
import zipfile
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from sandbox.guest import GUEST


def build(modules: Iterable[tuple[str, bytes]]) -> bytes:
    """Return an archive of modules by path, stored without compression so that starting costs no inflation."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle, tempfile.TemporaryDirectory() as folder:
        for name, source in modules:
            bundle.writestr(name, source)
            bundle.writestr(f"{name}c", _compiled(name, source, Path(folder)))
    return archive.getvalue()


def bootstrap(modules: Iterable[tuple[str, bytes]]) -> bytes:
    """Return an archive whose module `bootstrap` is among those given.

    It has two functions: `prepare(packages=None, whole=False)` does what needs nothing of a run but may know where
    agents find packages, all of it where many runs will come of it; and `main(descriptor)` serves one run over a
    socket. Executed, the archive does one after the other.
    """
    start = (resources.files("sandbox.guest") / "start.py").read_bytes()
    return build([("__main__.py", start), *modules])


def _compiled(name: str, source: bytes, folder: Path) -> bytes:
    (folder / "source.py").write_bytes(source)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    target = py_compile.compile(
        str(folder / "source.py"), str(folder / "source.pyc"), GUEST + name, doraise=True, invalidation_mode=mode
    )
    return Path(str(target)).read_bytes()
