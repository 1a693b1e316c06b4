"""Report what the sandbox lets an agent see and do: its account, its environment, files, network, processes.

Input: {"namespace": "files:someone-elses", "key": "README.md"}, which belong to another user.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path


def run(input_dict, tools):
    theirs = data_store.use_namespace(input_dict["namespace"])
    return {
        "uid": os.getuid(),
        "pid": os.getpid(),
        "environment": sorted(os.environ),
        "read_passwd": attempt(lambda: Path("/etc/passwd").read_text()),
        "list_proc": attempt(lambda: list(Path("/proc").iterdir())),
        "write_file": attempt(lambda: Path.home().joinpath("note").write_text("x")),
        "open_socket": attempt(lambda: socket.create_connection(("127.0.0.1", 80), timeout=1)),
        "start_process": attempt(lambda: subprocess.run([sys.executable, "-V"], check=True)),
        "other_users_file": theirs.get(input_dict["key"], "nothing there"),
        "namespaces": data_store.list_namespaces(),
    }


def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return f"refused: {error.strerror}"
