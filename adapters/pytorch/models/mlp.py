"""MLP: a classifier of dense layers."""

from __future__ import annotations

import torch
from torch import nn

from adapters.pytorch.models import Loss
from adapters.pytorch.models.losses import binary_cross_entropy, class_cross_entropy
from suite.contract.workloads.mlp import MlpSpec


class Mlp(nn.Module):
    """Linear layers with an activation between them, or a pipeline stage of them.

    Args:
        spec: The workload.
        units: Contiguous layers of the stage, under their numbers in the whole model; None builds
            all layers.
    """

    def __init__(self, spec: MlpSpec, units: range | None = None) -> None:
        super().__init__()
        chosen = range(spec.layers) if units is None else units
        self.last = spec.layers - 1
        self.activate = nn.GELU(approximate="tanh") if spec.activation == "gelu" else nn.ReLU()
        self.units = nn.ModuleDict(
            {str(i): nn.Linear(spec.widths[i], spec.widths[i + 1]) for i in chosen}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, in) to (batch, out): logits, or what the stage's last layer puts out."""
        for name, layer in self.units.items():
            x = layer(x)
            if int(name) != self.last:
                x = self.activate(x)
        return x


build = Mlp


def loss(spec: MlpSpec) -> Loss:
    """Returns the cross-entropy; the binary form if the model has a single output."""
    return binary_cross_entropy if spec.binary else class_cross_entropy
