"""Plans for devices of unequal speed: shares of the work that all devices finish together.

Speeds are relative: a device of speed 0.5 takes twice as long for the same work. When no speeds are
given the devices count as equally fast, and every plan divides the work evenly.
"""

from __future__ import annotations

from collections.abc import Sequence

from suite.contract.workloads.workload import Workload


def proportional_shares(total: int, speeds: Sequence[float]) -> list[int]:
    """Divides equal pieces of work so that the slowest device finishes as early as possible.

    Every device gets its ideal share rounded down; each remaining piece goes to the device that
    would finish it soonest. For equal pieces of work no other plan finishes earlier (uniform
    machines: Pinedo, Scheduling, section 5.1).

    Args:
        total: Number of pieces, such as samples of a batch.
        speeds: Relative speed of each device, above 0.

    Returns:
        The number of pieces of each device; they add up to ``total``.
    """
    whole = sum(speeds)
    shares = [int(total * speed / whole) for speed in speeds]
    for _ in range(total - sum(shares)):
        soonest = min(range(len(shares)), key=lambda i: ((shares[i] + 1) / speeds[i], i))
        shares[soonest] += 1
    return shares


def unplannable(workload: Workload, strategy: str) -> str:
    """Says why a case cannot be planned by the speeds of its devices.

    Args:
        workload: The workload to train.
        strategy: Strategy name.

    Returns:
        The reason, or an empty text if unequal shares can be planned.
    """
    if strategy in ("single", "inter_layer"):
        return ""
    if strategy != "data":
        return f"shares of unequal size are planned for data and inter_layer, not for {strategy}"
    if workload.batch_statistics:
        return "batch normalisation over unequal shares is not the reference's over equal ones"
    return ""
