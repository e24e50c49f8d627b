"""GPT-2 (Radford et al. 2019): a pre-norm decoder-only transformer."""

from __future__ import annotations

import torch
from torch import nn

from adapters.pytorch.models import Loss
from adapters.pytorch.models.attention import Attention
from adapters.pytorch.models.losses import token_cross_entropy
from adapters.pytorch.models.padding import logit_mask
from suite.contract.workloads.gpt import LAYER_NORM_EPSILON, GptSpec


class Block(nn.Module):
    """A transformer block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, spec: GptSpec) -> None:
        super().__init__()
        d = spec.width
        self.norm1 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.attention = Attention(d, spec.heads, causal=True)
        self.norm2 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Input and output are (batch, sequence, width)."""
        x = x + self.attention(self.norm1(x))
        hidden = nn.functional.gelu(self.expand(self.norm2(x)), approximate="tanh")
        return x + self.contract(hidden)


class Embed(nn.Module):
    """The embeddings.

    Args:
        spec: The workload.
        positions: Whether this is the first stage, which adds positions. The last stage needs only
            the token table, to compute logits.
    """

    mask: torch.Tensor | None

    def __init__(self, spec: GptSpec, positions: bool) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.rows, spec.width)
        self.register_buffer("mask", logit_mask(spec), persistent=False)
        self.position = nn.Embedding(spec.sequence, spec.width) if positions else None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeds tokens (batch, sequence) as (batch, sequence, width), with learned positions."""
        x = self.token(tokens)
        # As many as there are positions: a slice of them would be a copy in each backward pass.
        return x if self.position is None else x + self.position.weight

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (batch, sequence, width) to logits (batch, sequence, rows of the token table)."""
        return nn.functional.linear(x, self.token.weight, self.mask)


class Gpt(nn.Module):
    """GPT, or a pipeline stage of it.

    Args:
        spec: The workload.
        units: Contiguous blocks of the stage; None builds the whole model. The first stage also has
            the embeddings, the last stage the token table and the final norm.
    """

    def __init__(self, spec: GptSpec, units: range | None = None) -> None:
        super().__init__()
        chosen = range(spec.blocks) if units is None else units
        self.begins, ends_here = 0 in chosen, spec.blocks - 1 in chosen
        self.embed = Embed(spec, self.begins) if self.begins or ends_here else None
        self.units = nn.ModuleDict({str(index): Block(spec) for index in chosen})
        self.norm = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPSILON) if ends_here else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens (batch, sequence) to logits (batch, sequence, rows of the token table).

        A stage that is not the first or the last takes or returns (batch, sequence, width) instead.
        """
        if self.embed is not None and self.begins:
            x = self.embed(x)
        for block in self.units.values():
            x = block(x)
        if self.norm is None or self.embed is None:
            return x
        return self.embed.logits(self.norm(x))


build = Gpt


def loss(spec: GptSpec) -> Loss:
    """Returns the cross-entropy over all tokens."""
    return token_cross_entropy
