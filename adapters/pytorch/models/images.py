"""Layers that the image models share.

PyTorch's axes are (batch, channels, height, width), but channels come last in memory.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from suite.contract.workloads.images import Convolution


def convolution(facts: Convolution) -> nn.Conv2d:
    """Builds a convolution of the workload, without bias."""
    return nn.Conv2d(
        facts.entering, facts.leaving, facts.kernel, facts.stride, facts.padding,
        groups=facts.entering if facts.depthwise else 1, bias=False,
    )


def norm(channels: int, epsilon: float) -> nn.BatchNorm2d:
    """Builds a batch normalisation without running averages, since nothing is evaluated."""
    return nn.BatchNorm2d(channels, epsilon, track_running_stats=False)


def convolution_norm(facts: Convolution, epsilon: float) -> nn.Sequential:
    """Builds the submodules ``conv`` and ``norm``, one after the other."""
    return nn.Sequential(
        OrderedDict(conv=convolution(facts), norm=norm(facts.leaving, epsilon))
    )


def laid_out(model: nn.Module, order: torch.memory_format) -> nn.Module:
    """Stores the kernels of ``model`` in the given memory order."""
    return model.to(memory_format=order)  # type: ignore[call-overload]


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """Views (batch, height, width, channels) as (batch, channels, height, width)."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Turns (batch, channels, height, width) into contiguous (batch, height, width, channels)."""
    return x.permute(0, 2, 3, 1).contiguous()


def pixel_mean(x: torch.Tensor) -> torch.Tensor:
    """Averages over the pixels: (batch, channels, height, width) to (batch, channels)."""
    return x.mean((2, 3))
