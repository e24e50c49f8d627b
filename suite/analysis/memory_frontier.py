"""The memory frontier: which global batches fit, from single probes to a row's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from suite.contract.records import FrontierProbe

OK, OOM, TIMEOUT, FAILED = "ok", "oom", "timeout", "failed"


COLUMNS = [one.name for one in fields(FrontierProbe)]


def largest(probes: Sequence[FrontierProbe]) -> FrontierProbe | None:
    """The largest batch that fits."""
    return max((p for p in probes if p.status == OK), key=lambda p: p.batch, default=None)


def smallest_failed(probes: Sequence[FrontierProbe]) -> FrontierProbe | None:
    """The smallest batch that does not fit."""
    return min((p for p in probes if p.status != OK), key=lambda p: p.batch, default=None)


def frontier_columns(probes: Sequence[FrontierProbe]) -> dict[str, Any]:
    """Of ``results.csv``; empty without probes. The probes themselves ride along."""
    if not probes:
        return {}
    found: dict[str, Any] = {"frontier": list(probes), "memory_limit_bytes": probes[0].limit_bytes}
    best, failed = largest(probes), smallest_failed(probes)
    if best:
        found |= {"max_batch": best.batch, "max_batch_memory_bytes": best.peak_memory_bytes}
        if best.step_time_s:
            found["max_batch_throughput_samples_s"] = best.batch / best.step_time_s
    if failed:
        found |= {"failed_batch": failed.batch,
                  "failed_batch_reason": f"{failed.status}: {failed.reason}"}
    return found
