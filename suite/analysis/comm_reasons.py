"""Where a row's transfer goes: the idle link's time, and what a step adds to it, by cause."""

from __future__ import annotations

from dataclasses import dataclass

from suite.contract.formats import percent, seconds

# From this factor on between a step's transfer and the idle link's, the row says so.
APART_FROM = 1.25


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
        for name, value in (("the link itself", self.link_s),
                            ("threads without a core", self.scheduling_s),
                            ("the framework's own handling", self._handling())):
            if value is not None:
                part = min(value, left)
                known.append((name, part))
                left -= part
        return [*known, ("not told apart", left)]

    def _handling(self) -> float | None:
        if self.handling_s is None:
            return None
        return max(0.0, self.handling_s - (self.scheduling_s or 0.0))

    def main_cause(self) -> tuple[str, float]:
        """The cause beside the link that takes most, and its seconds."""
        return max((one for one in self.causes() if one[0] != "the link itself"),
                   key=lambda one: one[1])

    def text(self) -> str:
        """For a reader: every cause that takes a hundredth of the whole, with its share."""
        return ", ".join(
            f"{name} {seconds(value)} ({percent(value / self.whole_s)})"
            for name, value in self.causes() if value >= 0.01 * self.whole_s
        )
