"""A process that has imported a framework once, and from which ranks are forked.

    python -m suite.ranks.nursery CHANNEL MODULE…

``CHANNEL`` is the number of an inherited socket that keeps messages apart (SOCK_SEQPACKET), with
suite.launch.nurseries at the other end. Each message is JSON. The harness asks to start a rank, or
to forget one that has ended; it is told the ranks' process ids and how each of them ended.

Nothing but imports happens here: no thread is started, no random number drawn and no file opened
that a rank would then share. A rank that is forked runs its module as a new process does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import select
import socket
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from suite.contract.pages import Pages, hold, own_pages
from suite.ranks import entry


def main() -> None:
    """Imports, says that it is ready, and serves until the harness closes the channel."""
    entry.die_with_parent()
    channel = socket.socket(fileno=int(sys.argv[1]))
    with entry.swift_start():
        for module in sys.argv[2:]:
            importlib.import_module(module)
    serve(channel)


def serve(channel: socket.socket) -> None:
    """Answers requests and watches the ranks until the other end is closed.

    A rank that has ended stays a zombie until the harness forgets it: its process id cannot become
    another process's while somebody may still send it a signal.
    """
    pages = own_pages()
    _say(channel, ready=sum(1 for _ in Path("/proc/self/task").iterdir()))
    watched: dict[int, int] = {}  # a descriptor of each rank (pidfd_open(2)) -> its process id
    while True:
        readable, _, _ = select.select([channel.fileno(), *watched], [], [])
        for descriptor in watched.keys() & set(readable):
            pid = watched.pop(descriptor)
            os.close(descriptor)
            _say(channel, pid=pid, code=_code(pid))
        if channel.fileno() in readable and not _answer(channel, watched, pages):
            return


def _answer(channel: socket.socket, watched: dict[int, int], pages: Pages) -> bool:
    """Does what a message asks for; returns False at the end of the requests."""
    message = channel.recv(entry.MESSAGE_BYTES)
    if not message:
        return False
    request = json.loads(message)
    if "forget" in request:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(request["forget"], 0)
        return True
    nursery, pid = os.getpid(), os.fork()
    if not pid:
        entry.die_with(nursery)
        _become_rank(channel, list(watched), pages, request)
    watched[os.pidfd_open(pid)] = pid
    _say(channel, started=pid)
    return True


def _say(channel: socket.socket, **words: int) -> None:
    channel.send(json.dumps(words).encode())


def _code(pid: int) -> int:
    """The exit code of a rank that has ended, as ``subprocess`` gives it; it stays a zombie."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if ended is None:
        raise ChildProcessError(f"{pid} has not ended")
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _become_rank(
    channel: socket.socket, watched: list[int], pages: Pages, request: dict[str, Any]
) -> NoReturn:
    """Makes this fork what a newly started rank is, and runs it."""
    code, nursery = 1, os.getppid()
    try:
        os.setsid()
        channel.close()
        for descriptor in watched:
            os.close(descriptor)
        _redirect(Path(request["log"]))
        os.chdir(request["folder"])
        os.environ.clear()
        # The harness of a rank is the process that it would be orphaned by.
        os.environ.update(request["environment"], **{entry.HARNESS: str(nursery)})
        _forget_what_was_chosen()
        sys.argv = [request["worker"], *request["arguments"]]
        entry.forked_from.append(nursery)
        entry.on_arriving.append(partial(hold, pages))
        importlib.import_module(request["worker"]).main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _redirect(log: Path) -> None:
    """Gives the rank the launch's log as its output, and nothing as its input."""
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)


def _forget_what_was_chosen() -> None:
    """Python chooses these once a process; forks would all have the same."""
    tempfile.tempdir = None
    random.seed()
    np.random.seed()  # noqa: NPY002 - the global generator is what other code may draw from


if __name__ == "__main__":
    main()
