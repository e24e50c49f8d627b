"""Where a row's transfer goes: the idle link's time, and what a step adds to it, by cause."""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.formats import seconds

LINK, SCHEDULING = "the link itself", "threads without a core"
HANDLING, REST = "the framework's own handling", "not told apart"


@dataclass(frozen=True)
class Transfer:
    """Seconds of T_comm transfer in a step by cause; None where nothing tells it.

    ``link_s`` is Hockney's N·(a + alpha·B) of the idle link. ``scheduling_s`` and ``handling_s``
    are the row's columns; where both are known, waiting for a core happens inside handling too.
    """

    whole_s: float
    link_s: float | None
    scheduling_s: float | None
    handling_s: float | None

    @property
    def factor(self) -> float | None:
        """How many times the idle link's seconds a step takes."""
        return self.whole_s / self.link_s if self.link_s else None

    def causes(self) -> list[tuple[str, float]]:
        """(cause, seconds) of what is told, the idle link's first, what is left over last."""
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
        """For a reader: every cause that takes a hundredth of the whole, with its share."""
        return ", ".join(
            f"{name} {seconds(value)} ({100 * value / self.whole_s:.0f} %)"
            for name, value in self.causes() if value >= 0.01 * self.whole_s
        )
