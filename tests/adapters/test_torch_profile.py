"""Kernels of a GPU to a trace: planted activities with a truth, in milliseconds."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from adapters.pytorch.training.profile import (  # noqa: E402
    NO_KERNELS,
    Activity,
    attention_kernels,
    copy_seconds,
    gpu_trace,
    kernel_trace,
    operation_seconds,
    profile,
)
from suite.analysis.communication import communication  # noqa: E402
from suite.contract.adapter import StepTrace  # noqa: E402
from suite.contract.records import RankRecord  # noqa: E402

REDUCED = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
HOP = "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)"


def _trace(*found: tuple[str, float, float, int, bool]) -> StepTrace:
    activities = [Activity(name, start / 1e3, end / 1e3, stream, annotation)
                  for name, start, end, stream, annotation in found]
    return kernel_trace(activities, 0.0, 0.030)


def _clock(trace: StepTrace) -> list[tuple[float, float]]:
    (clock,) = trace.busy
    return [(round(at * 1e3, 6), round(busy * 1e3, 6)) for at, busy in clock]


def test_the_clock_is_the_union_of_kernels_over_the_whole_step() -> None:
    """A stage that waits for its first activation is idle from the step's start."""
    trace = _trace(
        ("sgemm", 10, 14, 7, False), ("elementwise", 12, 16, 8, False),
        ("elementwise", 13, 15, 7, False), ("sgemm", 20, 21, 7, False),
    )
    assert _clock(trace) == [(0, 0), (10, 0), (14, 4), (14, 4), (16, 6), (20, 6), (21, 7), (30, 7)]
    assert not trace.events and not trace.missing


def test_annotations_and_copies_to_the_host_compute_nothing() -> None:
    trace = _trace(
        ("Optimizer.step#Adam.step", 1, 29, 7, True), ("nccl:all_reduce", 5, 9, 20, True),
        (REDUCED, 5, 9, 20, False), ("sgemm", 2, 3, 7, False),
        ("Memcpy DtoH (Device -> Pageable)", 10, 12, 7, False),
        ("Memcpy DtoD (Device -> Device)", 14, 15, 7, False),
        ("ncclDevKernel_Generic(x)", 16, 17, 20, False),
    )
    assert _clock(trace)[-1] == (30, 2)
    (event,) = trace.events
    assert (event.kind, event.key, event.role) == ("all_reduce", "all_reduce#0", "member")
    assert (round(event.start_s, 6), round(event.end_s, 6)) == (0.005, 0.009)


def test_the_call_tells_a_send_from_a_receive() -> None:
    """A kernel of either waits for the other rank, but a sender has other things to do."""
    trace = _trace(
        ("nccl:send 0->1", 1, 4, 20, True), (HOP, 1, 4, 20, False),
        ("nccl:recv 0<-1", 5, 8, 21, True), (HOP, 5, 8, 21, False),
        (HOP, 2, 3, 22, False), ("sgemm", 9, 10, 7, False),
    )
    assert [event.role for event in trace.events] == ["send", "recv", "recv"]


def test_no_kernel_is_no_figure() -> None:
    assert _trace(("step", 1, 2, 7, True)) == StepTrace(missing=NO_KERNELS)


def test_python_between_operations_is_none_of_them() -> None:
    matrix = torch.rand(400, 400)
    with profile(torch.device("cpu")) as profiler:
        began = time.perf_counter()
        for _ in range(20):
            torch.nn.functional.linear(matrix, matrix)
        computed = time.perf_counter() - began
        ends = time.thread_time() + 0.1
        while time.thread_time() < ends:
            pass
    assert 0.3 * computed < operation_seconds(profiler) < computed + 0.05


def test_a_functional_collective_copies_and_a_plain_one_does_not() -> None:
    from torch import distributed
    from torch.distributed import _functional_collectives as functional

    tensor = torch.ones(1 << 20)
    distributed.init_process_group(
        "gloo", store=distributed.HashStore(), rank=0, world_size=1
    )
    try:
        with profile(torch.device("cpu")) as plain:
            distributed.all_reduce(tensor)
            tensor.clone()
        with profile(torch.device("cpu")) as copying:
            functional.wait_tensor(functional.all_reduce(tensor, "sum", distributed.group.WORLD))
    finally:
        distributed.destroy_process_group()
    assert copy_seconds(plain) == 0
    # 4 MiB at less than 100 GB/s.
    assert 4e-5 < copy_seconds(copying) < operation_seconds(copying) + 1e-9


class _Wrapper(torch.Tensor):
    """Takes half a tenth of a second of Python for each operation, as a DTensor does little."""

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        ends = time.thread_time() + 0.05
        while time.thread_time() < ends:
            pass
        plain = [one.held if isinstance(one, cls) else one for one in args]
        return function(*plain, **(kwargs or {}))


def test_what_a_wrapped_tensor_does_in_python_is_no_operation() -> None:
    wrapped = torch.Tensor._make_wrapper_subclass(_Wrapper, (4, 4))
    wrapped.held = torch.ones(4, 4)
    with profile(torch.device("cpu")) as profiler:
        torch.mm(wrapped, torch.ones(4, 4))
    names = [event.name for event in profiler.events()]
    assert names.count("aten::mm") == 2 and operation_seconds(profiler) < 0.02


def test_hops_that_a_schedule_issues_together_are_named() -> None:
    from torch import distributed

    from adapters.pytorch.splits.inter_layer import named_hops

    send, receive = (SimpleNamespace(op=op) for op in (distributed.isend, distributed.irecv))
    issued: list[int] = []

    def batch(operations: list[Any], desc: str | None = None) -> list[Any]:
        issued.append(len(operations))
        return []

    hops = named_hops(batch)
    with profile(torch.device("cpu")) as profiler:
        hops([send, send])
        hops([send, receive], "1F1B")
        hops([receive])
        hops([])
    assert issued == [2, 2, 1, 0]
    names = [event.name for event in profiler.events() if event.name.startswith("nccl:")]
    assert names == ["nccl:send", "nccl:recv", "nccl:recv", "nccl:recv"]
    # On a GPU the annotation lies around the kernel, as of a single call.
    trace = _trace(("nccl:send", 1, 4, 20, True), (HOP, 1, 4, 20, False))
    assert [event.role for event in trace.events] == ["send"]


class Replayed:
    """A profiler that lists the events of a file, as Kineto's bindings have them."""

    def __init__(self, path: Path, began_s: float) -> None:
        offset_ns = time.time_ns() - time.perf_counter_ns() + int(began_s * 1e9)
        events = [_event(one, offset_ns) for one in json.loads(path.read_text())["events"]]
        self.profiler = SimpleNamespace(kineto_results=SimpleNamespace(events=lambda: events))


def _event(one: dict[str, Any], offset_ns: int) -> SimpleNamespace:
    start, end = (int(one[edge] * 1e6) for edge in ("start", "end"))
    return SimpleNamespace(
        name=lambda: one["name"], start_ns=lambda: offset_ns + start,
        duration_ns=lambda: end - start, device_resource_id=lambda: one["stream"],
        is_user_annotation=lambda: one.get("annotation", False),
        device_type=lambda: getattr(torch.autograd.DeviceType, one["device"]),
    )


def test_a_replayed_step_with_nccl_is_told_apart_and_timed() -> None:
    began = time.perf_counter()
    profiler = Replayed(Path(__file__).with_name("kineto_ddp_step.json"), began)
    trace = gpu_trace(profiler, began, began + 0.020)  # type: ignore[arg-type]
    assert [(e.kind, e.key, e.role) for e in trace.events] == [
        ("all_reduce", "all_reduce#0", "member"), ("all_reduce", "all_reduce#1", "member")]
    starts = [round(1e3 * (event.start_s - began), 1) for event in trace.events]
    assert starts == [9.0, 14.0]
    # gemm 4, attention 1, loss 1, gemm 7 and update 1 of the 20 ms; the copy is the host's.
    assert trace.busy[0][-1][1] == pytest.approx(0.014, abs=1e-6)
    # Of 6 ms of communication the first 3 lie under a product, the others are exposed.
    record = RankRecord(0, traces=[trace], profiles=[trace])
    found = communication([record, replace(record, rank=1)])
    assert found["t_comm_s"] == pytest.approx(0.006, abs=1e-6)
    assert found["t_comm_exposed_s"] == pytest.approx(0.003, abs=1e-6)


@pytest.mark.parametrize(("biased", "kernels"), [(False, "flash"), (True, "math")])
def test_the_kernel_of_attention_is_read_from_the_profile(biased: bool, kernels: str) -> None:
    """A bias with a gradient, as XLNet has it, is not what PyTorch's fused kernels can do."""
    parts = torch.randn(3, 1, 2, 8, 4, requires_grad=True)
    bias = torch.zeros(8, 8, requires_grad=True) if biased else None
    with profile(torch.device("cpu")) as profiler:
        torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=bias).sum().backward()
    assert attention_kernels(profiler) == kernels
    with profile(torch.device("cpu")) as profiler:
        torch.ones(2).sum()
    assert attention_kernels(profiler) == ""
