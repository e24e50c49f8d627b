"""Training loops as a framework's documentation writes them: what adapters are measured beside.

Each returns a step that trains on one batch and returns when the device is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from suite.contract.case import Case
from suite.contract.workloads.gpt import GptSpec

Step = Callable[[], object]


class Block(nn.Module):
    """Pre-norm, one product for query, key and value."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class Gpt(nn.Module):
    """GPT-2 with its output matrix tied to the token table."""

    def __init__(self, spec: GptSpec) -> None:
        super().__init__()
        self.token = nn.Embedding(spec.vocabulary, spec.width)
        self.position = nn.Embedding(spec.sequence, spec.width)
        self.blocks = nn.Sequential(*(Block(spec.width, spec.heads) for _ in range(spec.blocks)))
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        return functional.linear(self.norm(self.blocks(x)), self.token.weight)


def build(case: Case, inputs: tuple[Any, Any], device: torch.device) -> Step | None:
    """The loop of a case's workload, or None where what it needs is not installed."""
    model = _model(case)
    if model is None:
        return None
    low = case.dtype == "bf16"
    model = model.to(device, memory_format=torch.channels_last if case.workload == "resnet"
                     else torch.preserve_format)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    if case.mode == "compiled":
        model.compile()
    x, y = (torch.from_numpy(part).to(device) for part in inputs)
    if case.workload == "resnet":
        x = x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def step() -> object:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = model(x)
        loss = functional.cross_entropy(logits.float().flatten(0, -2), y.flatten().long())
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return loss

    return step


def _model(case: Case) -> nn.Module | None:
    if case.workload == "gpt":
        return Gpt(case.spec)  # type: ignore[arg-type]
    try:
        from torchvision.models import resnet50
    except ImportError:
        return None
    return resnet50()
