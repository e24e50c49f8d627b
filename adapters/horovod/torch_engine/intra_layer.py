"""Intra-layer: autograd-aware collectives around column- and row-split layers."""

from __future__ import annotations

import time
from typing import Any

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.common import merge_shards, my_shard
from adapters.horovod.torch_engine.session import HorovodSession
from adapters.pytorch.models import build_model, to_torch, torch_name
from suite.spec.adapter import CommEvent, StepTrace
from suite.spec.strategies import shard_axes
from suite.spec.workloads import GptSpec, Weights


class _Probe:
    """Where the autograd functions leave their events; None outside the timed pass."""

    events: list[CommEvent] | None = None


def _sum(tensor: torch.Tensor, name: str) -> torch.Tensor:
    if _Probe.events is None:
        return hvd.synchronize(hvd.allreduce_async_(tensor.contiguous(), op=hvd.Sum, name=name))
    began = time.perf_counter()
    result = hvd.synchronize(hvd.allreduce_async_(tensor.contiguous(), op=hvd.Sum, name=name))
    size = tensor.numel() * tensor.element_size()
    _Probe.events.append(CommEvent("all_reduce", size, began, time.perf_counter()))
    return result


class Enter(torch.autograd.Function):
    """Identity forward, sum of the ranks' gradients backward ("f" of Shoeybi et al. 2019)."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, name: str) -> torch.Tensor:
        context.name = name
        return x.view_as(x)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _sum(gradients[0].clone(), context.name), None


class Merge(torch.autograd.Function):
    """Sum of the ranks' parts forward, identity backward ("g" of Shoeybi et al. 2019).

    Not ``hvd.allreduce``'s own gradient: it sums again, and every rank holds the whole gradient.
    """

    @staticmethod
    def forward(context: Any, part: torch.Tensor, name: str) -> torch.Tensor:
        return _sum(part, name)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


class RowLinear(nn.Module):
    """A linear layer of which this rank holds some input columns; the bias is added once."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, layer: nn.Module, name: str) -> None:
        super().__init__()
        self.name = name
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Merge.apply(nn.functional.linear(x, self.weight), self.name) + self.bias


class IntraLayerSession(HorovodSession):
    """Every rank computes the whole batch on its columns; replicated parts are computed by all."""

    def build(self, weights: Weights) -> nn.Module:
        model = build_model(self.spec, weights)
        for name, axis in shard_axes(self.spec).items():
            part = my_shard(
                self.spec, name, weights[name], self.rank.index, self.case.devices
            )
            path, _, leaf = torch_name(name).rpartition(".")
            layer = model.get_submodule(path)
            setattr(layer, leaf, nn.Parameter(to_torch(name, part)))
            if leaf == "weight" and axis == 0:
                parent, _, child = path.rpartition(".")
                setattr(model.get_submodule(parent), child, RowLinear(layer, path))
        self._add_entrances(model)
        return model.to(self.device, self.dtype)

    def _add_entrances(self, model: nn.Module) -> None:
        """One a branch: query, key and value share theirs behind the norm."""
        if isinstance(self.spec, GptSpec):
            for index in range(self.spec.blocks):
                for norm in ("norm1", "norm2"):
                    name = f"units.{index}.{norm}"
                    model.get_submodule(name).register_forward_hook(
                        lambda _module, _inputs, output, name=name: Enter.apply(output, name)
                    )
            return
        for name, axis in shard_axes(self.spec).items():
            if name.endswith("weight") and axis == 1:
                path = torch_name(name).removesuffix(".weight")
                model.get_submodule(path).register_forward_pre_hook(
                    lambda _module, inputs, name=f"{path}.input": Enter.apply(inputs[0], name)
                )

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        return merge_shards(self.spec, hvd.allgather_object(super().full(tensors)))

    def timed_step(self, index: int) -> StepTrace:
        events = _Probe.events = []
        try:
            trace = super().timed_step(index)
        finally:
            _Probe.events = None
        return StepTrace(tuple(events), trace.compute_s)
