"""The traced pass: ``torch.profiler``, and what its GPU kernels say."""

from __future__ import annotations

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from suite.spec.adapter import CommEvent, StepTrace

NCCL_KINDS = {
    "AllReduce": "all_reduce", "AllGather": "all_gather", "ReduceScatter": "reduce_scatter",
    "Broadcast": "broadcast", "SendRecv": "send_recv",
}


def profile(device: torch.device) -> torch.profiler.profile:
    """A profiler of the host's operations and, on a GPU, of its kernels."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities)


def gpu_trace(profiler: torch.profiler.profile) -> StepTrace:
    """Kernels of one step: NCCL's are communication, the union of all others is the compute clock.

    A step has nothing of its own to sum payloads from here, so sizes are 0: B and N come from the
    timed pass.
    """
    kernels = [
        (event.name(), event.start_ns() * 1e-9, (event.start_ns() + event.duration_ns()) * 1e-9)
        for event in profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
        if event.device_type() == DeviceType.CUDA
    ]
    return kernel_trace(kernels)


def kernel_trace(kernels: list[tuple[str, float, float]]) -> StepTrace:
    """(name, start, end) of every kernel of one device in seconds, to events and compute clock."""
    events, numbers = [], dict.fromkeys(NCCL_KINDS.values(), 0)
    clock: list[tuple[float, float]] = []
    busy, reach = 0.0, float("-inf")
    for name, start, end in sorted(kernels, key=lambda kernel: kernel[1]):
        kind = next((k for part, k in NCCL_KINDS.items() if f"_{part}" in name), None)
        if name.startswith("nccl") and kind:
            role = "recv" if kind == "send_recv" else "member"
            events.append(CommEvent(kind, 0, start, end, key=f"{kind}#{numbers[kind]}", role=role))
            numbers[kind] += 1
        elif end > reach:
            clock.append((max(start, reach), busy))
            busy, reach = busy + end - max(start, reach), end
            clock.append((end, busy))
    return StepTrace(tuple(events), (tuple(clock),) if clock else ())
