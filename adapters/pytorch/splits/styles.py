"""The suite's own parallel styles, for branches that have more than linear layers.

PyTorch has no styles for convolutions, batch norms and biases of heads. These split channels as
``ColwiseParallel`` and ``RowwiseParallel`` split features. Parameters stay plain tensors, this
rank's part of each, because every operation on a ``DTensor`` costs time on the host, and a
residual network has many operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ParallelStyle

from adapters.pytorch.splits.shards import Reduce, enter, keep_shard, merge_output


class OwnPart(ParallelStyle):
    """Leaves this rank's part of a layer's parameters; there is no communication.

    Args:
        axes: Parameter of the layer to the axis along which it is split.
    """

    def __init__(self, axes: Mapping[str, int]) -> None:
        super().__init__()
        self.axes = axes

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        for leaf, axis in self.axes.items():
            keep_shard(module, leaf, axis, device_mesh.get_local_rank(), device_mesh.size())
        return module


class OwnInputs(OwnPart):
    """Splits a layer by its inputs: the ranks' outputs are summed, and the bias is added once.

    Args:
        axes: Parameter of the layer to the axis along which it is split.
        reduce: Adds a tensor up over the ranks.
    """

    def __init__(self, axes: Mapping[str, int], reduce: Reduce) -> None:
        super().__init__(axes)
        self.reduce = reduce

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        layer = cast("nn.Linear | nn.Conv2d", module)
        merge_output(layer, self.reduce)
        return super()._apply(module, device_mesh)


class Entrance(ParallelStyle):
    """Sums the ranks' gradients of a module's first input.

    Args:
        reduce: Adds a tensor up over the ranks.
    """

    def __init__(self, reduce: Reduce) -> None:
        super().__init__()
        self.reduce = reduce

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        # The sum is made in a copy, because autograd may have given the same gradient to others.
        enter(module, lambda gradient: self.reduce(gradient.clone()))
        return module
