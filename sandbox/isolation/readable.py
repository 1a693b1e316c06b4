"""Run under the launcher's uid: walk a folder of packages and end with the first path that this uid may not read."""

import os
import sys
from typing import NoReturn


def refuse(error: OSError) -> NoReturn:
    """End with the path as the reason."""
    sys.exit(f"{error.filename}: {error.strerror}")


def main(folder: str) -> None:
    """Look at every file; a link shows only what lies in the folder too, so what it leads to is not asked."""
    for parent, _folders, files in os.walk(folder, onerror=refuse):
        for path in (os.path.join(parent, name) for name in files):  # noqa: PTH118 - thousands of plain strings.
            if not os.path.islink(path) and not os.access(path, os.R_OK):  # noqa: PTH114 - as above.
                sys.exit(f"{path}: Permission denied")


if __name__ == "__main__":
    main(sys.argv[1])
