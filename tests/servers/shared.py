"""One server of each engine for all workers of a parallel run of the tests.

The process that hands out the tests starts them before its workers begin, and tells the workers by the variables that
name servers. A run in one process shares nothing: it starts a server when the first test asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import mongo, postgres


@contextmanager
def shared_servers() -> Iterator[None]:
    """Start the servers that no variable names yet, name them, and stop them at the end."""
    given = dict(os.environ)
    with mongo.mongod() as mongo_url, postgres.postgres() as postgres_url:
        os.environ |= {mongo.VARIABLE: mongo_url, postgres.VARIABLE: postgres_url}
        try:
            yield
        finally:
            for name in (mongo.VARIABLE, postgres.VARIABLE):
                if name not in given:
                    del os.environ[name]
