"""Entries in SQL, through SQLAlchemy Core: an embedded SQLite file, or memory."""

from datastore.backends.sql.backend import SqlBackend

__all__ = ["SqlBackend"]
