"""The command, killed by the kernel in the middle: `python killed.py METHOD CALLS WORDS...`.

It is killed where the engine's METHOD is called for the time after so many CALLS of it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from admin.cli.main import main
from datastore.backends.mongo import MongoBackend
from datastore.backends.sql import SqlBackend

_method, _left = sys.argv[1], int(sys.argv[2])


def dying(engine: Any) -> None:
    """Let an engine do it so many times, and then end the process."""
    do = getattr(engine, _method)

    async def do_or_die(*given: Any, **how: Any) -> Any:
        global _left  # noqa: PLW0603 - counts calls of this process
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        _left -= 1
        return await do(*given, **how)

    setattr(engine, _method, do_or_die)


dying(MongoBackend)
dying(SqlBackend)
sys.exit(main(sys.argv[3:]))
