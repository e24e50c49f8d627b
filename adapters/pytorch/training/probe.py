"""The probe of a timed step: it marks when things happen and how long the device has computed.

On a CPU a mark reads two clocks: the host's clock, and the CPU time of the thread that trains. That
thread does not run while it waits, so its CPU time serves as the compute clock, and any other
thread can read it, such as the thread that completes a collective. On a GPU a mark is a CUDA event
on the current stream; an event recorded at a known time places all of them on the host's clock.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import torch

from suite.contract.adapter import CommEvent, StepTrace
from suite.contract.threads import RunQueueClock

NO_CLOCK = "T_i and exposed T_comm: this system has no CPU clock of a single thread"


@dataclass(frozen=True)
class _Interval:
    """A communication between two marks."""

    kind: str
    payload_bytes: int
    start: Any
    end: Any
    key: str
    role: str


class Probe:
    """Records the communications of a timed step of this rank.

    Create it in the thread that trains; any thread may add marks.

    Args:
        device: The rank's device.
        queue: How long the threads that communicate have waited for a core, read at every mark.
    """

    def __init__(self, device: torch.device, queue: RunQueueClock | None = None) -> None:
        self._gpu = device if device.type == "cuda" else None
        self._thread = _cpu_clock()
        self._intervals: list[_Interval] = []
        self._queue = queue if queue and queue.tells else None
        self._points: list[tuple[float, float]] = []
        self._queued: list[tuple[float, float]] = []
        self._trainer = threading.get_native_id()
        self._own_queue = RunQueueClock([self._trainer] if self._queue else [])
        self._own_queued: dict[float, float] = {}
        self._woken: list[tuple[float, float]] = []
        self._numbers: dict[str, int] = {}
        self._paused: float | None = None
        self._spun = 0.0
        if self._gpu:
            torch.cuda.synchronize(self._gpu)
        self._base, self._began = self.mark(), time.perf_counter()

    def mark(self) -> Any:
        """Marks this moment: host seconds on a CPU, a CUDA event on the current stream on a GPU."""
        if self._gpu:
            event = torch.cuda.Event(enable_timing=True)
            # The device is named because the thread that completes collectives has a current
            # device of its own.
            event.record(torch.cuda.current_stream(self._gpu))
            return event
        return self.now()

    def now(self) -> float:
        """Marks this moment on the host's clock, such as when polling shows an operation ended.

        Returns:
            Seconds of ``time.perf_counter``.
        """
        now = time.perf_counter()
        if self._thread is not None:
            cpu = time.clock_gettime(self._thread) if self._paused is None else self._paused
            self._points.append((now, cpu - self._spun))
        if self._queue is not None:
            self._queued.append((now, self._queue.seconds()))
            if threading.get_native_id() == self._trainer:
                self._own_queued[now] = self._own_queue.seconds()
        return now

    def pause(self) -> None:
        """Stops the compute clock while the thread spins: that burns CPU time without computing."""
        if self._thread is not None and self._paused is None:
            self._paused = time.clock_gettime(self._thread)

    def resume(self) -> None:
        """Lets the compute clock run again after ``pause``."""
        if self._thread is not None and self._paused is not None:
            self._spun += time.clock_gettime(self._thread) - self._paused
            self._paused = None

    def number(self, name: str) -> str:
        """Returns ``name#0``, ``name#1`` and so on, one number more at each call.

        All ranks issue such communications in the same order, so the keys agree between them.
        """
        count = self._numbers[name] = self._numbers.get(name, -1) + 1
        return f"{name}#{count}"

    def add(
        self, kind: str, tensor: torch.Tensor, start: Any, end: Any, key: str, role: str = "member"
    ) -> None:
        """Records a communication.

        Args:
            kind: all_reduce, all_gather, reduce_scatter, broadcast or send_recv.
            tensor: The tensor that is communicated; its bytes are the payload.
            start: The mark when this rank was ready for it.
            end: The mark when the result could be used.
            key: Name of the communication, the same on all ranks that take part.
            role: ``member`` of a collective, ``send`` or ``recv``.
        """
        if start in self._own_queued and end in self._own_queued:
            # It waited from start to end, so what it waited for a core is part of this too.
            self._woken.append((end, self._own_queued[end] - self._own_queued[start]))
        size = tensor.numel() * tensor.element_size()
        self._intervals.append(_Interval(kind, size, start, end, key, role))

    def finish(self) -> StepTrace:
        """Ends the recording; call it once the step's work is finished.

        Returns:
            The communications and the compute clock, in seconds.
        """
        self.mark()
        seconds = time.perf_counter() - self._began
        events = tuple(
            CommEvent(interval.kind, interval.payload_bytes, self._seconds(interval.start),
                      self._seconds(interval.end), key=interval.key, role=interval.role)
            for interval in self._intervals
        )
        if self._gpu:
            return StepTrace(events, seconds=seconds)
        if self._thread is None:
            return StepTrace(events, missing=NO_CLOCK, seconds=seconds)
        clock = tuple(sorted(self._points))
        return StepTrace(events, (clock,), seconds=seconds, queued=self._waited_for_cores())

    def _waited_for_cores(self) -> tuple[tuple[float, float], ...]:
        """Points of the communicating threads' clock, with the trainer's own waits at their ends.

        While it computes beside a communication, a core that it waits for is none of its delays.
        """
        return tuple(
            (now, seconds + sum(own for end, own in self._woken if end <= now))
            for now, seconds in sorted(self._queued)
        )

    def _seconds(self, mark: Any) -> float:
        """Places a mark on the host's clock."""
        if isinstance(mark, float):
            return mark
        return self._began + float(self._base.elapsed_time(mark)) * 1e-3


def _cpu_clock() -> int | None:
    """Returns the CPU clock of this thread, or None on a system without such clocks."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return None
    return time.pthread_getcpuclockid(threading.get_ident())
