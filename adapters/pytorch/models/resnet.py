"""ResNet (He et al. 2016), with the stride on the 3x3 convolution."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import max_pool2d, relu

from adapters.pytorch.models import Loss
from adapters.pytorch.models.images import (
    channels_first,
    channels_last,
    convolution,
    convolution_norm,
    laid_out,
    norm,
    pixel_mean,
)
from adapters.pytorch.models.losses import class_cross_entropy
from suite.contract.workloads.images import Convolution
from suite.contract.workloads.resnet import BATCH_NORM_EPSILON, POOL_KERNEL, POOL_STRIDE, ResNetSpec


class Block(nn.Module):
    """A residual block: relu(x + convolutions(x)); x is projected if the shape changes.

    Args:
        layers: The block's convolutions by name, as ``ResNetSpec.convolutions`` lists them.
    """

    def __init__(self, layers: dict[str, Convolution]) -> None:
        super().__init__()
        shortcut = layers.get("downsample.conv")
        self.depth = len(layers) - (shortcut is not None)
        for number in range(1, self.depth + 1):
            layer = layers[f"conv{number}"]
            self.add_module(f"conv{number}", convolution(layer))
            self.add_module(f"norm{number}", norm(layer.leaving, BATCH_NORM_EPSILON))
        self.downsample = convolution_norm(shortcut, BATCH_NORM_EPSILON) if shortcut else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, channels, height, width) to the shape that the block puts out."""
        shortcut = x if self.downsample is None else self.downsample(x)
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"conv{number}")(x)
            x = self.get_submodule(f"norm{number}")(x)
            if number == self.depth:
                x += shortcut
            x = relu(x, inplace=True)
        return x


class ResNet(nn.Module):
    """ResNet, or a pipeline stage of it.

    Args:
        spec: The workload.
        units: Contiguous blocks of the stage; None builds the whole model. The first stage also has
            the stem, the last stage the classifier.
    """

    def __init__(self, spec: ResNetSpec, units: range | None = None) -> None:
        super().__init__()
        blocks = spec.convolutions()
        chosen = range(len(blocks)) if units is None else units
        self.stem = convolution_norm(spec.stem(), BATCH_NORM_EPSILON) if 0 in chosen else None
        self.units = nn.ModuleDict({str(index): Block(blocks[index]) for index in chosen})
        ends_here = len(blocks) - 1 in chosen
        self.classifier = nn.Linear(spec.leaving, spec.classes) if ends_here else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images (batch, height, width, 3) to logits (batch, classes).

        A stage that is not the first or the last takes or returns activations in that axis order.
        """
        x = channels_first(x)
        if self.stem is not None:
            x = relu(self.stem(x), inplace=True)
            x = max_pool2d(x, POOL_KERNEL, POOL_STRIDE, POOL_KERNEL // 2)
        for block in self.units.values():
            x = block(x)
        return channels_last(x) if self.classifier is None else self.classifier(pixel_mean(x))


def build(spec: ResNetSpec, units: range | None) -> nn.Module:
    """Builds the model or a stage of it, with kernels stored channels-last."""
    return laid_out(ResNet(spec, units), torch.channels_last)


def loss(spec: ResNetSpec) -> Loss:
    """Returns the cross-entropy over the classes."""
    return class_cross_entropy
