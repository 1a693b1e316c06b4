"""The store: rules and engines. It knows neither the sandbox nor the operators' tools."""

from datastore.assembly import open_store
from datastore.entry import Entry
from datastore.errors import DataStoreError
from datastore.grants import Grant
from datastore.models import Limits, Scope, Usage
from datastore.service.store import Store
from datastore.settings import Settings

__all__ = ["DataStoreError", "Entry", "Grant", "Limits", "Scope", "Settings", "Store", "Usage", "open_store"]
