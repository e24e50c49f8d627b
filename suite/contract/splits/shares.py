"""Plans for devices of unequal speed: whose share of the work takes as long as the others'.

Speeds are relative: a device of speed 0.5 takes twice as long for the same work. No speeds mean
equal ones, and then every plan is the even one.
"""

from __future__ import annotations

from collections.abc import Sequence

from suite.contract.workloads.workload import Workload


def proportional_shares(total: int, speeds: Sequence[float]) -> list[int]:
    """Whole numbers that add up to ``total`` and make the largest share over speed the smallest.

    Everybody gets the whole part of the ideal share; each that is left goes where it is done
    soonest, which is the best of all plans for equal pieces of work (uniform machines: Pinedo,
    Scheduling, 5.1).
    """
    whole = sum(speeds)
    shares = [int(total * speed / whole) for speed in speeds]
    for _ in range(total - sum(shares)):
        soonest = min(range(len(shares)), key=lambda i: ((shares[i] + 1) / speeds[i], i))
        shares[soonest] += 1
    return shares


def unplannable(workload: Workload, strategy: str) -> str:
    """Why devices of unequal speed cannot share this work unevenly, or empty."""
    if strategy in ("single", "inter_layer"):
        return ""
    if strategy != "data":
        return f"shares of unequal size are planned for data and inter_layer, not for {strategy}"
    if workload.batch_statistics:
        return "batch normalisation over unequal shares is not the reference's over equal ones"
    return ""
