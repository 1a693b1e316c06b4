"""Whether the clock of an engine's server agrees with this host's, for every engine that has a server."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Final

from datastore.errors import ConfigurationError

WARN_SECONDS: Final = 2.0
REFUSE_SECONDS: Final = 30.0

_log = logging.getLogger("datastore.clocks")


def check_clock(server: datetime, before: datetime, after: datetime, at: str) -> None:
    """Compare the server's clock with this host's, which was read before and after it.

    Args:
        server: the server's time.
        before: the host's, before it asked.
        after: the host's, when it had the answer.
        at: the engine and its address, such as "MongoDB at db.example:27017".

    Raises:
        ConfigurationError: they differ by more than `REFUSE_SECONDS`: entries would expire at the wrong time.
    """
    apart = max((before - server).total_seconds(), (server - after).total_seconds())
    if apart > REFUSE_SECONDS:
        raise ConfigurationError(
            f"The clocks of this host and of {at} differ by {apart:.0f} seconds; "
            f"{REFUSE_SECONDS:.0f} is the most. Synchronise both, for example with NTP."
        )
    if apart > WARN_SECONDS:
        _log.warning("the clocks of this host and of %s differ by %.1f seconds", at, apart)
