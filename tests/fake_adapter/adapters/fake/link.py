"""A link whose calls take a + alpha·B by its own clock; the last rank comes late to each call."""

from __future__ import annotations

import os
import time

from suite.contract.case import Case, Rank
from suite.contract.sweep import Call

LATENCY_S, ALPHA_S_PER_BYTE, LATE_S = 1e-4, 2e-9, 0.05


def open_link(case: Case, rank: Rank) -> FakeLink:
    return FakeLink(rank)


class FakeLink:
    backend, transport = "fake", "paper"

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.now = 0.0

    def participants(self, kind: str) -> int:
        return 2 if kind == "send_recv" else self.rank.processes

    def barrier(self) -> None:
        self.now += 1.0

    def agree(self, ready: bool) -> bool:
        return ready

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        fault = os.environ.get("FAKE_FAULT", "")
        if fault == "link" and self.rank.index == 1:
            raise ValueError("planted: no link")
        if fault == "hang":
            time.sleep(1000)
        late = LATE_S * self.rank.index

        def call() -> list[tuple[int, float, float]]:
            end = self.now + LATE_S * (self.rank.processes - 1)
            end += LATENCY_S + ALPHA_S_PER_BYTE * payload_bytes
            return [(0, self.now + late, end)]

        return call

    def close(self) -> None:
        return None
