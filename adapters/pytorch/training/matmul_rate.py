"""The matrix-product rate of a device in a case's number format: the peak that MFU divides by."""

from __future__ import annotations

import torch

from adapters.pytorch.training.number_format import LOW

# Rows and columns of the matrices: so large that the cost of launching a product vanishes.
MATRIX = {"cpu": 768, "cuda": 8192}
# How long to measure, by type of device.
SECONDS = {"cpu": 0.1, "cuda": 0.3}


def matmul_flops_s(device: torch.device, dtype: str) -> float:
    """Measures how fast a device multiplies square matrices.

    Args:
        device: The device to measure.
        dtype: Number format of the case. ``set_products`` must have been called with it.

    Returns:
        FLOP/s, from the median time of a product.
    """
    # It imports setuptools, a fifth of a launch's imports, and only launches with probes come here.
    from torch.utils.benchmark import Timer

    size = MATRIX[device.type]
    kind = LOW if dtype == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    timer = Timer("torch.mm(a, b)", globals={"torch": torch, "a": a, "b": b}, num_threads=1)
    return 2.0 * size**3 / timer.blocked_autorange(min_run_time=SECONDS[device.type]).median
