"""Ending in order although the user asks twice."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Holds signals that ask the harness to end back until the block is done.

    Ending a group and saving a run take seconds. A second Ctrl-C in them would leave processes
    behind or lose what was measured, so it takes effect afterwards, as ``KeyboardInterrupt``.
    Signals come to the main thread alone; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    # A signal that is ignored stays so: a shell's background job ignores SIGINT.
    before = {number: signal.getsignal(number) for number in ASKING}
    kept = {number: call for number, call in before.items() if call != signal.SIG_IGN}
    for number in kept:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, call in kept.items():
            signal.signal(number, call)
    if asked:
        raise KeyboardInterrupt
