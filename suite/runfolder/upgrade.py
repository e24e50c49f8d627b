"""Upgrades records of older versions to the current one; there is a function for each version.

Version 1 recorded how many seconds each device was busy in a step (``compute_s``), but not when,
and its events had no names. Figures that need either stay empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from suite.contract.case import SCHEMA_VERSION
from suite.contract.errors import UsageError

Record = dict[str, Any]
COLLECTIVES = {"all_reduce", "all_gather", "reduce_scatter"}
# A field that early releases did not write. It has no default that would mean "unknown".
EMPTY: Record = {"warmup_seconds": [0.0]}
# For each version, the columns of a probed launch that its records cannot give.
UNKNOWN: dict[int, tuple[str, ...]] = {
    1: ("t_comm_exposed_s", "bubble", "bubble_ideal", "clocked_step_s"),
}
LEDGER_1 = {"threads": "threads_per_device", "intra_op_threads": "threads_per_device",
            "mkldnn": "onednn"}
SWITCHES = {"True": "on", "False": "off"}


def check_version(version: Any, what: str) -> int:
    """Returns a schema version as a number.

    Args:
        version: The version that a file names.
        what: The file, for the error message.

    Raises:
        UsageError: If this release does not know the version.
    """
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        expected = f"schema version 1 to {SCHEMA_VERSION}"
        raise UsageError(what, version, expected, "use the release that wrote it, or a newer one")
    return version


def upgrade(records: list[Record], version: int) -> list[Record]:
    """Converts the records of one launch, of all its ranks, to the current version."""
    for number in range(version, SCHEMA_VERSION):
        records = STEPS[number](records)
    return [EMPTY | record for record in records]


def _from_1(records: list[Record]) -> list[Record]:
    if not any("compute_s" in trace for record in records for trace in record.get("traces", ())):
        return [_named(record) for record in records]
    together = _listed_together(records)
    return [
        _named(record) | {"traces": [
            _trace(trace, seconds, rank, together)
            for trace, seconds in zip(record["traces"], record["timed_step_seconds"], strict=True)
        ]}
        for rank, record in enumerate(records)
    ]


def _named(record: Record) -> Record:
    """Renames ledger entries to the names that all adapters share now."""
    ledger: dict[str, str] = {}
    for name, value in record.get("ledger", {}).items():
        now = LEDGER_1.get(name, name)
        ledger[now] = SWITCHES.get(value, value) if now in ("tf32", "onednn") else value
    return record | {"ledger": ledger}


def _listed_together(records: list[Record]) -> bool:
    """Returns whether the k-th events of all devices belong to one communication.

    They do if all are collectives and every device has equally many.
    """
    for step in zip(*(record["traces"] for record in records), strict=False):
        counts: dict[tuple[int, int], int] = {}
        for rank, trace in enumerate(step):
            for event in trace["events"]:
                if event["kind"] not in COLLECTIVES:
                    return False
                place = (rank, event["device"])
                counts[place] = counts.get(place, 0) + 1
        if len(set(counts.values())) > 1:
            return False
    return True


def _trace(trace: Record, seconds: float, rank: int, together: bool) -> Record:
    """Builds a trace whose clock has two points: it holds how long a device was busy, but not when.

    Events are numbered in their order, because version 1 gave them no names.
    """
    seen: dict[int, int] = {}
    events = []
    for event in trace["events"]:
        number = seen[event["device"]] = seen.get(event["device"], -1) + 1
        key = str(number) if together else f"{rank}/{event['device']}/{number}"
        role = "recv" if event["kind"] == "send_recv" else "member"
        events.append(event | {"key": key, "role": role})
    busy = [[[0.0, 0.0], [seconds, seconds_busy]] for seconds_busy in trace["compute_s"]]
    return {"events": events, "busy": busy, "missing": trace["missing"], "seconds": seconds}


def unknown_columns(records: list[Record], version: int) -> set[str]:
    """Names the columns that stay empty because records of a version cannot give them."""
    names = {name for number in range(version, SCHEMA_VERSION) for name in UNKNOWN[number]}
    if version == 1 and not _listed_together(records):
        names |= {"t_comm_wait_s", "t_comm_transfer_s"}
    return names


STEPS: dict[int, Callable[[list[Record]], list[Record]]] = {1: _from_1}
