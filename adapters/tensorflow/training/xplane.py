"""What the devices computed, read from TensorFlow's profiler (XPlane).

On CPU devices the host's plane has an event ``name:type`` per executed operation; a device's own
plane has its kernels on a GPU. Event times count from the profile's start, in picoseconds; that
start is epoch time, the clock of ``tf.timestamp``.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from suite.contract.adapter import Busy, CommEvent

HOST, GPU, ENVIRONMENT = "/host:CPU", "/device:GPU:", "Task Environment"
# The reduction inside MirroredStrategy gets this name scope in graphs with stamps.
REDUCTION_SCOPE = "stamped_reduction"
OPERATION = re.compile(r"([^\s:]+):(\w+)")
# Copies between devices, collectives, stamps, and host code, which no device computes.
NOT_COMPUTE = re.compile(
    r"_?(Host)?(Send|Recv)|Horovod\w*|Collective\w*|Nccl\w*|Timestamp|(Eager)?PyFunc(Stateless)?"
)
NOT_COMPUTE_KERNEL = re.compile(r"nccl|memcpy|memset", re.IGNORECASE)
LEAST_ATTRIBUTED = 0.95
COMMUNICATION_ROW = 1000


@dataclass(frozen=True)
class Operation:
    """One execution on a thread or stream; ``device`` is -1 where the graph does not tell."""

    name: str
    device: int
    row: int
    start_s: float
    end_s: float
    compute: bool


def node_devices(build: Callable[[], Any]) -> dict[str, int]:
    """Operation name -> logical device in the graphs that ``build`` makes TensorFlow optimise.

    The partitions name every operation that runs, those that the optimiser made included.
    """
    context.context().enable_run_metadata()
    try:
        build()
        metadata: config_pb2.RunMetadata = context.context().export_run_metadata()
    finally:
        context.context().disable_run_metadata()
    graphs = [part for graph in metadata.function_graphs for part in graph.partition_graphs]
    return {
        node.name: int(node.device.rsplit(":", 1)[-1])
        for graph in graphs for node in graph.node if node.device
    }


def record(step: Callable[[], Any]) -> xplane_pb2.XSpace:
    """Runs ``step`` under the profiler; host level 2 has the operations, not their internals."""
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, options)
        try:
            step()
        finally:
            tf.profiler.experimental.stop()
        (path,) = Path(folder).rglob("*.xplane.pb")
        return xplane_pb2.XSpace.FromString(path.read_bytes())


def operations(
    space: xplane_pb2.XSpace, devices: Mapping[str, int], kind: str = "cpu"
) -> list[Operation]:
    """Leaf operations of CPU devices, or kernels of ``cuda`` ones, seconds since the epoch.

    What the host does beside GPUs, such as waiting for them, is no work of theirs.
    """
    begin_ns = _profile_start_ns(space)
    found: list[Operation] = []
    for plane in space.planes:
        for number, line in enumerate(plane.lines):
            named = [
                (event, plane.event_metadata[event.metadata_id].name) for event in line.events
            ]
            origin_s = (begin_ns + line.timestamp_ns) / 1e9
            if plane.name == HOST and kind == "cpu":
                found += [_host(*pair, devices, number, origin_s) for pair in _leaves(named)]
            elif plane.name.startswith(GPU) and "stream" in line.name.lower():
                device = int(plane.name.rsplit(":", 1)[-1])
                found += [_kernel(*pair, device, number, origin_s) for pair in named]
    return found


def _profile_start_ns(space: xplane_pb2.XSpace) -> int:
    for plane in space.planes:
        for stat in plane.stats if plane.name == ENVIRONMENT else ():
            if plane.stat_metadata[stat.metadata_id].name == "profile_start_time":
                return int(stat.uint64_value)
    raise RuntimeError("the profile does not say when it started")


Named = tuple[xplane_pb2.XEvent, str]


def _leaves(named: Sequence[Named]) -> list[Named]:
    """Operations of one thread that hold no other: a function's call spans what it calls."""
    found: list[Named] = []
    wanted = [pair for pair in named if OPERATION.fullmatch(pair[1])]
    for event, name in sorted(wanted, key=lambda pair: (pair[0].offset_ps, -pair[0].duration_ps)):
        if found and _end_ps(found[-1][0]) > event.offset_ps:
            found.pop()
        found.append((event, name))
    return found


def _end_ps(event: xplane_pb2.XEvent) -> int:
    return int(event.offset_ps + event.duration_ps)


def _host(
    event: xplane_pb2.XEvent, full_name: str, devices: Mapping[str, int], row: int, origin_s: float
) -> Operation:
    name, kind = full_name.split(":")
    reduces = any(part.startswith(REDUCTION_SCOPE) for part in name.split("/"))
    computes = not NOT_COMPUTE.fullmatch(kind) and not reduces
    return _operation(event, name, devices.get(name, -1), row, origin_s, computes)


def _kernel(
    event: xplane_pb2.XEvent, name: str, device: int, row: int, origin_s: float
) -> Operation:
    computes = not NOT_COMPUTE_KERNEL.search(name)
    return _operation(event, name, device, row, origin_s, computes)


def _operation(
    event: xplane_pb2.XEvent, name: str, device: int, row: int, origin_s: float, computes: bool
) -> Operation:
    start, end = (origin_s + ps / 1e12 for ps in (event.offset_ps, _end_ps(event)))
    return Operation(name, device, row, start, end, computes)


def attributed_share(found: Sequence[Operation]) -> float:
    """Share of the operations' time whose device is known."""
    total = sum(operation.end_s - operation.start_s for operation in found)
    known = sum(o.end_s - o.start_s for o in found if o.device >= 0)
    return known / total if total else 0.0


def compute_clock(
    found: Sequence[Operation], device: int, begin_s: float, end_s: float, at_once: int
) -> Busy:
    """Points (time, compute seconds so far) of a device over a step.

    Of operations that run side by side at most ``at_once`` count. CPU devices share their threads:
    a device whose neighbour waits takes the other thread too, and its work is no less for that. The
    streams of a GPU share one device.
    """
    edges: list[tuple[float, int]] = []
    for operation in found:
        if operation.compute and operation.device == device:
            start, end = (min(max(t, begin_s), end_s) for t in (operation.start_s, operation.end_s))
            edges += [(start, 1), (end, -1)]
    points, running = [(begin_s, 0.0)], 0
    for when, change in sorted(edges):
        before, seconds = points[-1]
        points.append((when, seconds + min(running, at_once) * (when - before)))
        running += change
    return [*points, (end_s, points[-1][1])]


def write_timeline(
    path: Path, found: Sequence[Operation], communications: Sequence[CommEvent]
) -> None:
    """Chrome-trace JSON: a process a device, a row a thread, and one for its communications."""
    slices = [_slice(o.name, o.device, o.row, o.start_s, o.end_s) for o in found]
    slices += [
        _slice(f"{c.role} {c.key}", c.device, COMMUNICATION_ROW, c.start_s, c.end_s)
        for c in communications
    ]
    labels = [
        {"name": f"{what}_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
        for pid, tid in sorted({(one["pid"], one["tid"]) for one in slices})
        for what, name in (("process", f"device {pid}"), ("thread", _row_name(tid)))
    ]
    content = {"traceEvents": labels + slices, "displayTimeUnit": "ms"}
    path.write_text(json.dumps(content), encoding="utf-8")


def _row_name(row: int) -> str:
    return "communication" if row == COMMUNICATION_ROW else f"thread {row}"


def _slice(name: str, device: int, row: int, start_s: float, end_s: float) -> dict[str, Any]:
    """A complete event (``X``), microseconds."""
    return {
        "name": name, "ph": "X", "ts": start_s * 1e6, "dur": (end_s - start_s) * 1e6,
        "pid": device, "tid": row,
    }
