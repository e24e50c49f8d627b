"""XLNet (Yang et al. 2019) without memory, both streams side by side."""

from collections import OrderedDict
from functools import cache

import torch
from torch import nn

from tests.reference.common import BLOCKS, HEADS, SEQUENCE, VOCABULARY, WIDTH
from tests.reference.torch_models import Split, transformer
from tests.reference.torch_models.bert import norm


@cache
def encodings() -> torch.Tensor:
    """(2 · sequence, width): of distances from ``sequence`` down."""
    distances = torch.arange(SEQUENCE, -SEQUENCE, -1, dtype=torch.float64)
    angles = torch.outer(distances, 1e4 ** (-torch.arange(0, WIDTH, 2).double() / WIDTH))
    return torch.cat([angles.sin(), angles.cos()], 1).float()


@cache
def same_half() -> torch.Tensor:
    """(2 · sequence, sequence): the segments of two positions, for both streams."""
    half = torch.arange(SEQUENCE) >= SEQUENCE // 2
    return (half[:, None] == half).repeat(2, 1)


def unseen(order: torch.Tensor) -> torch.Tensor:
    """(batch, 1, 2 · sequence, sequence): minus infinity where a stream must not look."""
    mine, others = order[:, :, None], order[:, None, :]
    hidden = torch.cat([others > mine, others >= mine.clamp(min=1)], 1)
    return torch.zeros(hidden.shape).masked_fill_(hidden, float("-inf"))[:, None]


class Biases(nn.Module):
    """Added to queries, for each kind of score; and the segments' keys."""

    def __init__(self) -> None:
        super().__init__()
        self.content, self.position, self.segment = (
            nn.Parameter(torch.zeros(WIDTH)) for _ in range(3)
        )
        self.keys = nn.Parameter(0.02 * torch.randn(WIDTH, 2))


class Attention(nn.Module):
    """Queries of both streams, on the content's keys."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.relative, self.project = (
            nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(5)
        )
        self.biases = Biases()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        content, biases = x[:, 0], self.biases
        query = heads(self.query(x.flatten(1, 2)))
        key, value = heads(self.key(content)), heads(self.value(content))
        near = heads(self.relative(encodings()))
        scaled = query * (WIDTH // HEADS) ** -0.5
        segments = biased(scaled, biases.segment) @ biases.keys.unflatten(0, (-1, WIDTH // HEADS))
        same, other = segments.split(1, -1)
        bias = by_distance(biased(scaled, biases.position) @ near.transpose(-2, -1))
        bias = bias + torch.where(same_half(), same, other) + mask
        mixed = nn.functional.scaled_dot_product_attention(
            query + biases.content.view(-1, 1, WIDTH // HEADS), key, value, attn_mask=bias
        )
        return self.project(mixed.transpose(1, 2).flatten(2)).view_as(x)


def heads(x: torch.Tensor) -> torch.Tensor:
    """(…, length, width) -> (…, heads, length, head width), as many as a rank has columns for."""
    return x.unflatten(-1, (-1, WIDTH // HEADS)).transpose(-3, -2)


def biased(scaled: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    head_width = WIDTH // HEADS
    return scaled + (bias * head_width**-0.5).view(-1, 1, head_width)


def by_distance(scores: torch.Tensor) -> torch.Tensor:
    """(…, 2 · sequence, row) -> (…, 2 · sequence, j): at position i of a stream, row
    ``sequence - i + j``; in memory, rows of one entry less."""
    streams = scores.unflatten(-2, (2, SEQUENCE)).flatten(-2)[..., SEQUENCE:]
    return streams.unflatten(-1, (SEQUENCE, -1))[..., :SEQUENCE].flatten(-3, -2)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm1 = Attention(), norm()
        self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.norm2 = norm()

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.contract(nn.functional.gelu(self.expand(x))))


class Embed(nn.Module):
    """The query stream begins as one vector everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.start = transformer.table(VOCABULARY["xlnet"]), transformer.table(1)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        content = self.token(features[:, 0])
        return torch.stack([content, self.start.weight.expand_as(content)], 1)


class Head(nn.Module):
    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = table, nn.Parameter(torch.zeros(len(table)))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x[:, 1], self.weight, self.bias)


class TwoStreams(nn.Sequential):
    """Tokens and order (batch, 2, sequence); a second stage has them as ``features``."""

    def forward(self, x: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        mask = unseen((x if features is None else features)[:, 1])
        for layer in self:
            x = layer(x, mask)
        return x


def make() -> nn.Sequential:
    embed = Embed()
    blocks = {f"block{index}": Block() for index in range(BLOCKS["xlnet"])}
    return TwoStreams(OrderedDict(embed=embed, **blocks, head=Head(embed.token.weight)))


def splits() -> list[Split]:
    found = transformer.splits("xlnet")
    more = ("relative", "biases")
    return [
        Split(split.entries, (*split.columns, *(f"{entry}.{part}" for part in more)), split.rows)
        if (entry := split.entries[0]).endswith("attention") else split for split in found
    ]
