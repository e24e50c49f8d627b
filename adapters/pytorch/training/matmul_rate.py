"""A device's matrix-product rate in a case's number format: what MFU is a share of."""

from __future__ import annotations

import torch
from torch.utils.benchmark import Timer

from adapters.pytorch.training.number_format import LOW

# Large enough that launching a product costs nothing beside it.
MATRIX = {"cpu": 768, "cuda": 8192}
SECONDS = {"cpu": 0.1, "cuda": 0.3}


def matmul_flops_s(device: torch.device, dtype: str) -> float:
    """FLOP/s of square products on ``device``, as ``set_products`` allows them; median of calls."""
    size = MATRIX[device.type]
    kind = LOW if dtype == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    timer = Timer("torch.mm(a, b)", globals={"torch": torch, "a": a, "b": b}, num_threads=1)
    return 2.0 * size**3 / timer.blocked_autorange(min_run_time=SECONDS[device.type]).median
