"""Makes the standard streams of the process fit to be used, whatever it was started with."""

from __future__ import annotations

import io
import os
import sys


def open_closed() -> None:
    """Gives a process that was started without standard streams some that lead nowhere.

    A file that is opened later would otherwise get their numbers, and whatever a library or a child
    process prints would end up in it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False, encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False, encoding="utf-8")


def bend_output() -> None:
    """Makes a terminal that lacks a character show a replacement instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
