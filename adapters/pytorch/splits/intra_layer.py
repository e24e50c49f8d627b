"""Intra-layer: ``parallelize_module`` with column and row styles on a device mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import _functional_collectives as funcol
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    PrepareModuleInput,
    RowwiseParallel,
    parallelize_module,
)

from adapters.pytorch.models import torch_name, torch_path
from adapters.pytorch.splits.group import GroupSession
from adapters.pytorch.splits.opaque import opaque
from adapters.pytorch.splits.shards import Reduce, torch_axes
from adapters.pytorch.splits.styles import Entrance, OwnInputs, OwnPart
from adapters.pytorch.training.number_format import lower_input
from suite.contract.workloads import Branch, Weights

Collective = Callable[..., torch.Tensor]
Plan = dict[str, ParallelStyle]


class IntraLayerSession(GroupSession):
    """Every rank computes the whole batch on its columns; all ranks compute what is replicated."""

    def build(self, weights: Weights) -> nn.Module:
        """Builds the model and shards its branches over the ranks."""
        self.axes, self.shards = torch_axes(self.spec), self.mesh["intra_layer"]
        model = super().build(weights)
        for branch in self.spec.branches():
            if not _holds(model, torch_path(branch.row)):  # another pipeline stage holds it
                continue
            if self.low:
                lower_input(model.get_submodule(torch_path(branch.module)))
            plans = _pytorch_plans if self._dtensors(branch) else self._own_plans
            for plan in plans(branch):
                parallelize_module(
                    model, self.shards, {torch_path(name): style for name, style in plan.items()}
                )
        return model

    def trained(self) -> list[dict[str, Any]]:
        """Groups the parameters by type, because a fused update takes DTensors or plain tensors.

        It refuses some of each in one group.
        """
        kinds: dict[type, list[nn.Parameter]] = {}
        for parameter in self.model.parameters():
            kinds.setdefault(type(parameter), []).append(parameter)
        return [{"params": alike} for alike in kinds.values()]

    def _dtensors(self, branch: Branch) -> bool:
        """Returns whether PyTorch's own styles can split a branch.

        They can split linear layers, whose parameters become DTensors. DDP reduces only plain
        tensors, so together with data parallel the suite's own styles are used; and so they are in
        a compiled model, whose graph would hold a DTensor's collectives out of reach of probes.
        """
        linear = not branch.channels and not self._convolves(branch.row)
        plain = "data" in self.case.axes.names or self.case.mode == "compiled"
        return linear and not plain

    def _convolves(self, layer: str) -> bool:
        return len(self.spec.shapes()[f"{layer}.weight"]) == 4

    def _own_plans(self, branch: Branch) -> list[Plan]:
        """Returns the suite's own styles for the layers of a branch and its entrances."""
        parts, rows, entered = [*branch.columns, *branch.channels], [branch.row], [branch.module]
        if branch.middle:
            parts.append(branch.middle.column)
            rows.append(branch.middle.row)
            entered.append(branch.middle.column)
        plan: Plan = {name: OwnPart(self.axes[torch_path(name)]) for name in parts}
        plan |= {name: OwnInputs(self.axes[torch_path(name)], self._reduce) for name in rows}
        return [plan, {name: Entrance(self._reduce) for name in entered}]

    @cached_property
    def _reduce(self) -> Reduce:
        if self.case.mode == "compiled":
            return opaque("intra_layer", self._all_reduce)
        return self._all_reduce

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Adds a tensor up in place, and waits: what follows needs the sum at once."""
        if self.silent:
            return tensor
        start = self.probe.mark() if self.probe else None
        dist.all_reduce(tensor, group=self.group("intra_layer"))
        if self.probe:
            key = self.probe.number(self.key("intra_layer", "all_reduce"))
            self.probe.add("all_reduce", tensor, start, self.probe.mark(), key)
        return tensor

    def whole(self, name: str, part: torch.Tensor) -> torch.Tensor:
        """Returns the whole tensor from the parts that the ranks hold.

        Args:
            name: Canonical name of the parameter.
            part: This rank's part of it, or of its gradient.
        """
        path, _, leaf = torch_name(name).rpartition(".")
        axis = self.axes.get(path, {}).get(leaf)
        if axis is not None and not isinstance(part, DTensor):
            part = part.contiguous()
            part = DTensor.from_local(part, self.shards, [Shard(axis)], run_check=False)
        return part.full_tensor() if isinstance(part, DTensor) else part

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Attaches the probes that see every communication of a step, and detaches them again."""
        with super().watched(), _replaced(self._stamped):
            yield

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Switches every communication of a step off, and on again."""
        with super().silenced(), _replaced(lambda kind, original: _identity):
            yield

    def _stamped(self, kind: str, original: Collective) -> Collective:
        """Returns a collective that marks when it was issued and when it finished.

        It waits at once, because these collectives return before they end.
        """

        def collective(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
            probe = self.probe
            if probe is None:
                return original(tensor, *arguments, **named)
            start = probe.mark()
            result = funcol.wait_tensor(original(tensor, *arguments, **named))
            key = probe.number(self.key("intra_layer", kind))
            probe.add(kind, tensor, start, probe.mark(), key)
            return result

        return collective


def _pytorch_plans(branch: Branch) -> list[Plan]:
    """Returns PyTorch's own styles for a branch.

    An input that several columns share enters the mesh once, so that their backward all-reduces
    become one.
    """
    plan: Plan = {name: ColwiseParallel() for name in branch.columns}
    plan[branch.row] = RowwiseParallel()
    if branch.module in branch.columns:
        return [plan]
    shared = PrepareModuleInput(input_layouts=Replicate(), desired_input_layouts=Replicate())
    return [plan | {branch.module: shared}]


def _holds(model: nn.Module, path: str) -> bool:
    return any(name == path for name, _ in model.named_modules())


def _identity(tensor: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    return tensor


@contextmanager
def _replaced(replacement: Callable[[str, Collective], Collective]) -> Iterator[None]:
    """Replaces the one function through which DTensor issues the all-reduces of these styles."""
    original = funcol.all_reduce
    funcol.all_reduce = replacement("all_reduce", original)
    try:
        yield
    finally:
        funcol.all_reduce = original
