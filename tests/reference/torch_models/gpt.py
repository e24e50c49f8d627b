"""GPT-2 as nanoGPT writes it."""

from collections import OrderedDict

import torch
from torch import nn

from tests.reference.common import BLOCKS, VOCABULARY, WIDTH
from tests.reference.torch_models import Split, transformer


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), transformer.Attention(causal=True)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        hidden = nn.functional.gelu(self.expand(self.norm2(x)), approximate="tanh")
        return x + self.contract(hidden)


class Embed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = transformer.table(VOCABULARY["gpt"]), transformer.positions()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.token(tokens) + self.position


def make() -> nn.Sequential:
    embed, head = Embed(), nn.Linear(WIDTH, VOCABULARY["gpt"], bias=False)
    head.weight = embed.token.weight
    blocks = {f"block{index}": Block() for index in range(BLOCKS["gpt"])}
    return nn.Sequential(OrderedDict(embed=embed, **blocks, norm=nn.LayerNorm(WIDTH), head=head))


def splits() -> list[Split]:
    return transformer.splits("gpt")
