"""What a guest's failed start means, and what its operator can do about it."""

from __future__ import annotations

import re
from typing import Final

from datastore.errors import SandboxUnavailable

_USER_NAMESPACES: Final = (
    "Allow unprivileged user namespaces: in a container by its seccomp profile, else by the sysctls"
    " kernel.unprivileged_userns_clone and user.max_user_namespaces."
)
_APPARMOR: Final = (
    "AppArmor restricts user namespaces here (Ubuntu 24.04 does): give bwrap a profile with `userns,`,"
    " or set kernel.apparmor_restrict_unprivileged_userns=0."
)
_INTERPRETER: Final = (
    "Use an interpreter that the guest's account may read, one outside of a home folder: name it with"
    " python=. If Python was upgraded just now, restart this host."
)
_SECCOMP: Final = "Use a kernel with CONFIG_SECCOMP_FILTER."
_NESTED: Final = (
    "This machine gives nested user namespaces no rights, as AppArmor's restriction does. Allow them, or do without"
    " zygote=True."
)
_UIDS: Final = (
    "Give run_as= a range of uids that nothing else on this machine uses, this host's other sandboxes excepted, which"
    " know of each other."
)
SETPRIV: Final = "Give the host CAP_SETUID and CAP_SETGID, or run it as the unprivileged account itself."
LAUNCHER: Final = "Run the launcher by hand; the embedding guide says what it is given and what it must do."
_NO_IDEA: Final = "Run the same bwrap by hand as the launching account to find out why."

_REMEDIES: Final = {
    r"zygote: unshare": _NESTED,
    r"No permissions to creat|Creating new namespace failed|unshare user ns": _USER_NAMESPACES,
    r"setting up uid map: Permission denied|Failed to make / slave": _APPARMOR,
    r"Can't find source path|execvp|error while loading shared libraries": _INTERPRETER,
    r"Unknown option": "Install bubblewrap 0.8 or later.",
    r"seccomp|SECCOMP": _SECCOMP,
    r"setpriv: ": SETPRIV,
    r"is in use by another process": _UIDS,
}
"""Words of bubblewrap, of the loader and of setpriv, and the remedy for each; the first match counts."""


def explain(words: str, level: str) -> SandboxUnavailable:
    """Return the error for a guest that did not start.

    Args:
        words: What the start wrote to stderr; its last line is quoted.
        level: The name of the level that was to start it.
    """
    lines = words.strip().splitlines() or ["it ended without a word"]
    remedy = LAUNCHER if level == "external" else _remedy(words)
    return SandboxUnavailable(f"{level} could not start a guest: {lines[-1].strip()}", remedy)


def _remedy(words: str) -> str:
    return next((remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, words)), _NO_IDEA)
