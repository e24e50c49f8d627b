"""What is found in a rank while it trains, for the fairness ledger: never what was asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import torch
from torch import nn

# One more bit than the ten of TF32's mantissa hold.
FINER = 1.0 + 2.0**-12
SIDE = 256


def mode() -> str:
    """Returns ``compiled`` if torch.compile has made a graph in this process, else ``eager``.

    Variables such as ``TORCHDYNAMO_DISABLE`` make ``compile()`` a call without any effect.
    """
    utils = sys.modules.get("torch._dynamo.utils")
    graphs = utils.counters["stats"]["unique_graphs"] if utils else 0
    return "compiled" if graphs else "eager"


def number_format(asked: str, modules: Iterable[nn.Module], device: torch.device) -> str:
    """Returns the format in which the models compute.

    Args:
        asked: The case's format: what lowers products alone, TF32 and autocast, is looked for only
            where it was asked for. The proofs compare the values themselves.
        modules: The models of this rank; their parameters tell the rest.
        device: The device on which they compute.

    Returns:
        ``float32``, ``tf32``, ``bf16``, ``float64``, or several names if parameters differ.
    """
    models = list(modules)
    types = {str(p.dtype).removeprefix("torch.") for m in models for p in m.parameters()}
    found = " and ".join(sorted(types))
    if found != "float32":
        return found
    if asked == "bf16" and all(_is_lowered(model) for model in models):
        return "bf16"
    if asked == "tf32" and device.type == "cuda" and tf32_products(device):
        return "tf32"
    return found


def _is_lowered(model: nn.Module) -> bool:
    """Whether a model, or what a strategy wrapped, computes under autocast."""
    return any(hasattr(part.forward, "computes_in") for part in model.modules())


def tf32_products(device: torch.device) -> bool:
    """Whether float32 products on a GPU round their factors to TF32.

    ``NVIDIA_TF32_OVERRIDE`` overrules every switch of PyTorch, so a product is looked at: the
    identity leaves a matrix as it is unless its entries are rounded first. Where TF32 is allowed
    cuBLAS may still take another kernel for a product; then the switch counts.
    """
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return False
    with torch.no_grad():
        finer = torch.full((SIDE, SIDE), FINER, device=device)
        rounded = bool((finer @ torch.eye(SIDE, device=device) != finer).any())
    return rounded or torch.get_float32_matmul_precision() != "highest"
