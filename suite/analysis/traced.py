"""The columns of a row that come from the passes with probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from suite.analysis.communication import communication, payloads
from suite.analysis.compute import (
    clocked_step_seconds,
    device_seconds,
    dispatch_seconds,
    idle_share,
    load_balance,
)
from suite.analysis.statistics import median
from suite.analysis.transfers import (
    Calls,
    handling_columns,
    scheduling_seconds,
    transfers,
    turns_seconds,
)
from suite.contract.case import Case
from suite.contract.records import Launch
from suite.contract.splits.schedule import ideal_bubble
from suite.contract.splits.volumes import logical_communications


@dataclass(frozen=True)
class ProbedLaunch:
    """What the probes of one launch gave.

    Attributes:
        columns: Column to figure.
        busy: (steps, devices) T_i in seconds; with dispatch in runs of older releases.
        payloads: Kind of communication to the payload bytes of each one.
        transfers: The same with the seconds that each took; empty in runs of older releases.
    """

    columns: dict[str, float]
    busy: np.ndarray
    payloads: dict[str, list[int]] = field(default_factory=dict)
    transfers: Calls = field(default_factory=dict)


def reduce_launch(case: Case, records: Launch) -> ProbedLaunch | None:
    """Reduces the traces of a launch to figures.

    Args:
        case: The case.
        records: The ranks' records.

    Returns:
        The figures; None for a launch without probes.
    """
    if not all(record.traces for record in records):
        return None
    happened = payloads(records, "profiles") or payloads(records)
    return ProbedLaunch(
        _launch_columns(case, records), device_seconds(records), happened, transfers(records)
    )


def traced_columns(case: Case, probed: list[ProbedLaunch]) -> dict[str, Any]:
    """Takes medians over the launches that were probed.

    Args:
        case: The case.
        probed: What the probes of each launch gave.

    Returns:
        Column to figure; columns without a figure are missing.
    """
    if not probed:
        return {}
    names = set.intersection(*(set(launch.columns) for launch in probed))
    medians = {
        name: median([launch.columns[name] for launch in probed]) for name in sorted(names)
    }
    return medians | _logical(case) | _devices(case, probed)


def _launch_columns(case: Case, records: Launch) -> dict[str, float]:
    columns = communication(records) | load_balance(records)
    columns["timed_steps"] = float(min(len(record.traces) for record in records))
    clean = _median_step(records, "step_seconds")
    for name, key in (("instrumentation_overhead", "timed_step_seconds"),
                      ("traced_overhead", "traced_step_seconds")):
        if all(getattr(record, key) for record in records):
            columns[name] = _median_step(records, key) / clean - 1.0
    if case.devices > 1 and all(record.silent_step_seconds for record in records):
        columns["t_comm_silent_check_s"] = clean - _median_step(records, "silent_step_seconds")
    columns |= handling_columns(records)
    if _in_one_process(case, records) and "t_comm_transfer_s" in columns:
        # No library carries a tensor from device to device: its threads hand it over.
        columns["t_comm_handling_s"] = columns["t_comm_transfer_s"]
    # A GPU's transfers need none of the cores, and it computes beside them.
    scheduling = scheduling_seconds(records) if case.device == "cpu" else None
    dispatch = dispatch_seconds(records)
    if scheduling is not None:
        columns["t_comm_scheduling_s"] = scheduling
        columns["t_comm_turns_s"] = turns_seconds(records) or 0.0
    if dispatch.size:
        columns["dispatch_s"] = float(dispatch.mean())
    length, idle = clocked_step_seconds(records), idle_share(records)
    if length is not None:
        columns["clocked_step_s"] = length
    if "inter_layer" in case.axes.names and idle is not None:
        ideal = ideal_bubble(case.variant, case.axes.size("inter_layer"), case.micro_batches)
        columns |= {"bubble": idle, "bubble_ideal": ideal}
    return columns


def _in_one_process(case: Case, records: Launch) -> bool:
    """Whether the devices are threads of one process, which share its memory."""
    return case.device == "cpu" and len(records) == 1 < case.devices


def _median_step(records: Launch, key: str) -> float:
    """Returns the median over steps of the slowest rank's wall time, in seconds."""
    return float(np.median(slowest_rank(records, key)))


def slowest_rank(records: Launch, key: str) -> np.ndarray:
    """Returns the slowest rank's wall time of each step of a pass in seconds, (steps,).

    Args:
        records: The ranks' records.
        key: The field of a record with the pass's wall times, such as ``step_seconds``.
    """
    steps = np.asarray([getattr(record, key) for record in records], float)
    return np.asarray(steps.max(axis=0))


def _logical(case: Case) -> dict[str, float]:
    wanted = logical_communications(case)
    if not wanted:
        return {}
    total = sum(size for _, size in wanted)
    return {"comm_count_logical": float(len(wanted)), "comm_bytes_logical": total / len(wanted)}


def _devices(case: Case, probed: list[ProbedLaunch]) -> dict[str, Any]:
    """Returns T_i of every device in seconds, and the name of the slowest if there are several."""
    busy = [launch.busy for launch in probed if launch.busy.size]
    if not busy:
        return {}
    ordered = np.sort(np.concatenate(busy), axis=0)
    each = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    columns: dict[str, Any] = {"device_compute_s": each.tolist()}
    if case.devices < 2:
        return columns
    return columns | {"slowest_device": case.axes.name(int(each.argmax()))}
