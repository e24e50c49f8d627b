"""What a row's transfer time consists of: what the idle link takes, and what a step adds to it."""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.formats import seconds

LINK, SCHEDULING = "the link itself", "threads without a core"
HANDLING, REST = "the framework's own handling", "not told apart"


@dataclass(frozen=True)
class Transfer:
    """T_comm transfer of a step by cause, in seconds; None where nothing tells a part.

    Attributes:
        whole_s: All of it.
        link_s: What the idle link takes by Hockney's N·(a + alpha·B).
        scheduling_s: The row's ``t_comm_scheduling_s``.
        handling_s: The row's ``t_comm_handling_s``. Where both are known, threads wait for a core
            within the handling too.
    """

    whole_s: float
    link_s: float | None
    scheduling_s: float | None
    handling_s: float | None

    @property
    def factor(self) -> float | None:
        """How many times as long as on the idle link the transfer takes."""
        return self.whole_s / self.link_s if self.link_s else None

    def causes(self) -> list[tuple[str, float]]:
        """Lists (cause, seconds): the idle link's first, what is left over last."""
        known: list[tuple[str, float]] = []
        left = self.whole_s
        for name, value in ((LINK, self.link_s), (SCHEDULING, self.scheduling_s),
                            (HANDLING, self._handling())):
            if value is not None:
                part = min(value, left)
                known.append((name, part))
                left -= part
        return [*known, (REST, left)]

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
