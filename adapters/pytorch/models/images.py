"""What models of images share: channels last in memory, whatever PyTorch's order of axes."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from suite.contract.workloads.images import Convolution


def convolution(facts: Convolution) -> nn.Conv2d:
    """A kernel of the spec, without bias."""
    return nn.Conv2d(
        facts.entering, facts.leaving, facts.kernel, facts.stride, facts.padding,
        groups=facts.entering if facts.depthwise else 1, bias=False,
    )


def norm(channels: int, epsilon: float) -> nn.BatchNorm2d:
    """Statistics of the batch at hand; no averages are kept, as nothing is evaluated."""
    return nn.BatchNorm2d(channels, epsilon, track_running_stats=False)


def convolution_norm(facts: Convolution, epsilon: float) -> nn.Sequential:
    """``conv``, and ``norm`` behind it."""
    return nn.Sequential(
        OrderedDict(conv=convolution(facts), norm=norm(facts.leaving, epsilon))
    )


def laid_out(model: nn.Module, order: torch.memory_format) -> nn.Module:
    """Kernels in that order in memory."""
    return model.to(memory_format=order)  # type: ignore[call-overload]


def channels_first(x: torch.Tensor) -> torch.Tensor:
    """(batch, height, width, channels) -> PyTorch's order of axes, the same memory."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """PyTorch's order of axes -> (batch, height, width, channels), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def pixel_mean(x: torch.Tensor) -> torch.Tensor:
    """(batch, channels, height, width) -> (batch, channels)."""
    return x.mean((2, 3))
