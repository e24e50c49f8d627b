"""Intra-layer: autograd-aware collectives around column- and row-split layers."""

from __future__ import annotations

from typing import cast

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.common import merge_shards
from adapters.horovod.torch_engine.session import HorovodSession
from adapters.pytorch.models import build_model, torch_path
from adapters.pytorch.models.shards import Reduce, enter, keep_shard, merge_output, torch_axes
from suite.spec.workloads import Weights


class IntraLayerSession(HorovodSession):
    """Every rank computes the whole batch on its columns; replicated parts are computed by all."""

    def build(self, weights: Weights) -> nn.Module:
        model = build_model(self.spec, weights)
        for path, axes in torch_axes(self.spec).items():
            for leaf, axis in axes.items():
                keep_shard(model.get_submodule(path), leaf, axis, self.rank.index,
                           self.case.devices)
        for branch in self.spec.branches():
            middle = branch.middle
            self._enter(model, branch.module)
            self._merge(model, branch.row)
            if middle:
                self._merge(model, middle.row)
                self._enter(model, middle.column)
        return self.prepared(model.to(self.device, self.dtype))

    def _enter(self, model: nn.Module, name: str) -> None:
        path = torch_path(name)
        # A copy: autograd may have given the same gradient to others.
        reduce = self._reducer(f"{path}.input.gradient")
        enter(model.get_submodule(path), lambda gradient: reduce(gradient.clone()))

    def _merge(self, model: nn.Module, name: str) -> None:
        path = torch_path(name)
        layer = cast("nn.Linear | nn.Conv2d", model.get_submodule(path))
        merge_output(layer, self._reducer(path))

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        return merge_shards(self.spec, self.gather(super().full(tensors)))

    def _reducer(self, name: str) -> Reduce:
        """All-reduce over the ranks, in place, marked in a timed step.

        Not ``hvd.allreduce``, whose own gradient sums again: every rank holds the whole gradient.
        """

        def reduce(tensor: torch.Tensor) -> torch.Tensor:
            if self.silent:
                return tensor
            start = self.probe.mark() if self.probe else None
            sent = tensor.to(self.dtype)  # Horovod sums no bfloat16
            result = self.wait(hvd.allreduce_async_(sent, op=hvd.Sum, name=name))
            if self.probe:
                self.probe.add("all_reduce", sent, start, self.probe.mark(), name)
            return result.to(tensor.dtype)

        return reduce
