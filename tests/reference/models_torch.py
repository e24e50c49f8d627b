"""The models of the scripts on PyTorch, each a ``Sequential``, and how they come apart.

The GPT is GPT-2 as nanoGPT writes it, with query, key and value apart, as tensor parallel wants
them.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from tests.reference.common import (
    BATCH,
    BLOCKS,
    HEADS,
    PARTS,
    SEQUENCE,
    VOCABULARY,
    WIDTH,
    WIDTHS,
    batch,
)

CUT = {"mlp": 4, "gpt": 1 + BLOCKS // 2}  # the second stage's first layer
# What both stages have a copy of: the token table, which is the output matrix too.
TIED = {"mlp": (), "gpt": ("0.token.weight", f"{BLOCKS + 2}.weight")}
# A micro-batch between the stages.
BOUNDARY = {
    "mlp": (BATCH["mlp"] // PARTS, WIDTHS[2]), "gpt": (BATCH["gpt"] // PARTS, SEQUENCE, WIDTH)
}


@dataclass(frozen=True)
class Split:
    """Layers to split by columns, which share the input of ``entry``, and one by rows behind."""

    entry: str
    columns: tuple[str, ...]
    row: str


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # As many heads as the layers have columns for: a rank may hold a part of them.
        query, key, value = (
            layer(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.project(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        hidden = nn.functional.gelu(self.expand(self.norm2(x)), approximate="tanh")
        return x + self.contract(hidden)


class Embedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(SEQUENCE, WIDTH))
        nn.init.normal_(self.token.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.token(tokens) + self.position


def make_model(workload: str) -> nn.Sequential:
    """From a fixed seed, so that every script begins with the same weights."""
    torch.manual_seed(0)
    if workload == "mlp":
        layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
        parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
        return nn.Sequential(*parts, layers[-1])
    embedding, head = Embedding(), nn.Linear(WIDTH, VOCABULARY, bias=False)
    head.weight = embedding.token.weight
    blocks = (Block() for _ in range(BLOCKS))
    return nn.Sequential(embedding, *blocks, nn.LayerNorm(WIDTH), head)


def make_stage(workload: str, index: int) -> nn.Sequential:
    """The first or the second stage of a pipeline; layers keep their numbers."""
    model, cut = make_model(workload), CUT[workload]
    return cast("nn.Sequential", model[:cut] if index == 0 else model[cut:])


def tied(workload: str, stage: nn.Sequential) -> list[nn.Parameter]:
    """Parameters whose gradients the stages must add up before an update."""
    return [held for name, held in stage.named_parameters() if name in TIED[workload]]


def splits(workload: str) -> list[Split]:
    """What tensor parallel does to pairs of layers (Shoeybi et al. 2019)."""
    if workload == "mlp":
        return [Split("0", ("0",), "2"), Split("4", ("4",), "6")]
    found = []
    for block in range(1, BLOCKS + 1):
        attention, expand = f"{block}.attention", f"{block}.expand"
        columns = tuple(f"{attention}.{part}" for part in ("query", "key", "value"))
        found.append(Split(attention, columns, f"{attention}.project"))
        found.append(Split(expand, (expand,), f"{block}.contract"))
    return found


def tensors(workload: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch, whole numbers as int64."""
    x, y = (torch.from_numpy(array) for array in batch(workload))
    return x if x.is_floating_point() else x.long(), y.long()


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over samples, of the GPT over all tokens."""
    return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())
