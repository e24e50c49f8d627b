"""What all ways of splitting share on the torch engine."""

from __future__ import annotations

import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import horovod.torch as hvd
import numpy as np
import torch

from adapters.horovod.training.common import (
    OnMesh,
    gather_arrays,
    ledger,
    whole_arrays,
)
from adapters.horovod.training.group_timeline import GroupTimeline
from adapters.pytorch.training.balanced import Gathered
from adapters.pytorch.training.probe import Probe
from adapters.pytorch.training.single import Training
from suite.contract.adapter import StepTrace
from suite.contract.workloads import Weights

POLL_SECONDS = 2.5e-4


class HorovodSession(OnMesh, Training):
    """A rank of a Horovod job; by itself it is the session of the single strategy."""

    def describe(self) -> dict[str, str]:
        """Returns the fairness ledger, with what Horovod adds to it."""
        return super().describe() | ledger(self.case, hvd, self.settings)

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        """Returns whole arrays in their canonical layout."""
        held = super().full(tensors)
        return whole_arrays(self.spec, self.case.axes, self.gather(held)) if self.split else held

    def reduce_gradients(self) -> None:
        """Reduces gradients over replicas.

        A pipeline calls it once in a step, after its last backward pass.
        """

    def wait(self, handle: int) -> torch.Tensor:
        """Waits for an operation and returns its tensor.

        ``hvd.synchronize`` spins while it waits, so the compute clock of a timed step is paused.
        """
        if self.probe is None:
            return hvd.synchronize(handle)
        self.probe.pause()
        try:
            return hvd.synchronize(handle)
        finally:
            self.probe.resume()

    @cached_property
    def group_timeline(self) -> GroupTimeline:
        """Horovod's timeline of the group that this rank communicates in."""
        return GroupTimeline(hvd, self.case, self.rank, hvd.barrier)

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """Runs a step under the profiler, with Horovod's timeline and a probe where it tells all.

        Args:
            index: The number of the global batch.
            timeline: The file to keep the profiler's timeline in, if any.
        """
        if not self.group_timeline.tells:
            return super().traced_step(index, timeline)
        if self.group_timeline.enter():
            self.step(index)
        with self.group_timeline.recording(), self.watched():
            probe = self.probe = Probe(self.device)
            trace = super().traced_step(index, timeline)
        self.probe = None
        offset = time.perf_counter() - time.time()
        return self.group_timeline.told(trace, probe.finish().events, offset)

    def silent_step(self, index: int) -> None:
        """Runs a step with communication switched off, and without the timeline's thread."""
        self.group_timeline.leave()
        super().silent_step(index)

    def gather(self, held: Weights) -> list[Weights]:
        """Returns the arrays of every rank, in the order of ranks."""
        def flat(array: np.ndarray) -> np.ndarray:
            return np.asarray(hvd.allgather(torch.from_numpy(array), name="gather"))

        return gather_arrays(held, hvd.allgather_object, flat)

    def agree(self, ready: bool) -> bool:
        """Returns whether every rank is ready; every rank must call it."""
        return bool(hvd.allreduce(torch.tensor(int(ready)), op=hvd.Min, name="agree"))

    def exchange(self, told: Any) -> list[Any]:
        """Returns what every rank tells, in the order of the ranks; every rank must call it."""
        everyone: list[Any] = hvd.allgather_object(told)
        return everyone

    def close(self) -> None:
        """Leaves the group once every rank is ready to."""
        # A rank that shuts down earlier would break the last collective of the others.
        hvd.barrier()
        hvd.shutdown()


def gather_figures(mine: list[float], among: Any) -> Gathered:
    """Begins to gather figures of every rank of a process set.

    Args:
        mine: Figures of this rank; every rank has as many.
        among: The process set.

    Returns:
        A function that waits for them and returns them by rank.
    """
    sent = torch.tensor([mine], dtype=torch.float64)
    handle = hvd.allgather_async(sent, name="busy", process_set=among)

    def wait() -> list[list[float]]:
        found: list[list[float]] = hvd.synchronize(handle).tolist()
        return found

    return wait


class Watch:
    """Records when asynchronous operations end, for which Horovod has no callback.

    During the timed pass a thread polls the handles, so recorded ends are late by at most
    ``POLL_SECONDS``.
    """

    def __init__(self, session: HorovodSession) -> None:
        self._session = session
        self._open: dict[int, tuple[torch.Tensor, str, Any]] = {}
        self._running = True
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._running = False
        self._thread.join()
        self._close_finished()

    def add(self, handle: int, tensor: torch.Tensor, name: str) -> None:
        """Watches an operation that was just issued.

        Args:
            handle: Horovod's handle of the operation.
            tensor: The tensor that it reduces.
            name: The key of the communication, which is equal on all ranks.
        """
        if self._session.probe:
            self._open[handle] = tensor, name, self._session.probe.mark()

    def _poll(self) -> None:
        while self._running:
            self._close_finished()
            time.sleep(POLL_SECONDS)

    def _close_finished(self) -> None:
        probe = self._session.probe
        if probe is None:
            return
        for handle in [handle for handle in list(self._open) if _finished(handle)]:
            tensor, name, start = self._open.pop(handle)
            probe.add("all_reduce", tensor, start, probe.now(), name)


def _finished(handle: int) -> bool:
    try:
        return bool(hvd.poll(handle))
    except ValueError:  # another thread has synchronised and released it since the last poll
        return True
