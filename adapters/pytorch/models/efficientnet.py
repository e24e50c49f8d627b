"""EfficientNet (Tan & Le 2019): inverted bottlenecks with squeeze-and-excitation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import silu

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
from suite.contract.workloads.efficientnet import (
    BATCH_NORM_EPSILON,
    EfficientNetSpec,
    InvertedBottleneck,
)


class Squeeze(nn.Module):
    """Squeeze-and-excitation: scales channels by gates computed from their means (Hu et al. 2018).

    Args:
        channels: Channels of input and output.
        squeezed: Channels between the two matrices.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Input and output are (batch, channels, height, width)."""
        gate = self.expand(silu(self.reduce(pixel_mean(x)))).sigmoid()
        return x * gate[:, :, None, None]


class Block(nn.Module):
    """An inverted bottleneck: x + project(squeeze(spatial(expand(x)))).

    Without ``x +`` if the block changes the shape, and without ``expand`` if it does not widen.
    """

    expand: nn.Module
    norm1: nn.Module
    spatial: nn.Module
    norm2: nn.Module
    project: nn.Module
    norm3: nn.Module

    def __init__(self, facts: InvertedBottleneck) -> None:
        super().__init__()
        self.residual = facts.residual
        for name, (norm_name, layer) in facts.convolutions().items():
            self.add_module(name, convolution(layer))
            self.add_module(norm_name, norm(layer.leaving, BATCH_NORM_EPSILON))
        self.widens = facts.expand is not None
        self.squeeze = Squeeze(facts.spatial.leaving, facts.squeezed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, channels, height, width) to the shape that the block puts out."""
        entering = x
        if self.widens:
            x = silu(self.norm1(self.expand(x)))
        x = self.squeeze(silu(self.norm2(self.spatial(x))))
        x = self.norm3(self.project(x))
        if self.residual:
            x += entering
        return x


class EfficientNet(nn.Module):
    """EfficientNet, or a pipeline stage of it.

    Args:
        spec: The workload.
        units: Contiguous blocks of the stage; None builds the whole model. The first stage also has
            the stem, the last stage the final convolution and the classifier.
    """

    def __init__(self, spec: EfficientNetSpec, units: range | None = None) -> None:
        super().__init__()
        blocks = spec.blocks()
        chosen = range(len(blocks)) if units is None else units
        self.stem = convolution_norm(spec.stem(), BATCH_NORM_EPSILON) if 0 in chosen else None
        self.units = nn.ModuleDict({str(index): Block(blocks[index]) for index in chosen})
        self.head: nn.Module | None = None
        if len(blocks) - 1 in chosen:
            self.head = convolution_norm(spec.head(), BATCH_NORM_EPSILON)
            self.classifier = nn.Linear(spec.head().leaving, spec.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps images (batch, height, width, 3) to logits (batch, classes).

        A stage that is not the first or the last takes or returns activations in that axis order.
        """
        x = channels_first(x)
        if self.stem is not None:
            x = silu(self.stem(x))
        for block in self.units.values():
            x = block(x)
        if self.head is None:
            return channels_last(x)
        return self.classifier(pixel_mean(silu(self.head(x))))


def build(spec: EfficientNetSpec, units: range | None) -> nn.Module:
    """Builds the model or a stage of it, with kernels stored channels-last."""
    return laid_out(EfficientNet(spec, units), torch.channels_last)


def loss(spec: EfficientNetSpec) -> Loss:
    """Returns the cross-entropy over the classes."""
    return class_cross_entropy
