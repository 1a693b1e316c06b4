"""The guest's life: say ready, wait to be taken, greet, confine itself, run one agent, say what came of it.

Nothing of a user is here before the start message. The end of the socket ends the guest, at any time.
One subject, so longer than most files.
"""

from __future__ import annotations

import ast
import asyncio
import errno
import gc
import inspect
import io
import json
import linecache
import os
import re
import resource
import select
import socket
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Final

from datastore import values
from datastore.entry import pack_value, unpack_value
from datastore.errors import CODES, DataStoreError, InvalidArgument, RunLimitExceeded, ValueTooLarge
from sandbox.guest import GUEST, hints, later, wire
from sandbox.guest.binding import Tools, bind, named_error
from sandbox.guest.channel import Channel
from sandbox.guest.faces import verb
from sandbox.guest.logs import LogStream
from sandbox.guest.verbs import DataStore

_AGENT: Final = "agent"
_NOT_AWAITABLE: Final = re.compile("can't be (used in 'await' expression|awaited)")
_NO_THREAD: Final = "can't start new thread"
_TAKES_ANY: Final = 0x04
"""The flag of a function's code that says so, `inspect.CO_VARARGS`."""
_MOST_FRAMES: Final = 40
_LINGER_MILLISECONDS: Final = 1000
_SOON_MILLISECONDS: Final = 250
_COURTESY_SECONDS: Final = 0.005
_FILES: Final = 64
_SIGNALS: Final = 64
_FILE_BYTES: Final = 16 * 1024 * 1024
_HELLO: Final = {
    "hello": {
        "protocol": wire.PROTOCOL,
        "limits": dict.fromkeys(
            ("value_bytes", "metadata_bytes", "frame_bytes", "in_flight", "long_polls", "log_bytes", "gather_bytes"),
            1024,
        ),
    }
}
_REHEARSAL: Final[dict[str, Any]] = {
    "code": "import json\ndef run(given):\n    return data_store.get('k')\n",
    "file": "rehearsal.py",
    "input": {"value": {}},
    "names": {},
    "modules": {},
    "tools": {},
}
_VERBS: Final = [name for name in dir(DataStore) if isinstance(getattr(DataStore, name), verb)] + ["commit"]


def main(descriptor: int) -> None:
    """Serve one run over an inherited socket; every other descriptor is closed."""
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    sock = socket.socket(fileno=descriptor)
    sock.sendall(wire.pack({"ready": True}))
    os.dup2(1, 2)  # Diagnostics of the start went to stderr; from here on the log is the only way out.
    if not _hears(sock, _SOON_MILLISECONDS):
        later.load_all()  # The run is not here yet, so it need not wait for what it may not even use.
    if not sock.recv(1, socket.MSG_PEEK):
        return  # Nobody took this guest.
    channel = Channel(sock)
    message = channel.receive()
    if message is None:
        return
    start = message["start"]
    _confine(start["limits"])
    os.environ.update(start["environment"])
    budget = [channel.limits["log_bytes"]]
    sys.stdout, sys.stderr = LogStream(channel, "stdout", budget), LogStream(channel, "stderr", budget)
    sys.stdin = io.StringIO()
    answer = _outcome(channel, start)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        channel.post(answer)
    except ValueTooLarge as error:
        channel.post({"raised": _described(error, start)})
    _linger(sock)
    os._exit(0)  # Threads of the agent end with it.


def prepare(packages: str | None = None, *, whole: bool = False) -> None:
    """Do beforehand what needs nothing of the run, so that the run need not wait for it.

    Args:
        packages: a folder of packages that agents may import.
        whole: also load what many runs do not use, since many will come of this.
    """
    warnings.filterwarnings("ignore", r"data_store\.(aio|atomic)", RuntimeWarning)  # The run ends with it as an error.
    for kind in CODES.values():
        kind.__module__ = "data_store"  # As the agent's author writes it: `except data_store.Conflict`.
    gc.freeze()  # What is loaded now stays; collections, of which each run has one at least, pass over it.
    _rehearse()
    if packages is not None:
        _offer(packages)
    if whole or packages is not None:  # A package may import a part of a deferred one; see `later.defer`.
        later.load_all()
    gc.freeze()
    gc.enable()


def _offer(packages: str) -> None:
    """Let agents import packages, behind all else; by hand, since `site` would execute the folder's `.pth` files."""
    sys.path.append(packages)
    # Numeric libraries start a thread for each processor, with 40 MiB of address space for each.
    os.environ["OMP_NUM_THREADS"] = "1"


def _rehearse() -> None:
    """Run an agent of our own once, over a socket of our own: first times are slow."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(wire.pack(_HELLO))
        channel = Channel(ours)
        theirs.sendall(wire.pack({"id": 1, "ok": {"items": [{"value": 1}], "rest": []}}))
        wire.pack(_outcome(channel, _REHEARSAL))
        channel.close()
    for name in ("data_store", _AGENT):
        sys.modules.pop(name, None)
    linecache.clearcache()


def _linger(sock: socket.socket) -> None:
    """Wait until the host has hung up, and then until it has gone on.

    Only a process that is still there shows how much memory it held; and taking one down takes a processor for a
    millisecond, which the host may need for the run's result.
    """
    _hears(sock, _LINGER_MILLISECONDS, select.POLLRDHUP)
    time.sleep(_COURTESY_SECONDS)


def _hears(sock: socket.socket, milliseconds: int, event: int = select.POLLIN) -> bool:
    """Wait for something of the host for a while, and say whether it came."""
    waiting = select.poll()
    waiting.register(sock, event)
    return bool(waiting.poll(milliseconds))


def _confine(limits: dict[str, Any]) -> None:
    bounds = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (limits["cpu_seconds"],) * 2,  # At once the hard one: pid 1 ignores SIGXCPU.
        resource.RLIMIT_AS: (limits["memory_bytes"],) * 2,
        resource.RLIMIT_FSIZE: (_FILE_BYTES,) * 2,
        resource.RLIMIT_NOFILE: (_FILES,) * 2,
        resource.RLIMIT_MEMLOCK: (0, 0),
        getattr(resource, "RLIMIT_SIGPENDING", 11): (_SIGNALS,) * 2,  # Guests of one account share what is left.
        getattr(resource, "RLIMIT_MSGQUEUE", 12): (0, 0),
    }
    if limits["threads"] is not None:
        bounds[resource.RLIMIT_NPROC] = (limits["threads"],) * 2
    for kind, bound in bounds.items():
        resource.setrlimit(kind, bound)


def _outcome(channel: Channel, start: dict[str, Any]) -> dict[str, Any]:
    try:
        output = _run(channel, start)
        content = values.plain(output, "result")
        values.check_size(values.size(content), channel.limits["value_bytes"], "result")
        return {"result": pack_value({"value": content})}
    except BaseException as error:  # noqa: BLE001 - whatever the agent raises is its result
        return {"raised": _described(error, start)}


def _run(channel: Channel, start: dict[str, Any]) -> Any:
    file, code = start["file"], start["code"]
    later.load_for(code)
    if start["names"] or start["modules"]:  # Which may change, or stand in for, what is not loaded yet.
        later.load_all()
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    program: str | ast.Module = code
    if "await" in code:  # Looking through a tree takes longer than making it.
        program = tree = ast.parse(code, file)
        for name, line in hints.awaited_verbs(tree, _VERBS):
            raise hints.awaited_verb(name, line, done=False)
    store = DataStore(channel)
    sys.modules["data_store"] = store  # type: ignore[assignment]  # `import data_store` gives the object itself
    module = types.ModuleType(_AGENT)
    module.__file__ = file
    module.__dict__.update(data_store=store, asyncio=asyncio, json=json, re=re)
    sys.modules[_AGENT] = module
    tools = bind(channel, start, module)
    exec(compile(program, file, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - running the agent is the purpose
    output = _call(module, file, unpack_value(start["input"]), tools)
    _refuse_unawaited(channel)
    return output


def _call(module: types.ModuleType, file: str, given: Any, tools: Tools) -> Any:
    run = getattr(module, "run", None)
    if not callable(run):
        raise InvalidArgument(f"{file} defines no run. Write: def run(input_dict, tools): ...")
    answer = run(*_arguments(run, (given, tools)))
    return asyncio.run(_await(answer)) if isinstance(answer, Coroutine) else answer


async def _await(answer: Any) -> Any:
    return await answer


def _arguments(run: Callable[..., Any], offered: tuple[Any, ...]) -> tuple[Any, ...]:
    if type(run) is types.FunctionType and not hasattr(run, "__wrapped__"):  # Almost always, so without `inspect`.
        return offered if run.__code__.co_flags & _TAKES_ANY else offered[: run.__code__.co_argcount]
    kinds = [each.kind for each in inspect.signature(run).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return offered
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return offered[: sum(kind in positional for kind in kinds)]


def _refuse_unawaited(channel: Channel) -> None:
    """End a run that forgot an `await`: what its author believes was done was not."""
    gc.collect()
    for error in channel.unfinished.values():
        raise error
    for note in channel.unawaited.values():
        raise hints.never_awaited(note)


def _described(error: BaseException, start: dict[str, Any]) -> dict[str, Any]:
    if (mended := _awaited_at_run_time(error, start)) is not None:
        error = mended.with_traceback(error.__traceback__)
    code, fields = (error.code, error.fields) if isinstance(error, DataStoreError) else (None, {})
    if (limit := _limit_behind(error)) is not None:
        code, fields = RunLimitExceeded.code, {"limit": limit}
    return {
        "error": _text(named_error(error), 4096),
        "code": code,
        "fields": fields,
        "traceback": _text(_traceback(error, start["file"]), 16 * 1024),
    }


def _limit_behind(error: BaseException) -> str | None:
    """Name the limit of this process that an error tells of, where it is one that Python raises for that."""
    if isinstance(error, MemoryError):
        return "memory_bytes"
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return "open_files"
    return "threads" if isinstance(error, RuntimeError) and str(error) == _NO_THREAD else None


def _text(text: str, most: int) -> str:
    clean = text.encode("utf-8", "replace").decode()
    return (
        clean
        if len(clean) <= most
        else f"{clean[: most // 2]}\n... {len(clean) - most} characters ...\n{clean[-most // 2 :]}"
    )


def _awaited_at_run_time(error: BaseException, start: dict[str, Any]) -> DataStoreError | None:
    """Explain the TypeError of `await` before a verb that the source check could not see to be one."""
    if not isinstance(error, TypeError) or not _NOT_AWAITABLE.search(str(error)):
        return None
    lines = [
        line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == start["file"]
    ]
    for node in ast.walk(ast.parse(start["code"])):
        if isinstance(node, ast.Await) and lines and node.lineno <= lines[-1] <= (node.end_lineno or node.lineno):
            function = node.value.func if isinstance(node.value, ast.Call) else None
            if isinstance(function, ast.Attribute) and function.attr in _VERBS:
                return hints.awaited_verb(hints.spoken(function.attr), node.lineno, done=True)
    return None


def _traceback(error: BaseException, file: str) -> str:
    """Return the traceback from the agent's first frame on, without the guest's own frames."""
    described = traceback.TracebackException.from_exception(error, limit=-_MOST_FRAMES)
    part: traceback.TracebackException | None = described
    while part is not None:
        names = [frame.filename for frame in part.stack]
        first = names.index(file) if file in names else len(names)
        shown = [frame for frame in part.stack[first:] if not frame.filename.startswith(GUEST)]
        part.stack = traceback.StackSummary.from_list(shown)
        part = part.__cause__ or part.__context__
    return "".join(described.format())
