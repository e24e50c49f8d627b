"""Intra-layer: collectives with gradients of their own around layers split by columns and rows."""

from __future__ import annotations

from typing import cast

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.splits.torch_engine.group import HorovodSession
from adapters.pytorch.models import torch_path
from adapters.pytorch.splits.opaque import opaque
from adapters.pytorch.splits.shards import Reduce, enter, keep_shard, merge_output, torch_axes
from suite.contract.workloads import Weights


class IntraLayerSession(HorovodSession):
    """Every rank computes the whole batch with its shard of the columns.

    Every rank also computes the parts of the model that are not split.
    """

    def build(self, weights: Weights) -> nn.Module:
        """Builds this rank's shard of the model from the whole initial weights."""
        model = super().build(weights)
        shard, shards = self.position("intra_layer"), self.case.axes.size("intra_layer")
        here = {path for path, _ in model.named_modules()}
        for path, axes in torch_axes(self.spec).items():
            for leaf, axis in axes.items() if path in here else ():
                keep_shard(model.get_submodule(path), leaf, axis, shard, shards)
        for branch in self.spec.branches():
            if torch_path(branch.row) not in here:  # another stage of the pipeline holds it
                continue
            middle = branch.middle
            self._enter(model, branch.module)
            self._merge(model, branch.row)
            if middle:
                self._merge(model, middle.row)
                self._enter(model, middle.column)
        return model

    def _enter(self, model: nn.Module, name: str) -> None:
        path = torch_path(name)
        # The reduction works in place, and autograd may have passed this gradient on to others.
        reduce = self._reducer(f"{path}.input.gradient")
        enter(model.get_submodule(path), lambda gradient: reduce(gradient.clone()))

    def _merge(self, model: nn.Module, name: str) -> None:
        path = torch_path(name)
        layer = cast("nn.Linear | nn.Conv2d", model.get_submodule(path))
        merge_output(layer, self._reducer(path))

    def _reducer(self, name: str) -> Reduce:
        """Returns a function that sums a tensor over the shards in place, and times it in a timed
        step.

        ``hvd.allreduce`` cannot be used as it is, because its own gradient sums again, although
        every rank already has the whole gradient.
        """

        shards = self.process_set("intra_layer")

        def reduce(tensor: torch.Tensor) -> torch.Tensor:
            if self.silent:
                return tensor
            start = self.probe.mark() if self.probe else None
            sent = tensor.to(self.dtype)  # Horovod cannot sum bfloat16
            handle = hvd.allreduce_async_(sent, op=hvd.Sum, name=name, process_set=shards)
            result = self.wait(handle)
            if self.probe:
                key = self.probe.number(self.key("intra_layer", name))
                self.probe.add("all_reduce", sent, start, self.probe.mark(), key)
            return result.to(tensor.dtype)

        return opaque(name, reduce) if self.case.mode == "compiled" else reduce
