"""The programs of `inside`, as an archive for an interpreter on the guest's side to run."""

from __future__ import annotations

import functools
from importlib import resources

from sandbox import archive


@functools.cache
def program(name: str) -> bytes:
    """Return an archive that runs `main()` of a module of `inside`; it holds the package `inside` and nothing else."""
    files = sorted((resources.files("sandbox.isolation") / "inside").iterdir(), key=lambda each: each.name)
    modules = [(f"inside/{file.name}", file.read_bytes()) for file in files if file.name.endswith(".py")]
    return archive.build([("__main__.py", f"from inside.{name} import main\nmain()\n".encode()), *modules])
