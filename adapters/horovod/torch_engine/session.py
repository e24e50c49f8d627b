"""Opens a case of the torch engine in a rank."""

from __future__ import annotations

import threading
import time
from typing import Any

import horovod.torch as hvd
import torch

from adapters.horovod.common import ledger, neighbour_sets, new_sets
from adapters.pytorch.models.training import Training, open_device
from suite.spec.adapter import CommEvent, Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


def open_engine(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the group and builds the strategy's session."""
    device = open_device(case, rank)
    sets = neighbour_sets(hvd, rank.processes) if case.strategy == "inter_layer" else []
    hvd.init(process_sets=new_sets(hvd, sets))
    session = _session_class(case.strategy)
    session.neighbours = sets
    return session(case, rank, weights, inputs, device)


def _session_class(strategy: str) -> type[HorovodSession]:
    if strategy == "data":
        from adapters.horovod.torch_engine.data import DataSession

        return DataSession
    if strategy == "intra_layer":
        from adapters.horovod.torch_engine.intra_layer import IntraLayerSession

        return IntraLayerSession
    if strategy == "inter_layer":
        from adapters.horovod.torch_engine.inter_layer import InterLayerSession

        return InterLayerSession
    return HorovodSession


class HorovodSession(Training):
    """A rank of a Horovod job; by itself the single strategy."""

    neighbours: list[Any] = []

    def describe(self) -> dict[str, str]:
        return super().describe() | ledger(self.case.strategy == "inter_layer")

    def close(self) -> None:
        # A rank that shuts down takes the others' last collective with it.
        hvd.barrier()
        hvd.shutdown()


class Watch:
    """Stamps the end of asynchronous operations: Horovod has no completion callback.

    A thread polls the handles; only the timed pass uses it.
    """

    def __init__(self) -> None:
        self._open: list[tuple[int, int, float]] = []
        self._done: list[CommEvent] = []
        self._running = False

    def add(self, handle: int, tensor: torch.Tensor) -> None:
        """A handle just issued for ``tensor``."""
        if self._running:
            size = tensor.numel() * tensor.element_size()
            self._open.append((handle, size, time.perf_counter()))

    def start(self) -> None:
        self._open, self._done, self._running = [], [], True
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def stop(self) -> list[CommEvent]:
        """Events in the order of issue."""
        self._running = False
        self._thread.join()
        return sorted(self._done, key=lambda event: event.start_s)

    def _poll(self) -> None:
        while self._running or self._open:
            for item in list(self._open):
                handle, size, start = item
                if _finished(handle):
                    event = CommEvent("all_reduce", size, start, time.perf_counter())
                    self._done.append(event)
                    self._open.remove(item)
            time.sleep(5e-5)


def _finished(handle: int) -> bool:
    try:
        return bool(hvd.poll(handle))
    except ValueError:  # synchronised and released between two polls
        return True
