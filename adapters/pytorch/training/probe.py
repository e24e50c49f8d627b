"""Marks taken in a timed step: when things happened, and how far computing had come by then.

On a CPU device a mark is a pair of clocks: the host's, and the CPU time of the thread that trains.
That thread does not run while it waits, so its CPU time is the compute clock; it can be read from
any other thread, such as one that completes a collective. On a GPU a mark is a CUDA event on the
current stream, placed on the host's clock by one event recorded at a known time.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import torch

from suite.contract.adapter import CommEvent, StepTrace

NO_CLOCK = "T_i and exposed T_comm: this system has no CPU clock of a single thread"


@dataclass(frozen=True)
class _Interval:
    kind: str
    payload_bytes: int
    start: Any
    end: Any
    key: str
    role: str


class Probe:
    """One timed step of this rank. Made in the thread that trains; marks may come from any."""

    def __init__(self, device: torch.device) -> None:
        self._gpu = device if device.type == "cuda" else None
        self._thread = _cpu_clock()
        self._intervals: list[_Interval] = []
        self._points: list[tuple[float, float]] = []
        self._numbers: dict[str, int] = {}
        self._paused: float | None = None
        self._spun = 0.0
        if self._gpu:
            torch.cuda.synchronize(self._gpu)
        self._base, self._began = self.mark(), time.perf_counter()

    def mark(self) -> Any:
        """Now: seconds on the host's clock, or a CUDA event on the current stream."""
        if self._gpu:
            event = torch.cuda.Event(enable_timing=True)
            # Not of the current device: a thread that completes collectives has its own.
            event.record(torch.cuda.current_stream(self._gpu))
            return event
        return self.now()

    def now(self) -> float:
        """What the host sees now, on its clock, such as that a polled operation has ended."""
        now = time.perf_counter()
        if self._thread is not None:
            cpu = time.clock_gettime(self._thread) if self._paused is None else self._paused
            self._points.append((now, cpu - self._spun))
        return now

    def pause(self) -> None:
        """Stops the compute clock: a wait that spins burns CPU time and computes nothing."""
        if self._thread is not None and self._paused is None:
            self._paused = time.clock_gettime(self._thread)

    def resume(self) -> None:
        """The wait is over."""
        if self._thread is not None and self._paused is not None:
            self._spun += time.clock_gettime(self._thread) - self._paused
            self._paused = None

    def number(self, name: str) -> str:
        """``name#0``, ``name#1``, … : communications that every device issues in one order."""
        count = self._numbers[name] = self._numbers.get(name, -1) + 1
        return f"{name}#{count}"

    def add(
        self, kind: str, tensor: torch.Tensor, start: Any, end: Any, key: str, role: str = "member"
    ) -> None:
        """A communication of ``tensor`` between two marks."""
        size = tensor.numel() * tensor.element_size()
        self._intervals.append(_Interval(kind, size, start, end, key, role))

    def finish(self) -> StepTrace:
        """Call when the step's work is finished."""
        self.mark()
        seconds = time.perf_counter() - self._began
        events = tuple(
            CommEvent(one.kind, one.payload_bytes, self._seconds(one.start),
                      self._seconds(one.end), key=one.key, role=one.role)
            for one in self._intervals
        )
        if self._gpu:
            return StepTrace(events, seconds=seconds)
        if self._thread is None:
            return StepTrace(events, missing=NO_CLOCK, seconds=seconds)
        return StepTrace(events, (tuple(sorted(self._points)),), seconds=seconds)

    def _seconds(self, mark: Any) -> float:
        if isinstance(mark, float):
            return mark
        return self._began + float(self._base.elapsed_time(mark)) * 1e-3


def _cpu_clock() -> int | None:
    if not hasattr(time, "pthread_getcpuclockid"):
        return None
    return time.pthread_getcpuclockid(threading.get_ident())
