"""Measures Horovod's transport under the torch engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import horovod.torch as hvd
import torch

from adapters.horovod.training.common import HorovodLink, ProcessSets, join
from adapters.pytorch.training.single import open_device
from suite.contract.case import Case, Rank
from suite.contract.sweep import ELEMENT_BYTES, Call, Interval
from suite.contract.threads import native_threads


def open_engine(case: Case, rank: Rank) -> TorchEngineLink:
    """Joins the group and returns the link session of this rank."""
    device = open_device(case, rank)
    sets = ProcessSets(hvd, rank.processes, [(0, 1)])
    before = native_threads()
    join(hvd, sets, case, rank)
    started = native_threads() - before
    return TorchEngineLink(case, rank, device, sets.of((0, 1)), started)


class TorchEngineLink(HorovodLink):
    """Makes calls with tensors of zeros."""

    def __init__(
        self, case: Case, rank: Rank, device: torch.device, pair: Any, started: Collection[int]
    ) -> None:
        super().__init__(case, rank, hvd, started)
        self.device, self.pair = device, pair

    def barrier(self) -> None:
        """Waits until every rank has called it."""
        hvd.barrier()

    def agree(self, ready: bool) -> bool:
        """Returns whether every rank is ready; every rank must call it."""
        return bool(hvd.allreduce(torch.tensor(int(ready)), op=hvd.Min, name="agree"))

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """Prepares a call of a collective.

        Args:
            Kind: The collective, such as ``all_reduce``.
            payload_bytes: The bytes of the whole tensor; of an all-gather, those of its result.

        Returns:
            A function that makes the call once and returns when it began and ended; it does nothing
            on ranks that do not take part.
        """
        if self.rank.index >= self.participants(kind):
            return lambda: ()
        elements = payload_bytes // ELEMENT_BYTES
        if kind == "all_gather":
            elements //= self.rank.processes
        tensor = torch.empty(elements, device=self.device).zero_()
        name = f"{kind}.{payload_bytes}"
        issue: dict[str, Callable[[], Any]] = {
            "all_reduce": lambda: hvd.allreduce_(tensor, op=hvd.Sum, name=name),
            "all_gather": lambda: hvd.allgather(tensor, name=name),
            "reduce_scatter": lambda: hvd.reducescatter(tensor, op=hvd.Sum, name=name),
            "broadcast": lambda: hvd.broadcast_(tensor, 0, name=name, process_set=self.pair),
        }
        return lambda: self._timed(issue[kind])

    def _timed(self, issue: Callable[[], Any]) -> list[Interval]:
        """Times a call; Horovod's synchronous calls return once the host can read the result."""
        self._synchronize()
        start = time.perf_counter()
        issue()
        self._synchronize()
        return [(0, start, time.perf_counter())]

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def close(self) -> None:
        """Leaves the group once every rank is ready to."""
        hvd.barrier()
        hvd.shutdown()
