"""What transformers share; query, key and value apart, as tensor parallel wants them."""

import torch
from torch import nn

from tests.reference.common import BLOCKS, HEADS, SEQUENCE, WIDTH
from tests.reference.torch_models import Split


class Attention(nn.Module):
    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # As many heads as the layers have columns for: a rank may hold a part of them.
        query, key, value = (
            layer(x).unflatten(-1, (-1, WIDTH // HEADS)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal
        )
        return self.project(mixed.transpose(1, 2).flatten(2))


def table(rows: int) -> nn.Embedding:
    made = nn.Embedding(rows, WIDTH)
    nn.init.normal_(made.weight, std=0.02)
    return made


def positions() -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(SEQUENCE, WIDTH))


def splits(workload: str) -> list[Split]:
    """Attention by heads, and the feed-forward layers."""
    found = []
    for block in (f"block{index}" for index in range(BLOCKS[workload])):
        attention, expand = f"{block}.attention", f"{block}.expand"
        columns = tuple(f"{attention}.{part}" for part in ("query", "key", "value"))
        found.append(Split((attention,), columns, (f"{attention}.project",)))
        found.append(Split((expand,), (expand,), (f"{block}.contract",)))
    return found
