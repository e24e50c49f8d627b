"""Decoder-only transformer, pre-norm (Radford et al. 2019)."""

from __future__ import annotations

import torch
from torch import nn

from suite.spec.workloads import LAYER_NORM_EPSILON, GptSpec


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); (batch, sequence, width) both ways."""

    def __init__(self, spec: GptSpec) -> None:
        super().__init__()
        d = spec.width
        self.head_width = d // spec.heads
        self.norm1 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.project = nn.Linear(d, d)
        self.norm2 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self._attention(self.norm1(x))
        hidden = nn.functional.gelu(self.expand(self.norm2(x)), approximate="tanh")
        return x + self.contract(hidden)

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        # The number of heads comes from the tensor: a column shard holds only its own.
        query, key, value = (
            linear(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.project(mixed.transpose(1, 2).flatten(2))


class Embed(nn.Module):
    """Tokens (batch, sequence) -> (batch, sequence, width), learned positions added."""

    def __init__(self, spec: GptSpec) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.vocabulary, spec.width)
        self.position = nn.Embedding(spec.sequence, spec.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.token(tokens) + self.position.weight[: tokens.shape[1]]


class Gpt(nn.Module):
    """Tokens -> logits (batch, sequence, vocabulary)."""

    def __init__(self, spec: GptSpec, units: range | None = None) -> None:
        """``units`` keeps a contiguous part of the blocks; embed and head ride with their ends."""
        super().__init__()
        chosen = range(spec.blocks) if units is None else units
        self.embed = Embed(spec) if 0 in chosen else None
        self.units = nn.ModuleDict({str(index): Block(spec) for index in chosen})
        ends_here = spec.blocks - 1 in chosen
        self.norm = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPSILON) if ends_here else None
        self.head = nn.Linear(spec.width, spec.vocabulary, bias=False) if ends_here else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.embed is not None:
            x = self.embed(x)
        for block in self.units.values():
            x = block(x)
        if self.norm is None or self.head is None:
            return x
        return self.head(self.norm(x))
