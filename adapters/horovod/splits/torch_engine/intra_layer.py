"""Intra-layer: autograd-aware collectives around column- and row-split layers."""

from __future__ import annotations

from typing import cast

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.splits.torch_engine.group import HorovodSession
from adapters.pytorch.models import torch_path
from adapters.pytorch.splits.shards import Reduce, enter, keep_shard, merge_output, torch_axes
from suite.contract.workloads import Weights


class IntraLayerSession(HorovodSession):
    """Every rank computes the whole batch on its columns; replicated parts are computed by all."""

    def build(self, weights: Weights) -> nn.Module:
        """Builds what this rank holds of the model."""
        model = super().build(weights)
        shard, shards = self.position("intra_layer"), self.case.axes.size("intra_layer")
        here = {path for path, _ in model.named_modules()}
        for path, axes in torch_axes(self.spec).items():
            for leaf, axis in axes.items() if path in here else ():
                keep_shard(model.get_submodule(path), leaf, axis, shard, shards)
        for branch in self.spec.branches():
            if torch_path(branch.row) not in here:  # another stage of a pipeline holds it
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
        # A copy: autograd may have given the same gradient to others.
        reduce = self._reducer(f"{path}.input.gradient")
        enter(model.get_submodule(path), lambda gradient: reduce(gradient.clone()))

    def _merge(self, model: nn.Module, name: str) -> None:
        path = torch_path(name)
        layer = cast("nn.Linear | nn.Conv2d", model.get_submodule(path))
        merge_output(layer, self._reducer(path))

    def _reducer(self, name: str) -> Reduce:
        """All-reduce over the shards' ranks, in place, marked in a timed step.

        Not ``hvd.allreduce``, whose own gradient sums again: every rank holds the whole gradient.
        """

        shards = self.process_set("intra_layer")

        def reduce(tensor: torch.Tensor) -> torch.Tensor:
            if self.silent:
                return tensor
            start = self.probe.mark() if self.probe else None
            sent = tensor.to(self.dtype)  # Horovod sums no bfloat16
            handle = hvd.allreduce_async_(sent, op=hvd.Sum, name=name, process_set=shards)
            result = self.wait(handle)
            if self.probe:
                key = self.probe.number(self.key("intra_layer", name))
                self.probe.add("all_reduce", sent, start, self.probe.mark(), key)
            return result.to(tensor.dtype)

        return reduce
