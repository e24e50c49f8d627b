"""What the harness measures about a session: probed, traced and silent steps, memory, ledger."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapters.pytorch.training import found
from adapters.pytorch.training.matmul_rate import matmul_flops_s
from adapters.pytorch.training.number_format import describe as describe_precision
from adapters.pytorch.training.probe import Probe
from adapters.pytorch.training.profile import (
    attention_kernels,
    copy_seconds,
    gpu_trace,
    operation_seconds,
    profile,
)
from suite.contract.adapter import StepTrace, switch
from suite.contract.case import Case
from suite.contract.resident_memory import peak_resident_bytes, reset_peak_resident
from suite.contract.threads import RunQueueClock


class Measured:
    """The measuring half of a session; ``Training`` adds the training.

    Attributes:
        case: The case.
        device: This rank's device.
        probe: The probe of the step that runs now, if it is a timed step.
        silent: Whether the step that runs now must not communicate.
        communicating: Ids of the threads that a process group started.
        event_loops: How those among them that wait for sockets are scheduled; empty without any.
        attention: The kernels that computed attention in the traced step; empty without any.
    """

    case: Case
    device: torch.device
    probe: Probe | None = None
    silent = False
    communicating: Collection[int] = ()
    event_loops = ""
    attention = ""

    def step(self, index: int) -> Any:
        """Trains on global batch ``index``."""
        raise NotImplementedError

    def modules(self) -> Sequence[nn.Module]:
        """Returns the models of this rank; a rank of an interleaved pipeline has several."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Waits until the work queued on the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def timed_step(self, index: int) -> StepTrace:
        """Runs a step with a probe that records every communication."""
        with self.watched():
            probe = self.probe = Probe(self.device, self._queue)
            self.step(index)
            self.synchronize()
        self.probe = None
        return probe.finish()

    @cached_property
    def _queue(self) -> RunQueueClock | None:
        """How long the threads that communicate wait for a core; a GPU's do not share one."""
        return RunQueueClock(self.communicating) if self.device.type == "cpu" else None

    def watched(self) -> AbstractContextManager[None]:
        """Context in which ``self.probe`` sees communications; strategies attach probes here."""
        return nullcontext()

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """Runs a step under PyTorch's profiler.

        Args:
            index: Number of the global batch.
            timeline: Where to write the profile as Chrome-trace JSON, if anywhere.

        Returns:
            On a GPU the communications and the compute clock, on a CPU the seconds of the step and
            of its operations.
        """
        with self.traced(), profile(self.device) as profiler:
            began = time.perf_counter()
            self.step(index)
            self.synchronize()
            ended = time.perf_counter()
        self.attention = attention_kernels(profiler)
        if self.device.type == "cuda":
            trace = gpu_trace(profiler, began, ended)
        else:
            # The kernels of a compiled graph are none of PyTorch's operations.
            eager = self.case.mode == "eager"
            trace = StepTrace(operations_s=operation_seconds(profiler) if eager else 0.0,
                              copies_s=copy_seconds(profiler))
        if timeline:
            profiler.export_chrome_trace(str(timeline))
        return replace(trace, seconds=ended - began)

    def traced(self) -> AbstractContextManager[None]:
        """Context in which communications tell the profiler what their kernels do not."""
        return nullcontext()

    def silent_step(self, index: int) -> None:
        """Runs a step without communication."""
        with self.silenced():
            self.step(index)
            self.synchronize()

    def silenced(self) -> AbstractContextManager[None]:
        """Context without communication: whatever would communicate checks ``silent`` first."""
        return _silent(self)

    def reset_peak_memory(self) -> None:
        """Starts the peak of memory anew."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            reset_peak_resident()

    def peak_memory_bytes(self) -> int:
        """Returns the peak of PyTorch's allocator on a GPU, of the resident set on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_resident_bytes()

    def device_memory_bytes(self) -> int:
        """Returns the bytes in use on the GPU by anybody; 0 on a CPU."""
        if self.device.type != "cuda":
            return 0
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free

    def matmul_flops_s(self) -> float:
        """Returns the device's matrix-product rate in FLOP/s; 0.0 if memory is too short."""
        try:
            return matmul_flops_s(self.device, self.case.dtype)
        except torch.OutOfMemoryError:  # three more matrices do not fit beside the model
            return 0.0

    def describe(self) -> dict[str, str]:
        """Returns versions and switches for the fairness ledger."""
        return {
            "torch": torch.__version__,
            "backend": "none",
            "threads_per_device": str(torch.get_num_threads()),
            "onednn": switch(torch.backends.mkldnn.is_available()),
            # A CPU has no TF32, whatever PyTorch's switch says.
            "tf32": switch(self.device.type == "cuda" and found.tf32_products(self.device)),
            "determinism": switch(torch.are_deterministic_algorithms_enabled()),
            "dtype": found.number_format(self.case.dtype, self.modules(), self.device),
            "mode": found.mode(),
        } | describe_precision(self.case.dtype) | (
            {"event_loops": self.event_loops} if self.event_loops else {}
        ) | ({"attention": self.attention} if self.attention else {})


@contextmanager
def _silent(session: Measured) -> Iterator[None]:
    """Sets ``session.silent`` for as long as the context lasts."""
    session.silent = True
    try:
        yield
    finally:
        session.silent = False
