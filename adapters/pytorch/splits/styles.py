"""Parallel styles of ours, for branches that hold more than linear layers.

PyTorch has none for convolutions, batch norms and biases of heads. Channels are split as
``ColwiseParallel`` and ``RowwiseParallel`` split features, but parameters stay plain tensors, this
rank's part: each operation on a ``DTensor`` costs the host, and a residual network has many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ParallelStyle

from adapters.pytorch.splits.shards import Reduce, enter, keep_shard, merge_output


class OwnPart(ParallelStyle):
    """This rank's part of a layer's parameters, along ``axes[leaf]``; no communication."""

    def __init__(self, axes: Mapping[str, int]) -> None:
        super().__init__()
        self.axes = axes

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        for leaf, axis in self.axes.items():
            keep_shard(module, leaf, axis, device_mesh.get_local_rank(), device_mesh.size())
        return module


class OwnInputs(OwnPart):
    """A layer split by its inputs: the ranks' outputs are summed, the bias is added once."""

    def __init__(self, axes: Mapping[str, int], reduce: Reduce) -> None:
        super().__init__(axes)
        self.reduce = reduce

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        layer = cast("nn.Linear | nn.Conv2d", module)
        merge_output(layer, self.reduce)
        return super()._apply(module, device_mesh)


class Entrance(ParallelStyle):
    """The ranks' gradients of a module's first input are summed."""

    def __init__(self, reduce: Reduce) -> None:
        super().__init__()
        self.reduce = reduce

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        # A copy: autograd may have given the same gradient to others.
        enter(module, lambda gradient: self.reduce(gradient.clone()))
        return module
