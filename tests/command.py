"""``python -m suite`` without the second that a process takes to start."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from suite.cli.app import main


def suite_command(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What the command does in ``folder``, its exit code and what it printed."""
    out, error, code = io.StringIO(), io.StringIO(), 0
    with _as_process(arguments, folder), redirect_stdout(out), redirect_stderr(error):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())


@contextmanager
def _as_process(arguments: tuple[str, ...], folder: Path | None) -> Iterator[None]:
    """What the command changes of its process is changed back."""
    kept = sys.argv, sys.path[:], Path.cwd(), set(sys.modules), signal.getsignal(signal.SIGTERM)
    sys.argv = ["suite", *arguments]
    os.chdir(folder or kept[2])
    sys.path.insert(0, str(folder or kept[2]))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = kept[0], kept[1]
        os.chdir(kept[2])
        signal.signal(signal.SIGTERM, kept[4])
        for name in set(sys.modules) - kept[3]:  # of that folder: another has its own
            if folder and str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
