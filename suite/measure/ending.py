"""What a run is called, and with which exit code it ends."""

from __future__ import annotations

import time

from suite.analysis.memory_frontier import FAILED
from suite.contract.row import Row


def exit_code(rows: list[Row]) -> int:
    """Returns 0 if all is ok or unsupported, 1 if a case failed, and 4 if a parity check failed."""
    if any(row.parity == "failed" for row in rows):
        return 4
    # A batch that does not fit is a result, but a probe that broke down is a failure.
    broken = any(probe.status == FAILED for row in rows for probe in row.frontier)
    return 0 if all(row.status in ("ok", "unsupported") for row in rows) and not broken else 1


def new_run_id(now: float | None = None) -> str:
    """Returns the name of a run, made from the time at which it starts, in UTC."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))


def state_after(broken: BaseException | None) -> str:
    """How a command's work ended: ``complete``, ``interrupted`` by the user, or ``failed``."""
    if isinstance(broken, KeyboardInterrupt):
        return "interrupted"
    return "failed" if broken else "complete"
