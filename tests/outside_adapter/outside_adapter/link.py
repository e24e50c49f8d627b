"""A link whose calls take a + alpha·B by its own clock."""

from __future__ import annotations

from suite.contract.case import Case, Rank
from suite.contract.sweep import Call

LATENCY_S, ALPHA_S_PER_BYTE = 1e-6, 2e-8


def open_link(case: Case, rank: Rank) -> PaperLink:
    return PaperLink(case.devices)


class PaperLink:
    backend, transport = "paper", "air"

    def __init__(self, devices: int) -> None:
        self.devices, self.now = devices, 0.0

    def participants(self, kind: str) -> int:
        return 2 if kind == "broadcast" else self.devices

    def barrier(self) -> None:
        self.now += 1.0

    def agree(self, ready: bool) -> bool:
        return ready

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        def call() -> list[tuple[int, float, float]]:
            end = self.now + LATENCY_S + ALPHA_S_PER_BYTE * payload_bytes
            return [(device, self.now, end) for device in range(self.participants(kind))]

        return call

    def close(self) -> None:
        return None
