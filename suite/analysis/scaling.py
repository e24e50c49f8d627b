"""Which part of a step does not get shorter with more devices, as one figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from suite.contract.row import Row


@dataclass(frozen=True)
class SerialShare:
    """The share of a step that more devices do not shorten.

    Attributes:
        share: The share f, from 0 to 1.
        low: The share that the upper ends of the speedups' intervals give; None if a speedup has
            no interval.
        high: The share that the lower ends give; None if a speedup has no interval.
    """

    share: float
    low: float | None
    high: float | None

    def speedup(self, devices: float) -> float:
        """Returns Amdahl's bound of the speedup on ``devices`` devices, 1 / (f + (1 - f) / n)."""
        return 1 / (self.share + (1 - self.share) / devices)


def serial_share(rows: Sequence[Row]) -> SerialShare | None:
    """Fits the serial share of one case on several numbers of devices.

    Amdahl (1967) has 1/S = f + (1 - f)/n, so 1/S - 1/n = f (1 - 1/n), which is fitted by least
    squares through the origin. For one number of devices this is the e of Karp and Flatt (1990).

    Args:
        rows: The case on several numbers of devices.

    Returns:
        The share; None if no row on two or more devices has a speedup.
    """
    usable = [row for row in rows if row.devices > 1 and row.speedup]
    if not usable:
        return None
    ends = [
        None if any(math.isnan(row.value(name) or math.nan) for row in usable)
        else _fit((row.devices, row.value(name)) for row in usable)
        for name in ("speedup_ci_high", "speedup_ci_low")
    ]
    low, high = ends if None not in ends else (None, None)
    return SerialShare(_fit((row.devices, row.value("speedup")) for row in usable), low, high)


def _fit(points: Iterable[tuple[int, float]]) -> float:
    """Fits f and keeps it between 0 and 1: a speedup beyond linear shows no serial share."""
    pairs = [(1 / speedup - 1 / n, 1 - 1 / n) for n, speedup in points]
    slope = sum(y * x for y, x in pairs) / sum(x * x for _, x in pairs)
    return min(1.0, max(0.0, slope))
