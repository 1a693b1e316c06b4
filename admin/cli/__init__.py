"""The command `datastore`: its words, its tables, its exit codes."""
