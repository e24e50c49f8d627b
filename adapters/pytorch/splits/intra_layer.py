"""Intra-layer: ``parallelize_module`` with column and row styles on a device mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from adapters.pytorch.splits.shards import torch_axes
from adapters.pytorch.splits.styles import Entrance, OwnInputs, OwnPart
from adapters.pytorch.training.number_format import lower_input
from suite.contract.workloads import Branch, Weights

Collective = Callable[..., torch.Tensor]
Plan = dict[str, ParallelStyle]


class IntraLayerSession(GroupSession):
    """Every rank computes the whole batch on its columns; replicated parts are computed by all."""

    def build(self, weights: Weights) -> nn.Module:
        """Builds what this rank holds of the model."""
        self.axes, self.shards = torch_axes(self.spec), self.mesh["intra_layer"]
        model = super().build(weights)
        for branch in self.spec.branches():
            if not _holds(model, torch_path(branch.row)):  # another stage of a pipeline does
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
        """A fused update takes DTensors or plain tensors, not some of each."""
        kinds: dict[type, list[nn.Parameter]] = {}
        for parameter in self.model.parameters():
            kinds.setdefault(type(parameter), []).append(parameter)
        return [{"params": alike} for alike in kinds.values()]

    def _dtensors(self, branch: Branch) -> bool:
        """Whether PyTorch's styles do: for linear layers, whose parameters become DTensors.

        DDP reduces plain tensors only.
        """
        linear = not branch.channels and not self._convolves(branch.row)
        return linear and "data" not in self.case.axes.names

    def _convolves(self, layer: str) -> bool:
        return len(self.spec.shapes()[f"{layer}.weight"]) == 4

    def _own_plans(self, branch: Branch) -> list[Plan]:
        """Parts of the layers, and where these are entered."""
        parts, rows, entered = [*branch.columns, *branch.channels], [branch.row], [branch.module]
        if branch.middle:
            parts.append(branch.middle.column)
            rows.append(branch.middle.row)
            entered.append(branch.middle.column)
        plan: Plan = {name: OwnPart(self.axes[torch_path(name)]) for name in parts}
        plan |= {name: OwnInputs(self.axes[torch_path(name)], self._all_reduce) for name in rows}
        return [plan, {name: Entrance(self._all_reduce) for name in entered}]

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """In place, and finished when it returns: what follows needs it at once."""
        if self.silent:
            return tensor
        start = self.probe.mark() if self.probe else None
        dist.all_reduce(tensor, group=self.group("intra_layer"))
        if self.probe:
            key = self.probe.number(self.key("intra_layer", "all_reduce"))
            self.probe.add("all_reduce", tensor, start, self.probe.mark(), key)
        return tensor

    def whole(self, name: str, part: torch.Tensor) -> torch.Tensor:
        """The whole tensor from the parts that the ranks hold."""
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
        """From issue to finish, by waiting at once: these collectives return before they end."""

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
    """What several columns share enters the mesh once: their backward all-reduces become one."""
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
    """DTensor issues the all-reduces of these styles through one function of this module."""
    original = funcol.all_reduce
    funcol.all_reduce = replacement("all_reduce", original)
    try:
        yield
    finally:
        funcol.all_reduce = original
