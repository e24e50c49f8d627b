"""Sums over ranks inside of a compiled graph, as an operator whose inside no compiler sees.

A compiled graph holds PyTorch's functional collectives as they were when it was traced, so no probe
could see them and no silent step could leave them out. An operator of the suite's own calls Python
in every step instead, as serving engines do it for their tensor parallel layers: the same graph
runs in all passes of a measurement.
"""

from __future__ import annotations

from typing import cast

import torch

from adapters.pytorch.splits.shards import Reduce

_reducers: dict[str, Reduce] = {}


@torch.library.custom_op("suite::summed", mutates_args=())
def _summed(tensor: torch.Tensor, name: str) -> torch.Tensor:
    return _reducers[name](tensor.clone())


@_summed.register_fake
def _like(tensor: torch.Tensor, name: str) -> torch.Tensor:
    return torch.empty_like(tensor)


def opaque(name: str, reduce: Reduce) -> Reduce:
    """Returns a sum over ranks for compiled graphs.

    Args:
        name: A name that no other sum of this process has.
        reduce: Adds a tensor up over the ranks, in place, and returns it.

    Returns:
        A function that leaves its argument as it is and returns the sum in new memory, which has
        the argument's shape.
    """
    _reducers[name] = reduce
    return lambda tensor: cast(torch.Tensor, _summed(tensor, name))
