"""Divides a device's step into parts that add up to the step time."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from suite.contract.row import Row


@dataclass(frozen=True)
class Breakdown:
    """Parts of a clean step on the average device, in seconds; their sum is ``step_time_s``.

    Attributes:
        compute_s: avg T_i.
        dispatch_s: Busy time outside the framework's operations. Rows of older releases have it in
            T_i, so there it is 0.
        transfer_s: Exposed T_comm, as far as it is transfer. Exposed T_comm is divided in the
            proportion of T_comm transfer to T_comm wait, because no pass tells what the hidden
            part was.
        waiting_s: Exposed T_comm, as far as it is waiting.
        rest_s: What remains: the framework between operations and, in a pipeline, the bubble that
            is not spent in a posted receive.
    """

    compute_s: float
    dispatch_s: float
    transfer_s: float
    waiting_s: float
    rest_s: float

    def shares(self) -> tuple[float, ...]:
        """Returns the parts as shares of the step, in the order of the attributes."""
        total = sum(astuple(self))
        return tuple(part / total for part in astuple(self))


def breakdown(row: Row) -> Breakdown | None:
    """Divides the step of a row into parts.

    T_i and exposed T_comm are measured in steps with probes (``clocked_step_s``), so their shares
    of that step are applied to the clean one. Medians of parts need not add up: where compute and
    exposed communication exceed the step in which they were measured, they are scaled to fill it.

    Returns:
        The parts; None if a column that they need was not measured.
    """
    compute, length = row.compute_avg_s, row.clocked_step_s
    if row.status != "ok" or compute is None or not length:
        return None
    parts = _exposed_parts(row)
    if parts is None:
        return None
    dispatch = max(0.0, (row.busy_avg_s or 0.0) - compute)
    transfer, waiting = parts
    measured = compute + dispatch + transfer + waiting
    scale = row.step_seconds / max(length, measured)
    rest = max(0.0, row.step_seconds - scale * measured)
    return Breakdown(compute * scale, dispatch * scale, transfer * scale, waiting * scale, rest)


def _exposed_parts(row: Row) -> tuple[float, float] | None:
    """Returns exposed transfer and exposed wait in seconds; zero on a single device."""
    if row.devices == 1:
        return 0.0, 0.0
    exposed = row.t_comm_exposed_s
    wait, transfer = row.t_comm_wait_s, row.t_comm_transfer_s
    if exposed is None or wait is None or transfer is None:
        return None
    waiting = exposed * wait / (wait + transfer) if wait + transfer else 0.0
    return exposed - waiting, waiting
