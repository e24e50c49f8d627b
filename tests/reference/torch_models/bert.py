"""BERT with its masked tokens alone, layers in the order of Devlin et al. 2019."""

from collections import OrderedDict

import torch
from torch import nn

from tests.reference.common import BLOCKS, VOCABULARY, WIDTH
from tests.reference.torch_models import Split, transformer


def norm() -> nn.LayerNorm:
    return nn.LayerNorm(WIDTH, eps=1e-12)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm1 = transformer.Attention(causal=False), norm()
        self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.norm2 = norm()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.contract(nn.functional.gelu(self.expand(x))))


class Embed(nn.Module):
    """All tokens are of the first segment."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = transformer.table(VOCABULARY["bert"]), transformer.positions()
        self.segment, self.norm = transformer.table(2), norm()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.norm(self.token(tokens) + (self.position + self.segment.weight[0]))


class Head(nn.Module):
    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.dense, self.norm, self.weight = nn.Linear(WIDTH, WIDTH), norm(), table
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.norm(nn.functional.gelu(self.dense(x)))
        return nn.functional.linear(hidden, self.weight, self.bias)


def make() -> nn.Sequential:
    embed = Embed()
    blocks = {f"block{index}": Block() for index in range(BLOCKS["bert"])}
    return nn.Sequential(OrderedDict(embed=embed, **blocks, head=Head(embed.token.weight)))


def splits() -> list[Split]:
    return transformer.splits("bert")
