"""The models of the scripts on PyTorch, each a ``Sequential``, and how they come apart.

A family's module has ``make()``, the model, and ``splits()``, what tensor parallel does to it.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import torch
from torch import nn

from tests.reference.common import BATCH, CUT, PARTS, batch

# What both stages have a copy of: the token table, which is the output matrix too.
TIED = ("embed.token.weight", "head.weight")


@dataclass(frozen=True)
class Split:
    """Layers to split by outputs, with what is between, and those behind by inputs.

    The ranks' sums are made of what leaves ``rows`` and of what flows back into ``entries``
    (Shoeybi et al. 2019).
    """

    entries: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[str, ...]


class Permute(nn.Module):
    """Images of stages: sent as they are in memory, channels last."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(self.order)


def family(workload: str) -> Any:
    return import_module(f"{__name__}.{workload}")


def make_model(workload: str) -> nn.Sequential:
    """From a fixed seed, so that every script begins with the same weights."""
    torch.manual_seed(0)
    return cast("nn.Sequential", family(workload).make())


def make_stage(workload: str, index: int) -> nn.Sequential:
    """The first or the second stage of a pipeline; layers keep their names."""
    model, cut = make_model(workload), CUT[workload]
    stage = cast("nn.Sequential", model[:cut] if index == 0 else model[cut:])
    if batch(workload)[0].ndim < 4:
        return stage
    return nn.Sequential(stage, Permute(0, 2, 3, 1)) if index == 0 else nn.Sequential(
        Permute(0, 3, 1, 2), stage)


def boundary(workload: str) -> torch.Size:
    """Shape of a micro-batch between the stages."""
    x, _ = tensors(workload)
    with torch.no_grad():
        return make_stage(workload, 0)(x[: BATCH[workload] // PARTS]).shape


def side_input(workload: str, x: torch.Tensor) -> dict[str, Any]:
    """What the second stage reads beside the first one's output."""
    return {"features": x} if workload == "xlnet" else {}


def tied(stage: nn.Sequential) -> list[nn.Parameter]:
    """Parameters whose gradients the stages must add up before an update."""
    return [held for name, held in stage.named_parameters() if name in TIED]


def splits(workload: str) -> list[Split]:
    return cast("list[Split]", family(workload).splits())


def tensors(workload: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch: whole numbers as int64, images with channels last in memory."""
    x, y = (torch.from_numpy(array) for array in batch(workload))
    if x.dim() == 4:
        x = x.permute(0, 3, 1, 2)
    return x if x.is_floating_point() else x.long(), y.long()


def in_groups(model: nn.Module, x: torch.Tensor, groups: int) -> torch.Tensor:
    """Logits of groups of samples, each by itself, as of replicas: batch norm sees no more."""
    if groups == 1:
        return model(x)
    return torch.cat([model(group) for group in x.chunk(groups)])


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over samples, or over tokens that have a target."""
    return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-1)
