"""XLNet (Yang et al. 2019): a two-stream transformer that predicts tokens in a random order."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

from adapters.pytorch.models import Loss
from adapters.pytorch.models.losses import predicted_cross_entropy
from adapters.pytorch.models.padding import logit_mask
from suite.contract.workloads.xlnet import LAYER_NORM_EPSILON, SEGMENTS, STREAMS, XLNetSpec


class Bias(nn.Module):
    """A vector per head that is added to the queries for a kind of score, stored as (width,)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))


class SegmentBias(Bias):
    """The bias for segment scores, plus their two keys: same half of the sequence, other half."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.weight = nn.Parameter(torch.zeros(SEGMENTS, width))


class Facts(nn.Module):
    """Constants of the workload that attention scores need.

    Attributes:
        encodings: Encodings of all distances, (2 · sequence, width).
        same_half: Whether two positions are in the same half of the sequence, (2 · sequence,
            sequence).
    """

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
        """Makes the attention mask of both streams, which is added to the scores.

        It is added instead of filled in, because the gradient of a sum costs nothing while that of
        a fill costs a pass over the scores.

        Args:
            order: Order of prediction, (batch, sequence).

        Returns:
            0 where a position may look and minus infinity where not, (batch, 1, 2 · sequence,
            sequence); the rows of the content stream come first.
        """
        own, others = order[:, :, None], order[:, None, :]
        hidden = torch.cat([others > own, others >= own.clamp(min=1)], 1)[:, None]
        seen = torch.zeros(hidden.shape, dtype=self.encodings.dtype, device=order.device)
        return seen.masked_fill(hidden, -math.inf)


class Attention(nn.Module):
    """Relative attention: the queries of both streams on the keys of the content stream.

    Args:
        width: Width of input and output.
        heads: Number of heads; ``width`` is a multiple of it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.head_width = width // heads
        self.query, self.key, self.value, self.relative, self.project = (
            nn.Linear(width, width, bias=False) for _ in range(5)
        )
        self.content, self.position = Bias(width), Bias(width)
        self.segment = SegmentBias(width)

    def forward(self, x: torch.Tensor, facts: Facts, unseen: torch.Tensor) -> torch.Tensor:
        """Mixes positions of both streams.

        The queries of the two streams are concatenated. The scores by position and segment, and the
        mask, go into PyTorch's attention as a bias; it computes the scores by content itself.

        Args:
            x: Content and query stream, (batch, 2, sequence, width).
            facts: Constants of the workload.
            unseen: The mask, (batch, 1, 2 · sequence, sequence).

        Returns:
            Both streams, (batch, 2, sequence, width).
        """
        content = x[:, 0]
        query, key, value, relative = (
            self._heads(part) for part in (
                self.query(x.flatten(1, 2)), self.key(content), self.value(content),
                self.relative(facts.encodings),
            )
        )
        # There are fewer queries than scores, so it is cheaper to scale the queries.
        scaled = query * self.head_width**-0.5
        bias = _by_distance(self._scores(scaled, self.position, relative))
        segments = self._heads(self.segment.weight)
        same, other = self._scores(scaled, self.segment, segments).split(1, -1)
        bias = bias + torch.where(facts.same_half, same, other) + unseen
        mixed = scaled_dot_product_attention(
            query + self._vector(self.content), key, value, attn_mask=bias
        )
        return self.project(mixed.transpose(1, 2).flatten(2)).view_as(x)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """Splits (…, length, width) into (…, heads, length, head width), for this shard's heads."""
        return x.unflatten(-1, (-1, self.head_width)).transpose(-3, -2)

    def _vector(self, kind: Bias) -> torch.Tensor:
        """Returns a bias as (heads, 1, head width)."""
        return kind.bias.view(-1, 1, self.head_width)

    def _scores(self, scaled: torch.Tensor, kind: Bias, keys: torch.Tensor) -> torch.Tensor:
        """Computes (scaled queries + scaled bias) · keys, (batch, heads, 2 · sequence, keys)."""
        return (scaled + self._vector(kind) * self.head_width**-0.5) @ keys.transpose(-2, -1)


def _by_distance(scores: torch.Tensor) -> torch.Tensor:
    """Reorders scores by encoding into scores by position.

    The score of position i on position j is at entry ``sequence - i + j`` of row i. Reading the
    same memory as rows that are an entry shorter shifts row i by i, so the scores line up without
    an index.

    Args:
        scores: Scores on every encoding, (…, 2 · sequence, 2 · sequence).

    Returns:
        Scores on every position, (…, 2 · sequence, sequence).
    """
    sequence = scores.shape[-2] // STREAMS
    streams = scores.unflatten(-2, (STREAMS, sequence)).flatten(-2)[..., sequence:]
    rows = streams.unflatten(-1, (sequence, 2 * sequence - 1))
    return rows[..., :sequence].flatten(-3, -2)


class Block(nn.Module):
    """A block for both streams: norm(x + attention(x)), then norm(x + mlp(x))."""

    def __init__(self, spec: XLNetSpec) -> None:
        super().__init__()
        d = spec.width
        self.attention = Attention(d, spec.heads)
        self.norm1 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.expand, self.contract = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.norm2 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)

    def forward(self, x: torch.Tensor, facts: Facts, unseen: torch.Tensor) -> torch.Tensor:
        """Input and output are (batch, 2, sequence, width); ``unseen`` is the attention mask."""
        x = self.norm1(x + self.attention(x, facts, unseen))
        return self.norm2(x + self.contract(gelu(self.expand(x))))


class Embed(nn.Module):
    """The embeddings.

    Args:
        spec: The workload.
        begins: Whether this is the first stage, which also has the row that the query stream starts
            from. The last stage needs only the token table, to compute logits.
    """

    def __init__(self, spec: XLNetSpec, begins: bool) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.rows, spec.width)
        self.mask = nn.Embedding(1, spec.width) if begins else None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeds tokens (batch, sequence) as both streams, (batch, 2, sequence, width)."""
        content = self.token(tokens)
        assert self.mask is not None
        return torch.stack([content, self.mask.weight.expand_as(content)], 1)


class XLNet(nn.Module):
    """XLNet, or a pipeline stage of it.

    Args:
        spec: The workload.
        units: Contiguous blocks of the stage; None builds the whole model. The first stage also has
            the embeddings, the last stage the token table and the output bias.
    """

    mask: torch.Tensor | None

    def __init__(self, spec: XLNetSpec, units: range | None = None) -> None:
        super().__init__()
        chosen = range(spec.blocks) if units is None else units
        self.begins, self.ends_here = 0 in chosen, spec.blocks - 1 in chosen
        self.facts = Facts(spec)
        self.embed = Embed(spec, self.begins) if self.begins or self.ends_here else None
        self.units = nn.ModuleDict({str(index): Block(spec) for index in chosen})
        self.head = Bias(spec.rows) if self.ends_here else None
        self.register_buffer("mask", logit_mask(spec), persistent=False)

    def forward(self, x: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        """Maps tokens and order to logits (batch, sequence, rows of the token table).

        Args:
            x: Tokens and order, (batch, 2, sequence); for a later stage the streams that the stage
                before it put out, (batch, 2, sequence, width).
            features: Tokens and order for a later stage; the first stage leaves it out.

        Returns:
            Logits; for a stage that is not the last, both streams, (batch, 2, sequence, width).
        """
        features = x if features is None else features
        if self.embed is not None and self.begins:
            x = self.embed(features[:, 0])
        unseen = self.facts.unseen(features[:, 1])
        for block in self.units.values():
            x = block(x, self.facts, unseen)
        if self.head is None or self.embed is None:
            return x
        bias = self.head.bias if self.mask is None else self.head.bias + self.mask
        return linear(x[:, STREAMS - 1], self.embed.token.weight, bias)


build = XLNet


def loss(spec: XLNetSpec) -> Loss:
    """Returns the cross-entropy over the predicted positions."""
    return predicted_cross_entropy(spec.predictions)
