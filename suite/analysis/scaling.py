"""Which part of a step does not get shorter with more devices, as one figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from suite.contract.case import WEAK
from suite.contract.row import Row

AMDAHL, GUSTAFSON = "Amdahl", "Gustafson"


@dataclass(frozen=True)
class SerialShare:
    """The share of a step that more devices do not shorten.

    Attributes:
        share: The share f, from 0 to 1.
        low: The share that the upper ends of the speedups' intervals give; None if a speedup has
            no interval.
        high: The share that the lower ends give; None if a speedup has no interval.
        law: Whose law it was fitted to: Amdahl's for a step whose batch is kept, where f is a
            share of the step on one device; Gustafson's for a batch that grows with the devices,
            where f is a share of the step on all of them.
    """

    share: float
    low: float | None
    high: float | None
    law: str = AMDAHL

    def speedup(self, devices: float) -> float:
        """Returns the law's bound of the speedup on ``devices`` devices."""
        return BOUNDS[self.law](self.share, devices)


# Amdahl (1967) and Gustafson (1988): speedup by serial share and number of devices.
BOUNDS: dict[str, Callable[[float, float], float]] = {
    AMDAHL: lambda share, devices: 1 / (share + (1 - share) / devices),
    GUSTAFSON: lambda share, devices: devices - share * (devices - 1),
}


def serial_share(rows: Sequence[Row]) -> SerialShare | None:
    """Fits the serial share of one case on several numbers of devices.

    Amdahl (1967) has 1/S = f + (1 - f)/n, so 1/S - 1/n = f (1 - 1/n). For one number of devices
    this is the e of Karp and Flatt (1990). Gustafson (1988) has S = n - f (n - 1) for work that
    grows with the devices, so n - S = f (n - 1). Either is fitted by least squares through the
    origin.

    Args:
        rows: The case on several numbers of devices, all with the same scaling.

    Returns:
        The share; None if no row on two or more devices has a speedup.
    """
    usable = [row for row in rows if row.devices > 1 and row.speedup]
    if not usable:
        return None
    law = GUSTAFSON if usable[0].scaling == WEAK else AMDAHL
    ends = [
        None if any(math.isnan(row.value(name) or math.nan) for row in usable)
        else _fit(law, [(row.devices, row.value(name)) for row in usable])
        for name in ("speedup_ci_high", "speedup_ci_low")
    ]
    low, high = ends if None not in ends else (None, None)
    share = _fit(law, [(row.devices, row.value("speedup")) for row in usable])
    return SerialShare(share, low, high, law)


def _fit(law: str, points: Sequence[tuple[int, float]]) -> float:
    """Fits f and keeps it between 0 and 1: a speedup beyond linear shows no serial share."""
    pairs = [(n - speedup, n - 1) if law == GUSTAFSON else (1 / speedup - 1 / n, 1 - 1 / n)
             for n, speedup in points]
    slope = sum(y * x for y, x in pairs) / sum(x * x for _, x in pairs)
    return min(1.0, max(0.0, slope))
