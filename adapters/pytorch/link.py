"""Measures the transport of ``torch.distributed``: gloo between CPUs, NCCL between GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.distributed as dist

from adapters.pytorch.splits.group import join_group
from adapters.pytorch.training.single import open_device
from suite.contract.case import Case, Rank
from suite.contract.sweep import ELEMENT_BYTES, Call, Interval
from suite.contract.threads import ScheduledLoops, native_threads, preferred_event_loops


def open_link(case: Case, rank: Rank) -> TorchLink:
    """Joins the group and returns the transport of this rank."""
    device = open_device(case, rank)
    before = native_threads()
    join_group(rank, device)
    started = native_threads() - before
    return TorchLink(case, rank, device, started)


class TorchLink(ScheduledLoops):
    """Makes calls on tensors of zeros; a point-to-point transfer goes from rank 0 to rank 1."""

    def __init__(
        self, case: Case, rank: Rank, device: torch.device, started: Collection[int]
    ) -> None:
        super().__init__(started, preferred_event_loops(case.device))
        self.rank, self.device, self.ranks = rank, device, rank.processes
        self.backend = dist.get_backend()
        self.transport = f"tcp:{case.interface}" if device.type == "cpu" else "cuda"
        self.buffers: dict[str, torch.Tensor] = {}

    def participants(self, kind: str) -> int:
        """Returns how many devices take part in a call."""
        return 2 if kind == "send_recv" else self.ranks

    def barrier(self) -> None:
        """Returns once every rank has called it."""
        dist.barrier()

    def agree(self, ready: bool) -> bool:
        """Returns True if ``ready`` is true on every rank; a collective call."""
        verdict = torch.tensor(int(ready), device=self.device)
        dist.all_reduce(verdict, dist.ReduceOp.MIN)
        return bool(verdict)

    def prepare(self, kind: str, payload_bytes: int) -> Call:
        """Returns a function that makes one call of that collective and payload, and times it."""
        if self.rank.index >= self.participants(kind):
            return lambda: ()
        issue = getattr(self, f"_{kind}")(payload_bytes // ELEMENT_BYTES)
        return lambda: self._timed(issue)

    def _timed(self, issue: Callable[[], Any]) -> list[Interval]:
        self._synchronize()
        start = time.perf_counter()
        issue()
        self._synchronize()
        return [(0, start, time.perf_counter())]

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _zeros(self, name: str, elements: int) -> torch.Tensor:
        """Returns a view of one buffer for each role.

        The buffer is as large as its largest call, and is written once so that its pages exist.
        """
        held = self.buffers.get(name)
        if held is None or held.numel() < elements:
            held = torch.empty(elements, device=self.device).zero_()
            self.buffers[name] = held
        return held[:elements]

    def _all_reduce(self, elements: int) -> Callable[[], Any]:
        tensor = self._zeros("whole", elements)
        return lambda: dist.all_reduce(tensor)

    def _all_gather(self, elements: int) -> Callable[[], Any]:
        whole, share = self._whole_and_share(elements)
        return lambda: dist.all_gather_into_tensor(whole, share)

    def _reduce_scatter(self, elements: int) -> Callable[[], Any]:
        whole, share = self._whole_and_share(elements)
        return lambda: dist.reduce_scatter_tensor(share, whole)

    def _whole_and_share(self, elements: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._zeros("whole", elements), self._zeros("share", elements // self.ranks)

    def _broadcast(self, elements: int) -> Callable[[], Any]:
        tensor = self._zeros("whole", elements)
        return lambda: dist.broadcast(tensor, 0)

    def _send_recv(self, elements: int) -> Callable[[], Any]:
        tensor = self._zeros("whole", elements)
        if self.rank.index == 0:
            return lambda: dist.send(tensor, 1)
        return lambda: dist.recv(tensor, 0)

    def close(self) -> None:
        """Leaves the process group once every rank is ready to."""
        dist.barrier()
        dist.destroy_process_group()
