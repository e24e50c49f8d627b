"""T_comm, B, N, waiting, transfer and load balance from the raw traces of a launch."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.analysis.statistics import union_length

Record = dict[str, Any]
COLLECTIVES = {"all_reduce", "all_gather", "reduce_scatter"}


def communication(records: list[Record]) -> dict[str, float]:
    """Medians over the timed steps of one launch, seconds and bytes; {} if untraced."""
    steps = _steps(records)
    if not steps or not any(events for events in steps[0]):
        return {}
    found = [_one_step(events_by_rank) for events_by_rank in steps]
    names = set.intersection(*(set(step) for step in found))
    return {name: float(np.median([step[name] for step in found])) for name in sorted(names)}


def _steps(records: list[Record]) -> list[list[list[dict[str, Any]]]]:
    """[step][device] -> events in order; a process may drive several devices."""
    if not records or not all(record["traces"] for record in records):
        return []
    count = min(len(record["traces"]) for record in records)
    return [
        [part for record in records for part in _by_device(record["traces"][step]["events"])]
        for step in range(count)
    ]


def _by_device(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    devices = sorted({event.get("device", 0) for event in events}) or [0]
    return [[event for event in events if event.get("device", 0) == d] for d in devices]


def _one_step(ranks: list[list[dict[str, Any]]]) -> dict[str, float]:
    spans = [[(event["start_s"], event["end_s"]) for event in events] for events in ranks]
    kinds = {event["kind"] for events in ranks for event in events}
    collective = kinds <= COLLECTIVES and len({len(events) for events in ranks}) == 1
    # A collective is one communication of the group; a hop is one of its receiver alone.
    counted = ranks[0] if collective else [event for events in ranks for event in events]
    count = len(counted)
    payload = sum(event["payload_bytes"] for event in counted)
    result = {
        "t_comm_s": float(np.mean([union_length(span) for span in spans])),
        "comm_count": float(count),
        "comm_bytes": payload / count,
    }
    if payload:
        result["alpha_s_per_byte"] = result["t_comm_s"] / payload
    if collective:
        result |= _wait_and_transfer(spans)
    return result


def _wait_and_transfer(spans: list[list[tuple[float, float]]]) -> dict[str, float]:
    """Per collective: wait until the last rank's arrival; transfer max(end) - max(start).

    Events are listed in an order that is the same everywhere: the k-th of each belong together.
    """
    waits: list[list[tuple[float, float]]] = [[] for _ in spans]
    transfers = []
    for together in zip(*spans, strict=True):
        last_start = max(start for start, _ in together)
        transfers.append((last_start, max(end for _, end in together)))
        for rank, (start, _) in enumerate(together):
            waits[rank].append((start, last_start))
    return {
        "t_comm_wait_s": float(np.mean([union_length(wait) for wait in waits])),
        "t_comm_transfer_s": union_length(transfers),
    }


def load_balance(records: list[Record]) -> dict[str, float]:
    """T_i is the median busy compute time of a device; L = max(T_i) / avg(T_i)."""
    busy: list[float] = []
    for record in records:
        per_step = [trace["compute_s"] for trace in record["traces"] if trace["compute_s"]]
        if per_step:
            busy += [float(value) for value in np.median(np.asarray(per_step), axis=0)]
    if not busy:
        return {}
    average = float(np.mean(busy))
    return {
        "compute_max_s": max(busy),
        "compute_avg_s": average,
        "load_balance": max(busy) / average,
    }


def missing_reason(records: list[Record]) -> str:
    """Why traces lack a figure, in the adapter's words."""
    reasons = {trace["missing"] for record in records for trace in record["traces"]}
    return "; ".join(sorted(reasons - {""}))
