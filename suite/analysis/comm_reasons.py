"""What a row's transfer time consists of: what the idle link takes, and what a step adds to it."""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.formats import seconds

LINK, SCHEDULING = "the link itself", "threads without a core"
NEGOTIATION, COPIES = "queueing and negotiation", "copies into and out of buffers"
HANDLING, TURNS = "the framework's own handling", "cores waited for in turns (at most)"
WAKING = "waking threads up, as an idle call does (at most)"
REST = "not told apart"


@dataclass(frozen=True)
class Transfer:
    """T_comm transfer of a step by cause, in seconds; None where nothing tells a part.

    Attributes:
        whole_s: All of it.
        link_s: What the idle link takes by Hockney's N·(a + alpha·B).
        scheduling_s: The row's ``t_comm_scheduling_s``.
        handling_s: The row's ``t_comm_handling_s``. Threads wait for a core within it too.
        bytes_s: The part alpha·B·N of ``link_s``.
        negotiation_s: The row's ``t_comm_negotiation_s``, a part of ``handling_s``.
        copies_s: The row's ``t_comm_copy_s``; a part of ``handling_s`` where that is known.
        turns_s: The row's ``t_comm_turns_s``, an upper bound: it is told after what is measured.
        waking_s: What usual calls on the idle link take beyond the fastest ones. A thread that
            waits for a core may be in it too, so it is an upper bound as well, told last.
    """

    whole_s: float
    link_s: float | None
    scheduling_s: float | None
    handling_s: float | None
    bytes_s: float | None = None
    negotiation_s: float | None = None
    copies_s: float | None = None
    turns_s: float | None = None
    waking_s: float | None = None

    @property
    def factor(self) -> float | None:
        """How many times as long as on the idle link the transfer takes."""
        return self.whole_s / self.link_s if self.link_s else None

    def causes(self) -> list[tuple[str, float]]:
        """Lists (cause, seconds): the idle link's first, what is left over last."""
        known: list[tuple[str, float]] = []
        left = self.whole_s
        for name, value in [*self._told(), (TURNS, self.turns_s), (WAKING, self.waking_s)]:
            if value is not None:
                part = min(value, left)
                known.append((name, part))
                left -= part
        return [*known, (REST, left)]

    def _told(self) -> list[tuple[str, float | None]]:
        """Lists the parts that are known, which need not add up.

        Where the library's timeline tells negotiation apart, the idle link's latency is left out:
        an idle call is negotiated as well. How much of the waiting for cores falls into each part
        is not known, so it is taken to be spread evenly over the whole.
        """
        if self.negotiation_s is None:
            return [(LINK, self.link_s), (SCHEDULING, self.scheduling_s),
                    (COPIES, self.copies_s), (HANDLING, self._handling())]
        waiting = min(self.whole_s, self.scheduling_s or 0.0)
        running = 1.0 - waiting / self.whole_s
        copies = self.copies_s or 0.0
        other = (self.handling_s or 0.0) - self.negotiation_s - copies
        return [
            (LINK, self.bytes_s), (SCHEDULING, self.scheduling_s),
            (NEGOTIATION, running * self.negotiation_s), (COPIES, running * copies),
            (HANDLING, running * max(0.0, other)),
        ]

    def _handling(self) -> float | None:
        if self.handling_s is None:
            return None
        return max(0.0, self.handling_s - (self.scheduling_s or 0.0))

    def text(self) -> str:
        """Writes every cause that makes up at least 1 % of the whole, with its share."""
        return ", ".join(
            f"{name} {seconds(value)} ({100 * value / self.whole_s:.0f} %)"
            for name, value in self.causes() if value >= 0.01 * self.whole_s
        )
