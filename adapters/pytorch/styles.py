"""Parallel styles of ours, for branches that hold more than linear layers.

PyTorch has none for convolutions, batch norms and biases of heads. Channels are split as
``ColwiseParallel`` and ``RowwiseParallel`` split features, but parameters stay plain tensors, this
rank's part: each operation on a ``DTensor`` costs the host, and a residual network has many.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

import torch
from torch import nn
from torch.distributed import _functional_collectives as funcol
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ParallelStyle

from adapters.pytorch.models.shards import enter, keep_shard, merge_output


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

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        layer = cast("nn.Linear | nn.Conv2d", module)
        merge_output(layer, partial(_all_reduce, device_mesh))
        return super()._apply(module, device_mesh)


class Entrance(ParallelStyle):
    """The ranks' gradients of a module's first input are summed."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        enter(module, partial(_all_reduce, device_mesh))
        return module


def _all_reduce(mesh: DeviceMesh, tensor: torch.Tensor) -> torch.Tensor:
    """Finished when it returns: what follows needs it at once."""
    return funcol.wait_tensor(funcol.all_reduce(tensor, "sum", (mesh, 0)))
