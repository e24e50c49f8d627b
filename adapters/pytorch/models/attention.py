"""Self-attention, as decoders and encoders share it."""

from __future__ import annotations

import torch
from torch import nn


class Attention(nn.Module):
    """Scaled dot products of heads (Vaswani et al. 2017); (batch, sequence, width) both ways."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.head_width, self.causal = width // heads, causal
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.project = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # The number of heads comes from the tensor: a column shard holds only its own.
        query, key, value = (
            linear(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal
        )
        return self.project(mixed.transpose(1, 2).flatten(2))
