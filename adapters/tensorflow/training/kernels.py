"""What GPUs said to each other in a step, from TensorFlow's profile: NCCL's kernels, peer copies.

A stamp in a graph would cost a GPU a copy to the host, so on GPUs the profile takes the stamps'
place. A kernel of NCCL starts when its device arrives, and ends when the device has the result. A
copy starts when its sender has the tensor; its receiver waits for it from the end of what it
computed before.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from operator import attrgetter

from adapters.tensorflow.training.xplane import Operation
from suite.contract.case import Case
from suite.contract.records import CommEvent
from suite.contract.splits.volumes import Communications, logical_communications

# ncclDevKernel_AllReduce_Sum_f32_RING_LL(…), and ncclKernel_AllReduce_RING_LL_Sum_float(…) before.
NCCL = re.compile(r"nccl\w*?(AllReduce|AllGather|ReduceScatter|Broadcast|Generic)")
KINDS = {"AllReduce": "all_reduce", "AllGather": "all_gather", "ReduceScatter": "reduce_scatter",
         "Broadcast": "broadcast"}
PEER_COPY = "MemcpyP2P"
DETAIL = re.compile(r"(\w+):(\S+)")
UNSEEN = "T_comm: the profile shows no kernel of NCCL and no copy between GPUs"
UNEVEN = "T_comm: the profile shows different numbers of NCCL's kernels on the devices"
UNNAMED = "T_comm: kernels of NCCL do not tell which of the devices took part"


def gpu_communications(
    executed: Sequence[Operation], case: Case, began_s: float
) -> tuple[list[CommEvent], str]:
    """Finds the communications of a step in its profile.

    NCCL's kernels do not tell how much they send. TensorFlow packs gradients and Horovod fuses
    them, so N is the number of kernels, and each is given an equal share of the bytes that the plan
    has for its kind: B · N is the plan's. A copy tells its size.

    Args:
        executed: The kernels and copies of all devices of this process.
        case: The case.
        began_s: Start of the step, in seconds since the epoch.

    Returns:
        An event for each device and communication, and why there is none though the plan has some.
    """
    plan = logical_communications(case)
    if not plan:
        return [], ""
    by_kind = _kernels(executed, plan)
    if by_kind and (len(case.axes.names) > 1 or "inter_layer" in case.axes.names):
        return [], UNNAMED
    if any(len({len(found) for found in devices.values()}) > 1 for devices in by_kind.values()):
        return [], UNEVEN
    events = [event for kind, devices in by_kind.items() for event in _members(kind, devices, plan)]
    events += _copies(executed, began_s)
    return events, "" if events else UNSEEN


def _kernels(
    executed: Sequence[Operation], plan: Communications
) -> dict[str, dict[int, list[Operation]]]:
    """Returns kind -> device -> its kernels of NCCL, in the order in which they started.

    A generic kernel, which does not tell its kind, has the plan's if the plan has one alone.
    """
    kinds = {kind for kind, _ in plan if kind in KINDS.values()}
    found: dict[str, dict[int, list[Operation]]] = {}
    for kernel in sorted(executed, key=attrgetter("start_s")):
        named = NCCL.match(kernel.name)
        kind = KINDS.get(named[1], "") if named else ""
        if named and not kind and len(kinds) == 1:
            (kind,) = kinds
        if kind:
            found.setdefault(kind, {}).setdefault(kernel.device, []).append(kernel)
    return found


def _members(
    kind: str, devices: Mapping[int, Sequence[Operation]], plan: Communications
) -> list[CommEvent]:
    """The parts of devices in collectives; the first kernels of all are parts of the first one."""
    total = sum(size for planned, size in plan if planned == kind)
    events = []
    for device, kernels in devices.items():
        count = len(kernels)
        for number, kernel in enumerate(kernels):
            share = total * (number + 1) // count - total * number // count
            events.append(CommEvent(kind, share, kernel.start_s, kernel.end_s, device,
                                    f"{kind}#{number}"))
    return events


def _copies(executed: Sequence[Operation], began_s: float) -> list[CommEvent]:
    """The sends and receives of copies between GPUs, which the sender's device executes."""
    events: list[CommEvent] = []
    for copy in sorted(executed, key=attrgetter("start_s")):
        told = dict(DETAIL.findall(copy.details)) if copy.name == PEER_COPY else {}
        receiver = int(told.get("dest", copy.device))
        if receiver == copy.device:
            continue
        size, key = int(told.get("size", 0)), f"copy#{len(events) // 2}"
        events += [
            CommEvent("send_recv", size, copy.start_s, copy.start_s, copy.device,
                      key=key, role="send"),
            CommEvent("send_recv", size, began_s, copy.end_s, receiver, key=key, role="recv"),
        ]
    idle = {event.device: _idle_since(executed, event.device) for event in events}
    return [event if event.role == "send" else replace(event, start_s=idle[event.device](event))
            for event in events]


def _idle_since(
    executed: Sequence[Operation], device: int
) -> Callable[[CommEvent], float]:
    """Makes the function that says since when a device had nothing to do but to receive.

    That is when it had finished what it had begun to compute before the copy was there.
    """
    computed = sorted((o.start_s, o.end_s) for o in executed if o.compute and o.device == device)
    starts = [start for start, _ in computed]
    ends = list(accumulate((end for _, end in computed), max))

    def since(event: CommEvent) -> float:
        begun = bisect_left(starts, event.end_s)
        return min(max(event.start_s, ends[begun - 1]) if begun else event.start_s, event.end_s)

    return since
