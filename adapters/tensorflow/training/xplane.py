"""Reads from TensorFlow's profiler (XPlane) when the devices computed.

For CPU devices the host's plane has an event ``name:type`` per operation that ran; for a GPU, the
plane of the device has its kernels. Event times are picoseconds since the start of the profile,
which itself is given since the epoch, the clock of ``tf.timestamp``.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from suite.contract.adapter import Busy, CommEvent

HOST, GPU, ENVIRONMENT = "/host:CPU", "/device:GPU:", "Task Environment"
# Graphs with stamps put MirroredStrategy's reduction into this name scope.
REDUCTION_SCOPE = "stamped_reduction"
OPERATION = re.compile(r"([^\s:]+):(\w+)")
# Operations that are not computation: copies between devices, collectives, stamps, host code.
NOT_COMPUTE = re.compile(
    r"_?(Host)?(Send|Recv)|Horovod\w*|Collective\w*|Nccl\w*|Timestamp|(Eager)?PyFunc(Stateless)?"
)
MEMCPY_DETAILS = "memcpy_details"
NOT_COMPUTE_KERNEL = re.compile(r"nccl|memcpy|memset", re.IGNORECASE)
# The profile is used only if it tells the device of at least this share of the operations' time.
LEAST_ATTRIBUTED = 0.95
# Number of the timeline row that shows communications.
COMMUNICATION_ROW = 1000


@dataclass(frozen=True)
class Operation:
    """An operation or kernel that ran on a thread or stream.

    Attributes:
        name: Name of the operation in the graph, or of the kernel.
        device: Number of the device; -1 if the graph does not tell.
        row: Number of the thread or stream.
        start_s: Start in seconds since the epoch.
        end_s: End in seconds since the epoch.
        compute: Whether it counts as computation.
        details: What the profile says of a copy: ``kind_src:device … size:4096 dest:1 async:1``.
    """

    name: str
    device: int
    row: int
    start_s: float
    end_s: float
    compute: bool
    details: str = ""


def node_devices(build: Callable[[], Any]) -> dict[str, int]:
    """Finds out on which device TensorFlow placed each operation of a graph.

    The names come from the graph's partitions, which also contain the operations that TensorFlow's
    graph optimiser added.

    Args:
        build: Runs the graph for the first time, which makes TensorFlow place and optimise it.

    Returns:
        Operation name to the number of its logical device.
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
    """Runs ``step`` under the profiler.

    Host tracing is at level 2, which records operations without their internals.

    Args:
        step: Runs a training step and waits for it.

    Returns:
        The profile.
    """
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
    space: xplane_pb2.XSpace, devices: Mapping[str, int] | None, kind: str = "cpu"
) -> list[Operation]:
    """Lists what ran on the devices: leaf operations on CPUs, kernels on GPUs.

    For GPUs the operations of the host are left out: waiting for a GPU is not the GPU's work.

    Args:
        space: The profile.
        devices: Operation name to device, from ``node_devices``; None if the process has a single
            device, where whatever it runs is that device's.
        kind: ``cpu`` or ``cuda``.

    Returns:
        The operations or kernels, with times in seconds since the epoch.
    """
    begin_ns = _profile_start_ns(space)
    executed: list[Operation] = []
    for plane in space.planes:
        for number, line in enumerate(plane.lines):
            named = [
                (event, plane.event_metadata[event.metadata_id].name) for event in line.events
            ]
            origin_s = (begin_ns + line.timestamp_ns) / 1e9
            if plane.name == HOST and kind == "cpu":
                executed += [_host(*pair, devices, number, origin_s) for pair in _leaves(named)]
            elif plane.name.startswith(GPU) and "stream" in line.name.lower():
                device = int(plane.name.rsplit(":", 1)[-1])
                executed += [_kernel(plane, *pair, device, number, origin_s) for pair in named]
    return executed


def _profile_start_ns(space: xplane_pb2.XSpace) -> int:
    """Returns when the profile started, in nanoseconds since the epoch."""
    for plane in space.planes:
        for stat in plane.stats if plane.name == ENVIRONMENT else ():
            if plane.stat_metadata[stat.metadata_id].name == "profile_start_time":
                return int(stat.uint64_value)
    raise RuntimeError("the profile does not say when it started")


# An event and its full name.
Named = tuple[xplane_pb2.XEvent, str]


def _leaves(named: Sequence[Named]) -> list[Named]:
    """Keeps the operations of a thread that contain no other, such as a call of a function."""
    leaves: list[Named] = []
    wanted = [pair for pair in named if OPERATION.fullmatch(pair[1])]
    for event, name in sorted(wanted, key=lambda pair: (pair[0].offset_ps, -pair[0].duration_ps)):
        if leaves and _end_ps(leaves[-1][0]) > event.offset_ps:
            leaves.pop()
        leaves.append((event, name))
    return leaves


def _end_ps(event: xplane_pb2.XEvent) -> int:
    """Returns the end of an event in picoseconds since the start of its line."""
    return int(event.offset_ps + event.duration_ps)


def _host(
    event: xplane_pb2.XEvent, full_name: str, devices: Mapping[str, int] | None, row: int,
    origin_s: float,
) -> Operation:
    """Reads an operation of a CPU device."""
    name, kind = full_name.split(":")
    device = 0 if devices is None else devices.get(name, -1)
    reduces = any(part.startswith(REDUCTION_SCOPE) for part in name.split("/"))
    computes = not NOT_COMPUTE.fullmatch(kind) and not reduces
    return _operation(event, name, device, row, origin_s, computes)


def _kernel(
    plane: xplane_pb2.XPlane, event: xplane_pb2.XEvent, name: str, device: int, row: int,
    origin_s: float,
) -> Operation:
    """Reads a kernel of a GPU, or a copy with its details."""
    computes = not NOT_COMPUTE_KERNEL.search(name)
    kernel = _operation(event, name, device, row, origin_s, computes)
    if not name.startswith("Memcpy"):
        return kernel
    return replace(kernel, details=" ".join(_details(plane, event)))


def _details(plane: xplane_pb2.XPlane, event: xplane_pb2.XEvent) -> Iterator[str]:
    """Yields the text of a copy's details, which the plane keeps among the names of its stats."""
    for stat in event.stats:
        if plane.stat_metadata[stat.metadata_id].name == MEMCPY_DETAILS:
            yield stat.str_value or plane.stat_metadata[stat.ref_value].name


def _operation(
    event: xplane_pb2.XEvent, name: str, device: int, row: int, origin_s: float, computes: bool
) -> Operation:
    """Converts an event to seconds since the epoch; ``origin_s`` is the start of its line."""
    start, end = (origin_s + ps / 1e12 for ps in (event.offset_ps, _end_ps(event)))
    return Operation(name, device, row, start, end, computes)


def attributed_share(executed: Sequence[Operation]) -> float:
    """Returns the share of the operations' time whose device is known, from 0 to 1."""
    total = sum(operation.end_s - operation.start_s for operation in executed)
    known = sum(o.end_s - o.start_s for o in executed if o.device >= 0)
    return known / total if total else 0.0


def compute_clock(
    executed: Sequence[Operation], device: int, begin_s: float, end_s: float, at_once: int
) -> Busy:
    """Computes the compute clock of a device over a step.

    Args:
        executed: The operations or kernels of all devices.
        device: Number of the device.
        begin_s: Start of the step, in seconds since the epoch.
        end_s: End of the step, in seconds since the epoch.
        at_once: How many operations that run at the same time count at most. CPU devices share
            the threads of the process: a device may use the thread of a neighbour that waits, and
            both threads then do its work. The streams of a GPU share a single device.

    Returns:
        Points (time, compute seconds so far), from ``begin_s`` to ``end_s``.
    """
    edges: list[tuple[float, int]] = []
    for operation in executed:
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
    path: Path, executed: Sequence[Operation], communications: Sequence[CommEvent]
) -> None:
    """Writes a step as Chrome-trace JSON.

    Every device is a process of the trace, with a row per thread and a row for communications.

    Args:
        path: The file to write.
        executed: The operations or kernels of all devices.
        communications: The communications of all devices.
    """
    slices = [_slice(o.name, o.device, o.row, o.start_s, o.end_s) for o in executed]
    slices += [
        _slice(f"{c.role} {c.key}", c.device, COMMUNICATION_ROW, c.start_s, c.end_s)
        for c in communications
    ]
    labels = [
        {"name": f"{what}_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
        for pid, tid in sorted({(piece["pid"], piece["tid"]) for piece in slices})
        for what, name in (("process", f"device {pid}"), ("thread", _row_name(tid)))
    ]
    content = {"traceEvents": labels + slices, "displayTimeUnit": "ms"}
    path.write_text(json.dumps(content), encoding="utf-8")


def _row_name(row: int) -> str:
    """Returns the name of a row of the timeline."""
    return "communication" if row == COMMUNICATION_ROW else f"thread {row}"


def _slice(name: str, device: int, row: int, start_s: float, end_s: float) -> dict[str, Any]:
    """Makes a complete event (``X``) of a Chrome trace, which counts in microseconds."""
    return {
        "name": name, "ph": "X", "ts": start_s * 1e6, "dur": (end_s - start_s) * 1e6,
        "pid": device, "tid": row,
    }
