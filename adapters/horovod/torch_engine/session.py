"""Opens a case of the torch engine in a rank."""

from __future__ import annotations

import threading
import time
from typing import Any

import horovod.torch as hvd
import numpy as np
import torch

from adapters.horovod.common import (
    OnMesh,
    ProcessSets,
    gather_arrays,
    join,
    ledger,
    shared_by,
    whole_arrays,
)
from adapters.pytorch.models.training import Training, open_device
from suite.spec.adapter import Inputs, Session
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights

POLL_SECONDS = 2.5e-4


def open_engine(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    """Joins the group and builds the strategy's session."""
    device = open_device(case, rank)
    sets = ProcessSets(hvd, rank.processes, shared_by(case))
    join(hvd, sets)
    session = _session_class(case)
    session.sets = sets
    return session(case, rank, weights, inputs, device)


def _session_class(case: Case) -> type[HorovodSession]:
    """The class of the strategy; of a combined one, what its axes' classes make together."""
    bases = tuple(_axis_class(axis) for axis in case.axes.names)
    if len(bases) > 1:
        return type("MeshSession", bases, {})
    return bases[0] if bases else HorovodSession


def _axis_class(axis: str) -> type[HorovodSession]:
    if axis == "data":
        from adapters.horovod.torch_engine.data import DataSession

        return DataSession
    if axis == "intra_layer":
        from adapters.horovod.torch_engine.intra_layer import IntraLayerSession

        return IntraLayerSession
    from adapters.horovod.torch_engine.inter_layer import InterLayerSession

    return InterLayerSession


class HorovodSession(OnMesh, Training):
    """A rank of a Horovod job; by itself the single strategy."""

    def describe(self) -> dict[str, str]:
        return super().describe() | ledger(self.case, hvd)

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        held = super().full(tensors)
        return whole_arrays(self.spec, self.case.axes, self.gather(held)) if self.split else held

    def reduce_gradients(self) -> None:
        """Called by a pipeline once a step, after its last backward pass: replicas reduce here."""

    def wait(self, handle: int) -> torch.Tensor:
        """``hvd.synchronize``, which spins: a timed step's compute clock stands still meanwhile."""
        if self.probe is None:
            return hvd.synchronize(handle)
        self.probe.pause()
        try:
            return hvd.synchronize(handle)
        finally:
            self.probe.resume()

    def gather(self, held: Weights) -> list[Weights]:
        """Every rank's arrays."""
        def flat(array: np.ndarray) -> np.ndarray:
            return np.asarray(hvd.allgather(torch.from_numpy(array), name="gather"))

        return gather_arrays(held, hvd.allgather_object, flat)

    def agree(self, ready: bool) -> bool:
        return bool(hvd.allreduce(torch.tensor(int(ready)), op=hvd.Min, name="agree"))

    def close(self) -> None:
        # A rank that shuts down takes the others' last collective with it.
        hvd.barrier()
        hvd.shutdown()


class Watch:
    """Marks the end of asynchronous operations: Horovod has no completion callback.

    A thread polls the handles, only in the timed pass; ends are late by ``POLL_SECONDS`` at most.
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
        """A handle just issued for ``tensor``."""
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
    except ValueError:  # synchronised and released between two polls
        return True
