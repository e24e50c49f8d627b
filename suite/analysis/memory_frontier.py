"""The memory frontier: which global batches fit, from single probes to a row's columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from suite.contract.records import FrontierProbe

OK, OOM, TIMEOUT, FAILED = "ok", "oom", "timeout", "failed"


COLUMNS = [field.name for field in fields(FrontierProbe)]


def largest(probes: Sequence[FrontierProbe]) -> FrontierProbe | None:
    """Returns the probe of the largest batch that fits; None if none fits."""
    return max((p for p in probes if p.status == OK), key=lambda p: p.batch, default=None)


def smallest_failed(probes: Sequence[FrontierProbe]) -> FrontierProbe | None:
    """Returns the probe of the smallest batch that does not fit; None if all fit."""
    return min((p for p in probes if p.status != OK), key=lambda p: p.batch, default=None)


def frontier_columns(probes: Sequence[FrontierProbe]) -> dict[str, Any]:
    """Computes the columns of ``results.csv`` that the probes give, and ``frontier``, all of them.

    Args:
        probes: The probes of one case.

    Returns:
        Column to figure; empty without probes.
    """
    if not probes:
        return {}
    columns: dict[str, Any] = {
        "frontier": list(probes), "memory_limit_bytes": probes[0].limit_bytes,
    }
    best, failed = largest(probes), smallest_failed(probes)
    if best:
        columns |= {"max_batch": best.batch, "max_batch_memory_bytes": best.peak_memory_bytes}
        if best.step_time_s:
            columns["max_batch_throughput_samples_s"] = best.batch / best.step_time_s
    if failed:
        columns |= {"failed_batch": failed.batch,
                    "failed_batch_reason": f"{failed.status}: {failed.reason}"}
    return columns
