"""What enters the sandbox, with the modules of `datastore` that the bundle names; the standard library is all it needs."""

GUEST = "<guest>/"
"""What the file names of the guest's own frames begin with, so that an agent's traceback can leave them out."""
