"""A command, and the peak of its own resident memory in KiB: `python resident.py FILE COMMAND...` writes it to FILE.

A process begins with the peak of whoever forked it, so that a small one must.
"""

import os
import sys
from pathlib import Path

running = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(running, 0)
Path(sys.argv[1]).write_text(str(used.ru_maxrss), encoding="ascii")
sys.exit(os.waitstatus_to_exitcode(status))
