"""Self-attention for decoders (causal) and encoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017).

    Args:
        width: Width of input and output.
        heads: Number of heads; ``width`` is a multiple of it.
        causal: Whether a position sees only itself and the positions before it.
    """

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.head_width, self.causal = width // heads, causal
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.project = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mixes positions; input and output are (batch, sequence, width)."""
        # The number of heads is taken from the tensor: a column-parallel shard has only some heads.
        query, key, value = (
            part.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for part in self._projected(x)
        )
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal
        )
        return self.project(mixed.transpose(1, 2).flatten(2))

    def _projected(self, x: torch.Tensor) -> Sequence[torch.Tensor]:
        """Computes query, key and value of x, each (batch, sequence, width).

        A compiler joins the matrices while it casts them, so that one product costs less than
        three. Without one, joining would be a pass over the weights of its own.
        """
        layers = self.query, self.key, self.value
        if not torch.compiler.is_compiling():
            return [layer(x) for layer in layers]
        weight, bias = (torch.cat([getattr(layer, name) for layer in layers])
                        for name in ("weight", "bias"))
        return nn.functional.linear(x, weight, bias).chunk(len(layers), -1)
