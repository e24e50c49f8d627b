"""Which cases of a run can be started at all, and which of them share cores or GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from suite.analysis.rows import CaseResult
from suite.measure.availability import unsupported_reason
from suite.measure.room import free_room, shortage


def admit(results: Iterable[CaseResult], python: Mapping[str, str], usable_cores: int) -> None:
    """Gives a status and a reason to every case that cannot be started here.

    Args:
        results: The cases of the run.
        python: Interpreters of frameworks that have an environment of their own.
        usable_cores: Cores of a host that can be busy at once.
    """
    room = free_room()
    for result in results:
        case = result.case
        if reason := unsupported_reason(case, python):
            result.status, result.reason = "unsupported", reason
        elif not result.launches and (reason := shortage(case, room)):
            result.status, result.reason = "refused", reason
        crowded = case.device == "cpu" and math.ceil(case.devices / case.hosts) > usable_cores
        result.oversubscribed = case.oversubscribe or crowded
