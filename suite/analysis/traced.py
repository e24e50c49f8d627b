"""Columns of a row that come from the passes with probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from suite.analysis.communication import (
    clocked_step_seconds,
    communication,
    compute_seconds,
    idle_share,
    load_balance,
    payloads,
)
from suite.analysis.statistics import median
from suite.analysis.transfers import Calls, handling_seconds, scheduling_seconds, transfers
from suite.contract.case import Case
from suite.contract.records import Launch
from suite.contract.splits.schedule import ideal_bubble
from suite.contract.splits.volumes import logical_communications


@dataclass(frozen=True)
class Reduced:
    """A probed launch: its columns, (steps, devices) busy compute seconds, payloads by kind.

    ``transfers`` has beside each payload the seconds that it took; {} of older releases.
    """

    columns: dict[str, float]
    busy: np.ndarray
    payloads: dict[str, list[int]] = field(default_factory=dict)
    transfers: Calls = field(default_factory=dict)


def reduce_launch(case: Case, records: Launch) -> Reduced | None:
    """None for a launch without probes."""
    if not all(record.traces for record in records):
        return None
    happened = payloads(records, "profiles") or payloads(records)
    return Reduced(
        _launch(case, records), compute_seconds(records), happened, transfers(records)
    )


def traced_columns(case: Case, probed: list[Reduced]) -> dict[str, Any]:
    """Medians over the launches that were probed; columns without a figure are absent."""
    if not probed:
        return {}
    names = set.intersection(*(set(one.columns) for one in probed))
    medians = {
        name: median([one.columns[name] for one in probed]) for name in sorted(names)
    }
    return medians | _logical(case) | _devices(case, probed)


def _launch(case: Case, records: Launch) -> dict[str, float]:
    found = communication(records) | load_balance(records)
    clean = _median_step(records, "step_seconds")
    for name, key in (("instrumentation_overhead", "timed_step_seconds"),
                      ("traced_overhead", "traced_step_seconds")):
        if all(getattr(record, key) for record in records):
            found[name] = _median_step(records, key) / clean - 1.0
    if case.devices > 1 and all(record.silent_step_seconds for record in records):
        found["t_comm_silent_check_s"] = clean - _median_step(records, "silent_step_seconds")
    for name, seconds in (("t_comm_scheduling_s", scheduling_seconds(records)),
                          ("t_comm_handling_s", handling_seconds(records))):
        if seconds is not None:
            found[name] = seconds
    dispatch = _dispatch(records)
    if dispatch is not None:
        found["dispatch_s"] = dispatch
    length, idle = clocked_step_seconds(records), idle_share(records)
    if length is not None:
        found["clocked_step_s"] = length
    if "inter_layer" in case.axes.names and idle is not None:
        ideal = ideal_bubble(case.variant, case.axes.size("inter_layer"), case.micro_batches)
        found |= {"bubble": idle, "bubble_ideal": ideal}
    return found


def _dispatch(records: Launch) -> float | None:
    """T_i less the framework's own operations, seconds, mean over devices; None without either."""
    operations = [
        median([trace.operations_s for trace in record.profiles])
        for record in records if record.profiles
    ]
    busy = compute_seconds(records)
    if not busy.size or len(operations) < len(records) or not all(operations):
        return None
    return max(0.0, float(np.median(busy, axis=0).mean() - np.mean(operations)))


def _median_step(records: Launch, key: str) -> float:
    """Median over steps of the slowest rank's wall time."""
    return float(np.median(slowest_rank(records, key)))


def slowest_rank(records: Launch, key: str) -> np.ndarray:
    """(steps,) the slowest rank's wall time of each step of a pass, seconds."""
    steps = np.asarray([getattr(record, key) for record in records], float)
    return np.asarray(steps.max(axis=0))


def _logical(case: Case) -> dict[str, float]:
    wanted = logical_communications(case)
    if not wanted:
        return {}
    total = sum(size for _, size in wanted)
    return {"comm_count_logical": float(len(wanted)), "comm_bytes_logical": total / len(wanted)}


def _devices(case: Case, probed: list[Reduced]) -> dict[str, Any]:
    """T_i of every device, seconds; of several the largest one's is named, by its place."""
    busy = [one.busy for one in probed if one.busy.size]
    if not busy:
        return {}
    each = np.median(np.concatenate(busy), axis=0)
    found: dict[str, Any] = {"device_compute_s": each.tolist()}
    if case.devices < 2:
        return found
    return found | {"slowest_device": case.axes.name(int(each.argmax()))}
