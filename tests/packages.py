"""A folder of packages for agents, as `pip install --target` makes one, out of the packages that tests have."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path


@contextmanager
def packages_for_agents(*names: str) -> Iterator[Path]:
    """Give a folder with copies of installed packages; not in pytest's own, which other accounts may not enter."""
    with tempfile.TemporaryDirectory(prefix="packages-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for each in names:
            _copy(each, folder)
        yield folder


def _copy(name: str, folder: Path) -> None:
    files = distribution(name).files or []
    source = Path(str(distribution(name).locate_file("")))
    for top in sorted({each.parts[0] for each in files} - {".."}):
        shutil.copytree(source / top, folder / top, ignore=shutil.ignore_patterns("tests", "*.pyi"))
