"""What the harness itself takes beside the launches, by what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINKS, REFERENCES = "sweep of the links", "references and proofs of formats"
CALIBRATION, IMPORTS = "calibration of the machine", "imports of what is forked"
JUDGING, SAVING = "judging a launch", "rows, tables and page"
# Tables and page are written after each launch while that takes little: at most 2 s and 3 % of the
# run. Of thousands of cases it takes seconds each time. The launches themselves are always stored.
SAVING_AT_MOST = 2.0, 0.03


class HarnessTime:
    """Adds up seconds by name, of earlier sittings too.

    Args:
        seconds: What is known already, by name; it is added to in place.
        clock: Seconds; tests replace it.
    """

    def __init__(
        self, seconds: dict[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds, self.clock = seconds, clock
        self.began, self.before = clock(), dict(seconds)

    def affordable(self, name: str, free_s: float, share: float) -> bool:
        """Tells whether ``name`` has taken little so far, in this sitting.

        Args:
            name: What it is.
            free_s: Seconds that it may take in any case.
            share: Of the sitting, what it may take beyond that.
        """
        taken = self.seconds.get(name, 0.0) - self.before.get(name, 0.0)
        return taken <= free_s + share * (self.clock() - self.began)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Counts what happens within it under ``name``."""
        began = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - began
