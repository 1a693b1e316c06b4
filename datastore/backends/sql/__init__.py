"""Entries in SQL, through SQLAlchemy Core: an embedded SQLite file, memory, or a PostgreSQL database."""

from datastore.backends.sql.backend import SqlBackend

__all__ = ["SqlBackend"]
