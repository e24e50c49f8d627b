"""What models of images share."""

import torch
from torch import nn


def convolution(
    entering: int, leaving: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, groups=groups, bias=False)


def norm(channels: int, epsilon: float) -> nn.BatchNorm2d:
    """Without running averages: nothing is evaluated."""
    return nn.BatchNorm2d(channels, epsilon, track_running_stats=False)


def channels_last(model: nn.Sequential) -> nn.Sequential:
    """As oneDNN likes kernels best."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
