"""Faults that ``selftest`` plants in a rank, and what has to become of each.

The harness names a fault, the rank plants it: both read this table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

# Module that a rank runs instead of ``suite.ranks.train``, and the variable that says which fault:
# a launch has neither unless ``selftest`` asks for both.
WORKER, VARIABLE = "suite.ranks.faulty", "SUITE_PLANTED_FAULT"
# The rank writes here when its fault begins (``time.monotonic``, one clock for a host).
MOMENT = "fault.json"
# Where a fault strikes, and what a reason calls the phase that the rank is then in.
PHASES: Mapping[str, str] = {
    "import": "import",
    "rendezvous": "rendezvous",
    "warm-up": "warm-up",
    "measured": "clean steps",
    "collective": "clean steps",
    "teardown": "teardown",
    "record": "record",
}
BUT_COLLECTIVE = tuple(phase for phase in PHASES if phase != "collective")


@dataclass(frozen=True)
class Kind:
    """What a fault does and how its launch has to end.

    Attributes:
        says: What the fault does, in words for a reader.
        phases: Where it can strike.
        statuses: What the row may say; one of them.
        dies: Whether the rank is gone at once, which has to be noticed while time is left.
        hangs: Whether the launch can only end at its timeout, with each rank's Python stack.
    """

    says: str
    phases: tuple[str, ...]
    statuses: tuple[str, ...] = ("failed",)
    dies: bool = False
    hangs: bool = False


KINDS: Mapping[str, Kind] = {
    "raise": Kind("raises an exception", BUT_COLLECTIVE, dies=True),
    "exit": Kind("ends with code 0 before its work is done", tuple(PHASES), dies=True),
    "kill": Kind("is ended by SIGKILL", tuple(PHASES), dies=True),
    # A framework that listens for the others' heartbeats may notice first.
    "stop": Kind("is stopped by SIGSTOP", tuple(PHASES), ("timeout", "failed"), hangs=True),
    "hang": Kind("computes for ever", BUT_COLLECTIVE, ("timeout",), hangs=True),
    "deadlock": Kind("never comes to a collective that the others wait in", ("collective",),
                     ("timeout",), hangs=True),
    "memory": Kind("runs out of memory", BUT_COLLECTIVE, ("oom",), dies=True),
    "nan": Kind("trains on NaN", ("warm-up", "measured"), ("refused", "failed")),
    "truncated": Kind("leaves half a record", ("record",), dies=True),
    "version": Kind("leaves a record of another version", ("record",)),
    "flood": Kind("writes to its log without end", tuple(PHASES)),
    "grandchild": Kind("fails and leaves a process that ignores SIGTERM", BUT_COLLECTIVE,
                       dies=True),
}


@dataclass(frozen=True)
class Fault:
    """One fault: what, where, and in which rank."""

    kind: str
    phase: str
    rank: int = 0

    @property
    def expected(self) -> Kind:
        """What has to become of the launch."""
        return KINDS[self.kind]

    def statuses(self, probed: bool) -> tuple[str, ...]:
        """Returns the statuses that the row may have.

        Args:
            probed: Whether the case has passes with probes. Memory that runs out after them costs
                only what they measured: the clean steps stay a row.
        """
        kept = probed and self.kind == "memory" and self.phase in ("teardown", "record")
        return self.expected.statuses + (("ok",) if kept else ())

    def written(self) -> str:
        """As ``VARIABLE`` has it."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Fault:
        """Reads a fault from the text that ``written`` made."""
        return cls(**json.loads(text))


def every_fault() -> Iterator[Fault]:
    """Returns each kind of fault in each phase where it can strike, planted in rank 0."""
    for kind, traits in KINDS.items():
        for phase in traits.phases:
            yield Fault(kind, phase)
