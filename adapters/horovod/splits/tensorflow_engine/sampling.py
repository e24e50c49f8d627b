"""Reads the compute clock in a thread while a graph runs, which Python cannot interrupt."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from adapters.horovod.training.common import ComputeClock
from suite.contract.threads import RunQueueClock

PERIOD_S = 0.001


class SampledClock:
    """Samples the compute clock every millisecond during a step, and at its beginning and end.

    Operations run in TensorFlow's threads, and an operation that waits for a collective uses no CPU
    time. So the CPU time of the process, without Horovod's threads and without the sampling thread,
    tells how far computing has come.

    Attributes:
        Points: Epoch time and compute seconds of each sample.
        queued: Epoch time, and for how many seconds Horovod's threads had waited for a core; empty
            if the kernel does not tell.
    """

    def __init__(self, clock: ComputeClock) -> None:
        self._clock, self._sampling_s = clock, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.points: list[tuple[float, float]] = []
        self.queued: list[tuple[float, float]] = []
        self._queue = RunQueueClock(clock.communicating)

    def __enter__(self) -> SampledClock:
        self._add()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._add()

    def _sample(self) -> None:
        while not self._over.wait(PERIOD_S):
            self._sampling_s = time.thread_time()
            self._add()
        self._sampling_s = time.thread_time()

    def _add(self) -> None:
        now, seconds = time.time(), self._clock.seconds() - self._sampling_s
        if self.points:
            seconds = max(seconds, self.points[-1][1])
        self.points.append((now, seconds))
        if self._queue.tells:
            self.queued.append((now, self._queue.seconds()))
