"""What enters the sandbox, with `datastore.values`, `datastore.errors` and `datastore.entry`. Standard library only."""
