"""Reads Horovod's own timeline of a step: what its background thread did after fusing tensors."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from suite.contract.adapter import CommEvent

# The ranks join first for everything that is timed, again for the timeline, and again without it.
JOINS, SPARE_PORTS = 3, "SUITE_SPARE_RENDEZVOUS_PORTS"
# Starting and stopping take effect only in the next cycles of the background thread.
SETTLE_SECONDS = 0.05
KINDS = {"ALLREDUCE": "all_reduce", "BROADCAST": "broadcast", "ALLGATHER": "all_gather"}
ACTIVITY = re.compile(r"(GLOO|NCCL|MPI)_(ALLREDUCE|BCAST|BROADCAST|ALLGATHER)")
EPOCH = "start_time_since_epoch_in_micros"
DTYPE_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2}


def join_again(hvd: Any, timeline: bool) -> None:
    """Makes the same ranks leave their group and join a new one; every rank must call it.

    From joining to leaving, a thread of the timeline yields in a loop, even while nothing is
    recorded. It would run beside the clean steps of rank 0, so the group for the timeline is a
    separate one. The new group has no process sets except the global one.

    Args:
        Hvd: ``horovod.torch`` or ``horovod.tensorflow``.
        timeline: Whether the new group can record a timeline.
    """
    hvd.barrier()
    hvd.shutdown()
    os.environ["HOROVOD_GLOO_RENDEZVOUS_PORT"], _, spare = os.environ[SPARE_PORTS].partition(",")
    os.environ[SPARE_PORTS] = spare
    if timeline:
        os.environ["HOROVOD_TIMELINE"] = "DYNAMIC"  # the recording is started later
    else:
        del os.environ["HOROVOD_TIMELINE"]
    hvd.init()


@contextmanager
def recorded(hvd: Any, path: Path) -> Iterator[None]:
    """Records a timeline to ``path`` on rank 0 while the block runs.

    Every rank must call it, in a group that was joined with a timeline.
    """
    hvd.start_timeline(str(path))
    time.sleep(SETTLE_SECONDS)
    try:
        yield
    finally:
        time.sleep(SETTLE_SECONDS)
        hvd.stop_timeline()
        time.sleep(SETTLE_SECONDS)


def fused_operations(text: str) -> list[CommEvent]:
    """Returns the operations of the background thread as events of rank 0, in epoch seconds.

    Each tensor of a fused operation has a row of its own with the same activity. The thread runs
    one operation at a time, so activities that overlap belong to the same operation.

    Args:
        Text: The content of the timeline's file.
    """
    spans = sorted(_spans(_parse(text)), key=lambda span: span[1])
    joined: list[tuple[str, float, float, int]] = []
    for kind, start, end, size in spans:
        if joined and start <= joined[-1][2]:
            before = joined.pop()
            joined.append((kind, before[1], max(before[2], end), before[3] + size))
        else:
            joined.append((kind, start, end, size))
    return [
        CommEvent(kind, size, start, end, key=f"fused#{number}")
        for number, (kind, start, end, size) in enumerate(joined)
    ]


def _parse(text: str) -> list[dict[str, Any]]:
    """Parses the file, which is a JSON array whose end may be missing."""
    body = text.strip().rstrip(",").removesuffix("]")
    return list(json.loads(f"{body}]")) if body else []


def _spans(events: list[dict[str, Any]]) -> Iterator[tuple[str, float, float, int]]:
    """Yields kind, start, end and tensor bytes of each tensor's part in an operation."""
    arguments = [event.get("args", {}) for event in events]
    epoch = next((a[EPOCH] for a in arguments if EPOCH in a), 0)
    stacks: dict[int, list[dict[str, Any]]] = {}
    inner: dict[int, tuple[float, float]] = {}
    for event in events:
        stack = stacks.setdefault(event["pid"], [])
        if event["ph"] == "B":
            stack.append(event)
        elif event["ph"] == "E" and stack:
            began = stack.pop()
            if ACTIVITY.fullmatch(began["name"]):
                inner[event["pid"]] = began["ts"], event["ts"]
            elif began["name"] in KINDS and event["pid"] in inner:
                start, end = ((epoch + ts) * 1e-6 for ts in inner.pop(event["pid"]))
                yield KINDS[began["name"]], start, end, _size(event.get("args", {}))


def _size(arguments: dict[str, str]) -> int:
    """Returns the bytes of a tensor such as ``{"dtype": "float32", "shape": "[10, 30]"}``."""
    numbers = [int(number) for number in re.findall(r"\d+", arguments.get("shape", ""))]
    return DTYPE_BYTES.get(arguments.get("dtype", ""), 0) * prod(numbers)
