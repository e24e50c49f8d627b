"""Two-stream transformer that predicts tokens in a random order (Yang et al. 2019)."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

from adapters.pytorch.models import Loss
from adapters.pytorch.models.losses import predicted_cross_entropy
from suite.contract.workloads.xlnet import LAYER_NORM_EPSILON, SEGMENTS, STREAMS, XLNetSpec


class Bias(nn.Module):
    """What is added to the queries of one kind of score, a vector a head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))


class SegmentBias(Bias):
    """The same, and the keys: same half of the sequence, other half."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.weight = nn.Parameter(torch.zeros(SEGMENTS, width))


class Facts(nn.Module):
    """What scores need besides the streams; (sequence, …) constants of the workload."""

    encodings: torch.Tensor
    same_half: torch.Tensor

    def __init__(self, spec: XLNetSpec) -> None:
        super().__init__()
        half = torch.arange(spec.sequence) >= spec.sequence // 2
        encodings = torch.from_numpy(spec.encodings()).float()
        same_half = (half[:, None] == half).repeat(STREAMS, 1)
        self.register_buffer("encodings", encodings, persistent=False)
        self.register_buffer("same_half", same_half, persistent=False)

    def unseen(self, order: torch.Tensor) -> torch.Tensor:
        """(batch, sequence) -> (batch, 1, 2 · sequence, sequence): what streams must not see.

        Minus infinity there, since a sum's gradient costs nothing and that of a fill a pass.
        """
        mine, others = order[:, :, None], order[:, None, :]
        hidden = torch.cat([others > mine, others >= mine.clamp(min=1)], 1)[:, None]
        seen = torch.zeros(hidden.shape, dtype=self.encodings.dtype, device=order.device)
        return seen.masked_fill(hidden, -math.inf)


class Attention(nn.Module):
    """Both streams' queries on the content's keys; (batch, 2, sequence, width) both ways."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_width = width // heads
        self.query, self.key, self.value, self.relative, self.project = (
            nn.Linear(width, width, bias=False) for _ in range(5)
        )
        self.content, self.position = Bias(width), Bias(width)
        self.segment = SegmentBias(width)

    def forward(self, x: torch.Tensor, facts: Facts, unseen: torch.Tensor) -> torch.Tensor:
        """The streams' queries one behind the other, all but the content's scores as a bias."""
        content = x[:, 0]
        query, key, value, near = (
            self._heads(part) for part in (
                self.query(x.flatten(1, 2)), self.key(content), self.value(content),
                self.relative(facts.encodings),
            )
        )
        scaled = query * self.head_width**-0.5  # queries are fewer than scores
        bias = _by_distance(self._scores(scaled, self.position, near))
        segments = self._heads(self.segment.weight)
        same, other = self._scores(scaled, self.segment, segments).split(1, -1)
        bias = bias + torch.where(facts.same_half, same, other) + unseen
        mixed = scaled_dot_product_attention(
            query + self._vector(self.content), key, value, attn_mask=bias
        )
        return self.project(mixed.transpose(1, 2).flatten(2)).view_as(x)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """(…, length, width) -> (…, heads, length, head width); a shard holds its own heads."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(-3, -2)

    def _vector(self, kind: Bias) -> torch.Tensor:
        return kind.bias.view(-1, 1, self.head_width)

    def _scores(self, scaled: torch.Tensor, kind: Bias, keys: torch.Tensor) -> torch.Tensor:
        return (scaled + self._vector(kind) * self.head_width**-0.5) @ keys.transpose(-2, -1)


def _by_distance(scores: torch.Tensor) -> torch.Tensor:
    """(…, 2 · sequence, row) -> (…, 2 · sequence, j): at position i row ``sequence - i + j``.

    In memory that is rows of one entry less.
    """
    sequence = scores.shape[-2] // STREAMS
    streams = scores.unflatten(-2, (STREAMS, sequence)).flatten(-2)[..., sequence:]
    rows = streams.unflatten(-1, (sequence, 2 * sequence - 1))
    return rows[..., :sequence].flatten(-3, -2)


class Block(nn.Module):
    """norm(x + attention(x)), then norm(x + mlp(x)), of both streams."""

    def __init__(self, spec: XLNetSpec) -> None:
        super().__init__()
        d = spec.width
        self.attention = Attention(d, spec.heads)
        self.norm1 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.norm2 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)

    def forward(self, x: torch.Tensor, facts: Facts, unseen: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.attention(x, facts, unseen))
        return self.norm2(x + self.contract(gelu(self.expand(x))))


class Embed(nn.Module):
    """The token table, which both ends of the model use, and the query stream's one row."""

    def __init__(self, spec: XLNetSpec, begins: bool) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.vocabulary, spec.width)
        self.mask = nn.Embedding(1, spec.width) if begins else None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, sequence) -> (batch, 2, sequence, width)."""
        content = self.token(tokens)
        assert self.mask is not None
        return torch.stack([content, self.mask.weight.expand_as(content)], 1)


class XLNet(nn.Module):
    """(batch, 2, sequence) tokens and order -> logits (batch, sequence, vocabulary)."""

    def __init__(self, spec: XLNetSpec, units: range | None = None) -> None:
        """``units`` keeps a contiguous part of the blocks; embed and head ride with the ends."""
        super().__init__()
        chosen = range(spec.blocks) if units is None else units
        self.begins, self.ends_here = 0 in chosen, spec.blocks - 1 in chosen
        self.facts = Facts(spec)
        self.embed = Embed(spec, self.begins) if self.begins or self.ends_here else None
        self.units = nn.ModuleDict({str(index): Block(spec) for index in chosen})
        self.head = Bias(spec.vocabulary) if self.ends_here else None

    def forward(self, x: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        """``features`` are what the first stage reads, for a stage behind it."""
        features = x if features is None else features
        if self.embed is not None and self.begins:
            x = self.embed(features[:, 0])
        unseen = self.facts.unseen(features[:, 1])
        for block in self.units.values():
            x = block(x, self.facts, unseen)
        if self.head is None or self.embed is None:
            return x
        return linear(x[:, STREAMS - 1], self.embed.token.weight, self.head.bias)


build = XLNet


def loss(spec: XLNetSpec) -> Loss:
    return predicted_cross_entropy(spec.predictions)
