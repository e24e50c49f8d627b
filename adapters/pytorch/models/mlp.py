"""Dense classifier."""

from __future__ import annotations

import torch
from torch import nn

from adapters.pytorch.models import Loss
from suite.contract.workloads.mlp import MlpSpec


class Mlp(nn.Module):
    """Activations between linear layers; (batch, in) -> (batch, out) logits."""

    def __init__(self, spec: MlpSpec, units: range | None = None) -> None:
        """``units`` keeps a contiguous part of the layers, under their numbers in the whole."""
        super().__init__()
        chosen = range(spec.layers) if units is None else units
        self.last = spec.layers - 1
        self.activate = nn.GELU(approximate="tanh") if spec.activation == "gelu" else nn.ReLU()
        self.units = nn.ModuleDict(
            {str(i): nn.Linear(spec.widths[i], spec.widths[i + 1]) for i in chosen}
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, layer in self.units.items():
            x = layer(x)
            if int(name) != self.last:
                x = self.activate(x)
        return x


build = Mlp


def loss(spec: MlpSpec) -> Loss:
    """Cross-entropy, binary where there is one output."""
    return _binary if spec.binary else nn.functional.cross_entropy


def _binary(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits.squeeze(-1), targets)
