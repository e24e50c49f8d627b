"""The traced step: ``torch.profiler``, and how its GPU kernels become a step trace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

from suite.contract.adapter import CommEvent, StepTrace

# How NCCL names the kernels of each kind of communication.
NCCL_KINDS = {
    "AllReduce": "all_reduce", "AllGather": "all_gather", "ReduceScatter": "reduce_scatter",
    "Broadcast": "broadcast", "SendRecv": "send_recv",
}
# If ranks share a GPU, these copies belong to gloo, which reduces in the host's memory.
HOST_COPIES = ("Memcpy HtoD", "Memcpy DtoH")
# Annotations around hops: PyTorch's begin so around single calls, ours around what a pipeline's
# schedule issues together.
SENDS, RECEIVES = "nccl:send", "nccl:recv"
# How PyTorch names the collectives that return a new tensor.
FUNCTIONAL = "_c10d_functional::"
# How PyTorch names what its attention dispatches to, by what a name contains.
ATTENTION = "aten::_scaled_dot_product_"
ATTENTION_KERNELS = ("flash", "cudnn", "efficient", "math")
NO_KERNELS = "T_i: the profiler saw no kernel of the GPU"


@dataclass(frozen=True)
class Activity:
    """Something that the profiler saw on a GPU's stream.

    Attributes:
        name: Name of the kernel, copy or annotation.
        start_s: Start, in seconds of ``time.perf_counter``.
        end_s: End, in seconds of ``time.perf_counter``.
        stream: Number of the CUDA stream.
        annotation: Whether this is an annotation around kernels instead of a kernel or copy.
    """

    name: str
    start_s: float
    end_s: float
    stream: int = 0
    annotation: bool = False


def profile(device: torch.device) -> torch.profiler.profile:
    """Makes a profiler that records the host's operations and, on a GPU, its kernels."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    return torch.profiler.profile(activities=activities)


def operation_seconds(profiler: torch.profiler.profile) -> float:
    """Adds up what PyTorch's operations take on a CPU, each without those that it calls.

    What a rank computes beyond them is dispatch: Python, autograd, a DTensor's bookkeeping. An
    operation that calls its own name is such bookkeeping: a DTensor's, which calls the same one on
    its shard.
    """
    operations = (
        event for event in profiler.events() or ()
        if event.name.startswith("aten::")
        and all(child.name != event.name for child in event.cpu_children)
    )
    return 1e-6 * sum(float(event.self_cpu_time_total) for event in operations)


def copy_seconds(profiler: torch.profiler.profile) -> float:
    """Adds up what functional collectives, such as a DTensor's, copy on a CPU.

    They reduce a copy of the tensor in memory of its own, and make it before they send.
    """
    return 1e-6 * sum(
        float(child.cpu_time_total)
        for event in profiler.events() or () if event.name.startswith(FUNCTIONAL)
        for child in event.cpu_children if child.name.startswith("aten::")
    )


def attention_kernels(profiler: torch.profiler.profile) -> str:
    """Names the kernels that computed attention: PyTorch chooses by device, shapes and formats.

    Returns:
        ``flash``, ``cudnn``, ``efficient`` or ``math``, several with ``and``; empty without any.
    """
    names = {event.name for event in profiler.events() or () if event.name.startswith(ATTENTION)}
    return " and ".join(kind for kind in ATTENTION_KERNELS if any(kind in name for name in names))


def gpu_trace(profiler: torch.profiler.profile, began_s: float, ended_s: float) -> StepTrace:
    """Reads the trace of a step from the profiler.

    The profiler counts nanoseconds since the epoch, which a float can hold only to the nearest 256.
    They are therefore moved to the host's clock as whole numbers, before they become seconds.

    Args:
        profiler: The profiler, after the step.
        began_s: Start of the step, in seconds of ``time.perf_counter``.
        ended_s: End of the step, in seconds of ``time.perf_counter``.

    Returns:
        The communications and the compute clock of the GPU.
    """
    epoch_offset_ns = time.time_ns() - time.perf_counter_ns()
    activities = [
        Activity(
            event.name(), (event.start_ns() - epoch_offset_ns) * 1e-9,
            (event.start_ns() + event.duration_ns() - epoch_offset_ns) * 1e-9,
            event.device_resource_id(), event.is_user_annotation(),
        )
        for event in profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
        if event.device_type() == DeviceType.CUDA
    ]
    return kernel_trace(activities, began_s, ended_s)


def kernel_trace(activities: Sequence[Activity], began_s: float, ended_s: float) -> StepTrace:
    """Turns GPU kernels into a step trace.

    NCCL's kernels count as communication; the time in which at least one other kernel runs is the
    compute clock. Kernels do not tell how many bytes they move, so all payloads are 0 here: the
    bytes and the number of communications come from the timed step.

    Args:
        activities: What the profiler saw on the GPU.
        began_s: Start of the step, in seconds of ``time.perf_counter``.
        ended_s: End of the step, in seconds of ``time.perf_counter``.

    Returns:
        The communications and the compute clock of the GPU.
    """
    kernels = sorted(
        (activity for activity in activities if not activity.annotation),
        key=lambda activity: activity.start_s,
    )
    if not kernels:
        return StepTrace(missing=NO_KERNELS)
    events, numbers = [], dict.fromkeys(NCCL_KINDS.values(), 0)
    clock = [(began_s, 0.0)]
    busy, reach = 0.0, began_s
    for kernel in kernels:
        kind = next((k for part, k in NCCL_KINDS.items() if f"_{part}" in kernel.name), None)
        if kernel.name.startswith("nccl"):
            if kind:
                key = f"{kind}#{numbers[kind]}"
                numbers[kind] += 1
                role = _role(kernel, kind, activities)
                events.append(
                    CommEvent(kind, 0, kernel.start_s, kernel.end_s, key=key, role=role)
                )
        elif kernel.end_s > reach and not kernel.name.startswith(HOST_COPIES):
            start = max(kernel.start_s, reach)
            clock.append((start, busy))
            busy, reach = busy + kernel.end_s - start, kernel.end_s
            clock.append((reach, busy))
    clock.append((max(ended_s, reach), busy))
    return StepTrace(tuple(events), (tuple(clock),))


def _role(kernel: Activity, kind: str, activities: Sequence[Activity]) -> str:
    """Tells sends from receives by the annotation around them: their kernels have the same name."""
    if kind != "send_recv":
        return "member"
    sends = any(
        activity.annotation and activity.name.startswith(SENDS)
        and activity.stream == kernel.stream
        and activity.start_s <= kernel.start_s and kernel.end_s <= activity.end_s
        for activity in activities
    )
    return "send" if sends else "recv"
