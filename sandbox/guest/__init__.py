"""What enters the sandbox, with those modules of `datastore` that `sandbox.bundle` names. Standard library only."""

GUEST = "<guest>/"
"""What the file names of the guest's own frames begin with, so that an agent's traceback can leave them out."""
