"""How one untrusted guest process is started and killed: isolation levels, chosen by name.

This package knows processes, namespaces and system calls. What is said over the socket is none of its business.
"""

from sandbox.isolation.choice import LEVELS, choose
from sandbox.isolation.diagnosis import explain
from sandbox.isolation.external import External
from sandbox.isolation.level import Guest, Level

__all__ = ["LEVELS", "External", "Guest", "Level", "choose", "explain"]
