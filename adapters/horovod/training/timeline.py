"""Reads Horovod's own timeline of a step: what its background thread did after fusing tensors."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from suite.contract.adapter import CommEvent
from suite.contract.records import CARRIED, HANDLED, Stage

# The ranks join first for everything that is timed, again for the timeline, and again without it.
JOINS, SPARE_PORTS = 3, "SUITE_SPARE_RENDEZVOUS_PORTS"
# Starting and stopping take effect only in the next cycles of the background thread.
SETTLE_SECONDS = 0.05
KINDS = {"ALLREDUCE": "all_reduce", "BROADCAST": "broadcast", "ALLGATHER": "all_gather"}
ACTIVITY = re.compile(r"(GLOO|NCCL|MPI)_(ALLREDUCE|BCAST|BROADCAST|ALLGATHER)")
EPOCH = "start_time_since_epoch_in_micros"
DTYPE_BYTES = {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Part:
    """What the background thread did for one tensor, in seconds.

    Attributes:
        kind: Kind of communication.
        size: Bytes of the tensor.
        handled: From taking the tensor up, when all ranks were found ready, until it was done with
            it.
        carried: Within that, the collective of the transport. What lies around it are copies into
            and out of buffers.
    """

    kind: str
    size: int
    handled: tuple[float, float]
    carried: tuple[float, float]


def join_again(hvd: Any, timeline: bool, meet: Callable[[], object]) -> None:
    """Makes the same ranks leave their group and join a new one; every rank must call it.

    From joining to leaving, a thread of the timeline yields in a loop, even while nothing is
    recorded. It would run beside the clean steps of rank 0, so the group for the timeline is a
    separate one. The new group has no process sets except the global one.

    Args:
        hvd: ``horovod.torch`` or ``horovod.tensorflow``.
        timeline: Whether the new group can record a timeline.
        meet: Returns once every rank has called it.
    """
    meet()
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


def read_parts(text: str, clock_offset_s: float = 0.0) -> list[Part]:
    """Reads what the background thread of rank 0 did for each tensor, in the order of its work.

    Args:
        text: The content of the timeline's file.
        clock_offset_s: Is added to the epoch seconds of the file, to give those of another clock.
    """
    parts = _parts(_parse(text), clock_offset_s)
    return sorted(parts, key=lambda part: part.carried)


def fused_operations(parts: Sequence[Part]) -> list[CommEvent]:
    """Returns the operations of the background thread as events of rank 0, in seconds.

    Each tensor of a fused operation has a row of its own with the same activity. The thread runs
    one operation at a time, so activities that overlap belong to the same operation.

    Args:
        parts: What ``read_parts`` returned.
    """
    joined: list[tuple[str, float, float, int]] = []
    for part in parts:
        start, end = part.carried
        if joined and start <= joined[-1][2]:
            _, began, until, size = joined.pop()
            joined.append((part.kind, began, max(until, end), size + part.size))
        else:
            joined.append((part.kind, start, end, part.size))
    return [
        CommEvent(kind, size, start, end, key=f"fused#{number}")
        for number, (kind, start, end, size) in enumerate(joined)
    ]


def stages(parts: Sequence[Part]) -> list[Stage]:
    """Lists when the background thread had tensors in hand, and when its transport carried them.

    Args:
        parts: What ``read_parts`` returned.
    """
    return sorted(
        {(HANDLED, *part.handled) for part in parts} | {(CARRIED, *part.carried) for part in parts}
    )


def _parse(text: str) -> list[dict[str, Any]]:
    """Parses the file, which is a JSON array whose end may be missing."""
    body = text.strip().rstrip(",").removesuffix("]")
    return list(json.loads(f"{body}]")) if body else []


def _parts(events: list[dict[str, Any]], clock_offset_s: float) -> Iterator[Part]:
    """Yields each tensor's part in an operation, when the file says that it has ended."""
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
            span = _seconds(epoch, began, clock_offset_s), _seconds(epoch, event, clock_offset_s)
            if ACTIVITY.fullmatch(began["name"]):
                inner[event["pid"]] = span
            elif began["name"] in KINDS and event["pid"] in inner:
                size = _size(event.get("args", {}))
                yield Part(KINDS[began["name"]], size, span, inner.pop(event["pid"]))


def _seconds(epoch_us: float, event: dict[str, Any], clock_offset_s: float) -> float:
    return float((epoch_us + event["ts"]) * 1e-6 + clock_offset_s)


def _size(arguments: dict[str, str]) -> int:
    """Returns the bytes of a tensor such as ``{"dtype": "float32", "shape": "[10, 30]"}``."""
    numbers = [int(number) for number in re.findall(r"\d+", arguments.get("shape", ""))]
    return DTYPE_BYTES.get(arguments.get("dtype", ""), 0) * prod(numbers)
