"""Intra-layer: ``parallelize_module`` with column and row styles on a device mesh."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed import _functional_collectives as funcol
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleOutput,
    RowwiseParallel,
    parallelize_module,
)

from adapters.pytorch.models import torch_name
from adapters.pytorch.session import GroupSession
from suite.spec.adapter import CommEvent, StepTrace
from suite.spec.strategies import shard_axes
from suite.spec.workloads import GptSpec, Weights


class IntraLayerSession(GroupSession):
    """Every rank computes the whole batch on its columns; replicated parts are computed by all."""

    def build(self, weights: Weights) -> nn.Module:
        mesh = init_device_mesh(self.device.type, (self.case.devices,))
        return parallelize_module(super().build(weights), mesh, self._plan())

    def _plan(self) -> dict[str, ParallelStyle]:
        plan: dict[str, ParallelStyle] = {}
        for name, axis in shard_axes(self.spec).items():
            if name.endswith(".weight"):
                module = torch_name(name).removesuffix(".weight")
                plan[module] = ColwiseParallel() if axis == 1 else RowwiseParallel()
        if isinstance(self.spec, GptSpec):
            # Query, key and value share one input: entering the mesh once makes their three
            # backward all-reduces one.
            shared = PrepareModuleOutput(
                output_layouts=Replicate(), desired_output_layouts=Replicate(),
                use_local_output=False,
            )
            plan |= {f"units.{index}.norm1": shared for index in range(self.spec.blocks)}
        return plan

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        whole = {
            name: tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            for name, tensor in tensors.items()
        }
        return super().full(whole)

    def timed_step(self, index: int) -> StepTrace:
        with _stamped_waits(self.events_sink):
            return super().timed_step(index)

    def events_sink(self, event: CommEvent) -> None:
        self.events.append(event)


@contextmanager
def _stamped_waits(sink: Callable[[CommEvent], None]) -> Iterator[None]:
    """Stamps DTensor's collectives from issue to finish, by waiting at once."""
    original = funcol.all_reduce

    def stamped(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
        began = time.perf_counter()
        result = funcol.wait_tensor(original(tensor, *arguments, **named))
        size = tensor.numel() * tensor.element_size()
        sink(CommEvent("all_reduce", size, began, time.perf_counter()))
        return result

    funcol.all_reduce = stamped  # type: ignore[assignment]
    try:
        yield
    finally:
        funcol.all_reduce = original
