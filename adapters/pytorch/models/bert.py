"""BERT (Devlin et al. 2019): a post-norm transformer that predicts masked tokens."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import gelu, linear

from adapters.pytorch.models import Loss
from adapters.pytorch.models.attention import Attention
from adapters.pytorch.models.losses import predicted_cross_entropy
from adapters.pytorch.models.padding import logit_mask
from suite.contract.workloads.bert import LAYER_NORM_EPSILON, SEGMENTS, BertSpec


class Block(nn.Module):
    """A transformer block: norm(x + attention(x)), then norm(x + mlp(x))."""

    def __init__(self, spec: BertSpec) -> None:
        super().__init__()
        d = spec.width
        self.attention = Attention(d, spec.heads, causal=False)
        self.norm1 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.norm2 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Input and output are (batch, sequence, width)."""
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.contract(gelu(self.expand(x))))


class Embed(nn.Module):
    """The embeddings.

    Args:
        spec: The workload.
        begins: Whether this is the first stage, which looks tokens up. The last stage needs only
            the token table, to compute logits.
    """

    def __init__(self, spec: BertSpec, begins: bool) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.rows, spec.width)
        if begins:
            self.position = nn.Embedding(spec.sequence, spec.width)
            self.segment = nn.Embedding(SEGMENTS, spec.width)
            self.norm = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPSILON)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeds tokens (batch, sequence) as (batch, sequence, width); all are in segment 0."""
        places = self.position.weight + self.segment.weight[0]
        return self.norm(self.token(tokens) + places)


class Head(nn.Module):
    """Turns activations into logits over the rows of the token table."""

    mask: torch.Tensor | None

    def __init__(self, spec: BertSpec) -> None:
        super().__init__()
        self.dense = nn.Linear(spec.width, spec.width)
        self.norm = nn.LayerNorm(spec.width, eps=LAYER_NORM_EPSILON)
        self.bias = nn.Parameter(torch.zeros(spec.rows))
        self.register_buffer("mask", logit_mask(spec), persistent=False)

    def forward(self, x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Computes logits (batch, sequence, rows of the token table).

        Args:
            x: Activations, (batch, sequence, width).
            table: The token table, (rows, width).
        """
        bias = self.bias if self.mask is None else self.bias + self.mask
        return linear(self.norm(gelu(self.dense(x))), table, bias)


class Bert(nn.Module):
    """BERT, or a pipeline stage of it.

    Args:
        spec: The workload.
        units: Contiguous blocks of the stage; None builds the whole model. The first stage also has
            the embeddings, the last stage the head.
    """

    def __init__(self, spec: BertSpec, units: range | None = None) -> None:
        super().__init__()
        chosen = range(spec.blocks) if units is None else units
        self.begins, ends_here = 0 in chosen, spec.blocks - 1 in chosen
        self.embed = Embed(spec, self.begins) if self.begins or ends_here else None
        self.units = nn.ModuleDict({str(index): Block(spec) for index in chosen})
        self.head = Head(spec) if ends_here else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps tokens (batch, sequence) to logits (batch, sequence, rows of the token table).

        A stage that is not the first or the last takes or returns (batch, sequence, width) instead.
        """
        if self.embed is not None and self.begins:
            x = self.embed(x)
        for block in self.units.values():
            x = block(x)
        if self.head is None or self.embed is None:
            return x
        return self.head(x, self.embed.token.weight)


build = Bert


def loss(spec: BertSpec) -> Loss:
    """Returns the cross-entropy over the predicted positions."""
    return predicted_cross_entropy(spec.predictions)
