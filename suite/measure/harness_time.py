"""What the harness itself takes beside the launches, by what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINKS, REFERENCES = "sweep of the links", "references and proofs of formats"
CALIBRATION = "calibration of the machine"
JUDGING, SAVING = "judging a launch", "rows, tables and page"


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

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Counts what happens within it under ``name``."""
        began = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - began
