"""The traced pass: ``torch.profiler``, and what its GPU kernels say."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from suite.contract.adapter import CommEvent, StepTrace

NCCL_KINDS = {
    "AllReduce": "all_reduce", "AllGather": "all_gather", "ReduceScatter": "reduce_scatter",
    "Broadcast": "broadcast", "SendRecv": "send_recv",
}
# Where ranks share a GPU these are gloo's, which reduces in the host's memory.
HOST_COPIES = ("Memcpy HtoD", "Memcpy DtoH")
NO_KERNELS = "T_i: the profiler saw no kernel of the GPU"


@dataclass(frozen=True)
class Activity:
    """What the profiler saw on a GPU's stream: a kernel or copy, or an annotation around some."""

    name: str
    start_s: float
    end_s: float
    stream: int = 0
    annotation: bool = False


def profile(device: torch.device) -> torch.profiler.profile:
    """A profiler of the host's operations and, on a GPU, of its kernels."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities)


def gpu_trace(profiler: torch.profiler.profile, began_s: float, ended_s: float) -> StepTrace:
    """Kernels of one step, which took from ``began_s`` to ``ended_s`` of ``time.perf_counter``.

    The profiler counts nanoseconds since the epoch, of which a float holds every 256th.
    """
    behind_ns = time.time_ns() - time.perf_counter_ns()
    found = [
        Activity(
            event.name(), (event.start_ns() - behind_ns) * 1e-9,
            (event.start_ns() + event.duration_ns() - behind_ns) * 1e-9,
            event.device_resource_id(), event.is_user_annotation(),
        )
        for event in profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
        if event.device_type() == DeviceType.CUDA
    ]
    return kernel_trace(found, began_s, ended_s)


def kernel_trace(found: Sequence[Activity], began_s: float, ended_s: float) -> StepTrace:
    """NCCL's kernels are communication, the union of all others is the compute clock.

    A step has nothing of its own to sum payloads from here, so sizes are 0: B and N come from the
    timed pass.
    """
    kernels = sorted((one for one in found if not one.annotation), key=lambda one: one.start_s)
    if not kernels:
        return StepTrace(missing=NO_KERNELS)
    events, numbers = [], dict.fromkeys(NCCL_KINDS.values(), 0)
    clock = [(began_s, 0.0)]
    busy, reach = 0.0, began_s
    for one in kernels:
        kind = next((k for part, k in NCCL_KINDS.items() if f"_{part}" in one.name), None)
        if one.name.startswith("nccl"):
            if kind:
                key = f"{kind}#{numbers[kind]}"
                numbers[kind] += 1
                events.append(CommEvent(
                    kind, 0, one.start_s, one.end_s, key=key, role=_role(one, kind, found)
                ))
        elif one.end_s > reach and not one.name.startswith(HOST_COPIES):
            start = max(one.start_s, reach)
            clock.append((start, busy))
            busy, reach = busy + one.end_s - start, one.end_s
            clock.append((reach, busy))
    clock.append((max(ended_s, reach), busy))
    return StepTrace(tuple(events), (tuple(clock),))


def _role(kernel: Activity, kind: str, found: Sequence[Activity]) -> str:
    """Sends and receives are kernels of one name: the call's annotation on their stream tells."""
    if kind != "send_recv":
        return "member"
    sends = any(
        one.annotation and one.name.startswith("nccl:send") and one.stream == kernel.stream
        and one.start_s <= kernel.start_s and kernel.end_s <= one.end_s
        for one in found
    )
    return "send" if sends else "recv"
